//! Who somebody is, and what they may do. Decided here, on every action, for all transports alike; fails closed.
//!
//! An [`Identity`] is what a verified token said. Verifying tokens is the transports' business. What it may do with a
//! channel follows from who it is, from what its token permits, and from the operator's [`Rules`]; they only add up.

mod rules;
mod template;

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize};

use crate::audience::Audience;
use crate::error::Error;
use crate::names::{Channel, NameError, Publisher, Role, SessionId, Tenant, UserId, UserKey};

pub use rules::{Action, Rule, Rules, Who};
pub use template::Template;

/// What a token allows beyond one's own inbox.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scopes {
    /// To publish, to whomever in the tenant.
    pub publish: bool,
    /// To manage: members of channels, the log, presence.
    pub admin: bool,
    /// To read the server's metrics.
    pub metrics: bool,
    /// To run the server, which is everybody's: to rebuild its views, to take snapshots.
    pub operator: bool,
}

/// A permission that an action needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// To publish.
    Publish,
    /// To manage.
    Admin,
    /// To read the server's metrics.
    Metrics,
    /// To run the server.
    Operator,
}

impl Scope {
    /// Its name in a token.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Publish => "publish",
            Self::Admin => "admin",
            Self::Metrics => "metrics",
            Self::Operator => "operator",
        }
    }
}

/// Channels a token names, to join and watch or to publish to: a channel, or a beginning followed by `*`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct ChannelPattern(String);

impl ChannelPattern {
    /// Whether a channel is among them.
    #[must_use]
    pub fn matches(&self, channel: &Channel) -> bool {
        match self.0.strip_suffix('*') {
            Some(beginning) => channel.as_str().starts_with(beginning),
            None => channel.as_str() == self.0,
        }
    }
}

impl FromStr for ChannelPattern {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let beginning = text.strip_suffix('*');
        // `*` alone would be every channel of everybody: a pattern names at least a kind.
        let sound = beginning.map_or_else(
            || Channel::new(text).is_ok(),
            |beginning| beginning.contains(':') && Channel::new(&format!("{beginning}x")).is_ok(),
        );
        let expected =
            "a channel, or a kind and the beginning of a name followed by *, such as topic:* or topic:eu-*";
        if sound { Ok(Self(text.to_owned())) } else { Err(NameError { expected }) }
    }
}

impl fmt::Display for ChannelPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for ChannelPattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Who somebody is, as a verified token says.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The application.
    pub tenant: Tenant,
    /// The person; a service has none, or one of its own.
    pub user: Option<UserId>,
    /// What they are: each makes them a member of a channel.
    pub roles: Vec<Role>,
    /// Their login session: its connections watch a channel.
    pub session: Option<SessionId>,
    /// Channels they may join and watch by themselves.
    pub channels: Vec<ChannelPattern>,
    /// Channels to which they may publish without the scope for all of them; `user:ID` is a user.
    pub publish_to: Vec<ChannelPattern>,
    /// What else they may do.
    pub scopes: Scopes,
    /// The id of the key that a service has shown; those who share a token share their limits.
    pub key: Option<Arc<str>>,
    /// What else the token says: the claims that the operator's rules look at, each with its values.
    pub claims: BTreeMap<String, Vec<String>>,
    /// When the token was issued, in seconds since 1970.
    pub issued_at: Option<i64>,
    /// When it ends, in seconds since 1970, with what clocks may be apart.
    pub expires_at: i64,
}

impl Identity {
    /// A service of a tenant that may do everything there, until the end of time. For those who embed the engine.
    #[must_use]
    pub fn service(tenant: Tenant) -> Self {
        Self {
            tenant,
            user: None,
            roles: Vec::new(),
            session: None,
            channels: Vec::new(),
            publish_to: Vec::new(),
            scopes: Scopes { publish: true, admin: true, metrics: true, operator: true },
            key: None,
            claims: BTreeMap::new(),
            issued_at: None,
            expires_at: i64::MAX,
        }
    }

    /// A user of a tenant with nothing but their own inbox. For those who embed the engine.
    #[must_use]
    pub fn person(tenant: Tenant, user: UserId) -> Self {
        Self { user: Some(user), scopes: Scopes::default(), ..Self::service(tenant) }
    }

    /// Whose inbox this identity opens.
    ///
    /// # Errors
    /// [`Error::Forbidden`] when the token names no user.
    pub fn key(&self) -> Result<UserKey, Error> {
        let user =
            self.user.clone().ok_or(Error::Forbidden { needs: "a token that names a user".to_owned() })?;
        Ok(UserKey { tenant: self.tenant.clone(), user })
    }

    /// Passes when the token has a scope.
    ///
    /// # Errors
    /// [`Error::Forbidden`].
    pub fn require(&self, scope: Scope) -> Result<(), Error> {
        if self.has(scope) {
            Ok(())
        } else {
            Err(Error::Forbidden { needs: format!("the scope `{}`", scope.as_str()) })
        }
    }

    fn has(&self, scope: Scope) -> bool {
        match scope {
            Scope::Publish => self.scopes.publish,
            Scope::Admin => self.scopes.admin,
            Scope::Metrics => self.scopes.operator || self.scopes.metrics,
            Scope::Operator => self.scopes.operator,
        }
    }

    /// Passes when this identity may become a member of a channel, or cease to be one, by itself.
    ///
    /// # Errors
    /// [`Error::Forbidden`].
    pub fn require_join(&self, rules: &Rules, channel: &Channel) -> Result<(), Error> {
        if channel.is_reserved() {
            let needs =
                format!("nothing: membership of `{channel}` follows from the token, not from a command");
            return Err(Error::Forbidden { needs });
        }
        self.require_pattern(rules, Action::Join, channel)
    }

    /// Passes when this identity may see a channel live.
    ///
    /// # Errors
    /// [`Error::Forbidden`].
    pub fn require_watch(&self, rules: &Rules, channel: &Channel) -> Result<(), Error> {
        let own_session =
            self.session.as_ref().is_some_and(|session| Channel::of_session(session) == *channel);
        if own_session || self.claimed_channels().any(|own| own == *channel) {
            return Ok(());
        }
        if channel.user().is_some() {
            // One's own notifications come anyway; nobody else's may be watched, whatever a pattern says.
            return Err(Error::Forbidden { needs: "a channel that is not a user's own".to_owned() });
        }
        self.require_pattern(rules, Action::Watch, channel)
    }

    fn require_pattern(&self, rules: &Rules, action: Action, channel: &Channel) -> Result<(), Error> {
        let by_token = self.channels.iter().any(|pattern| pattern.matches(channel));
        if by_token || rules.permit(self, action, channel) {
            return Ok(());
        }
        let action = action.as_str();
        Err(Error::Forbidden {
            needs: format!("a token that permits the channel `{channel}`, or a rule to {action} it"),
        })
    }

    /// Passes when this identity may see who is in a channel, whether it is in it or not.
    ///
    /// # Errors
    /// [`Error::Forbidden`].
    pub fn require_read(&self, rules: &Rules, channel: &Channel) -> Result<(), Error> {
        if self.scopes.admin || rules.permit(self, Action::Read, channel) {
            return Ok(());
        }
        Err(Error::Forbidden { needs: format!("the scope `admin`, or a rule to read `{channel}`") })
    }

    /// Passes when this identity may publish something to somebody, whatever and whoever that is.
    ///
    /// # Errors
    /// [`Error::Forbidden`].
    pub fn require_publish(&self, rules: &Rules) -> Result<(), Error> {
        if self.scopes.publish || !self.publish_to.is_empty() || rules.speak_of(self, Action::Publish) {
            return Ok(());
        }
        self.require(Scope::Publish)
    }

    /// Passes when this identity may publish to an audience: to each of its channels and users.
    ///
    /// # Errors
    /// [`Error::Forbidden`], with the first to whom it may not.
    pub fn require_publish_to(&self, rules: &Rules, audience: &Audience) -> Result<(), Error> {
        if self.scopes.publish {
            return Ok(());
        }
        let may = |channel: &Channel| {
            self.publish_to.iter().any(|pattern| pattern.matches(channel))
                || rules.permit(self, Action::Publish, channel)
        };
        let mut channels =
            audience.users.iter().map(Channel::of_user).chain(audience.channels.iter().cloned());
        match channels.find(|channel| !may(channel)) {
            None => Ok(()),
            Some(channel) => {
                let needs = format!(
                    "the scope `publish`, or a token or a rule that permits to publish to `{channel}`"
                );
                Err(Error::Forbidden { needs })
            }
        }
    }

    /// The channels that the roles make the holder a member of.
    pub(crate) fn claimed_channels(&self) -> impl Iterator<Item = Channel> {
        self.roles.iter().map(Channel::of_role)
    }

    /// Whether this identity may change whatever was published: it is a service, or manages.
    pub(crate) fn may_change_all(&self) -> bool {
        self.scopes.admin || (self.scopes.publish && self.user.is_none())
    }

    /// Passes when this identity may change what somebody published.
    pub(crate) fn require_change(&self, publisher: &Publisher) -> Result<(), Error> {
        if self.may_change_all() || self.publisher() == *publisher {
            return Ok(());
        }
        Err(Error::Forbidden { needs: "the scope `admin`, or to have published it".to_owned() })
    }

    /// Under whose name something is published that says where it comes from. Only who may publish to everybody is
    /// believed: another could take the keys of a service.
    pub(crate) fn publisher_of(&self, source: Option<Publisher>) -> Publisher {
        source.filter(|_| self.scopes.publish).unwrap_or_else(|| self.publisher())
    }

    /// Under whose name idempotency keys are kept.
    pub(crate) fn publisher(&self) -> Publisher {
        let name = self.user.as_ref().map_or_else(|| "service".to_owned(), |user| format!("user:{user}"));
        Publisher::stored(&name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn channel(text: &str) -> Channel {
        Channel::new(text).unwrap()
    }

    #[test]
    fn patterns_match_what_they_name_and_nothing_wider_is_a_pattern() {
        let matches =
            |pattern: &str, text| pattern.parse::<ChannelPattern>().unwrap().matches(&channel(text));
        assert!(matches("topic:*", "topic:orders"));
        assert!(matches("topic:eu-*", "topic:eu-1"));
        assert!(!matches("topic:eu-*", "topic:us-1"));
        assert!(matches("topic:orders", "topic:orders"));
        assert!(!matches("topic:orders", "topic:orders2"));
        for bad in ["*", "top*", "", "topic:*x", "to pic:*", "topic:a*b*"] {
            assert!(bad.parse::<ChannelPattern>().is_err(), "{bad}");
        }
    }

    #[test]
    fn nobody_watches_or_joins_what_is_not_permitted() {
        let mut ada = Identity::person(Tenant::default(), UserId::new("ada").unwrap());
        ada.roles = vec![Role::new("ADMIN").unwrap()];
        ada.session = Some(SessionId::new("s1").unwrap());
        ada.channels = ["topic:*", "user:*", "role:*"].iter().map(|text| text.parse().unwrap()).collect();
        for (text, may_watch, may_join) in [
            ("topic:orders", true, true),
            ("role:ADMIN", true, false),
            ("session:s1", true, false),
            ("session:s2", false, false),
            ("user:eve", false, false),
            ("everyone", false, false),
            ("other:x", false, false),
        ] {
            let none = Rules::default();
            assert_eq!(ada.require_watch(&none, &channel(text)).is_ok(), may_watch, "watch {text}");
            assert_eq!(ada.require_join(&none, &channel(text)).is_ok(), may_join, "join {text}");
        }
        assert!(ada.require(Scope::Publish).is_err());
        assert!(ada.require(Scope::Admin).is_err());
    }
}
