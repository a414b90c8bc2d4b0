//! Names that come from outside: tenants, users, channels and the like. Parsed once at the edge, trusted inside.
//!
//! A name is cheap to clone. Each type says what it accepts; nothing here knows whether a name exists.

use std::fmt;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};

/// A name that was refused, with what would have been accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected}")]
pub struct NameError {
    /// What would have been accepted.
    pub expected: &'static str,
}

/// What names look like, for the documents that are made of the code. Lengths are of bytes, and those of a JSON Schema
/// of characters: what is too long in bytes alone, only the parser knows.
const PLAIN: &str = "^[A-Za-z0-9_-]+$";
const TYPE: &str = "^[A-Za-z0-9_.:/-]+$";
const WORD: &str = r"^[^\s*\x00-\x1F\x7F-\x9F]+$";
const PRINTABLE: &str = r"^[^\s\x00-\x1F\x7F-\x9F]([^\x00-\x1F\x7F-\x9F]*[^\s\x00-\x1F\x7F-\x9F])?$";
const CHANNEL: &str = concat!(
    r"^(everyone|[A-Za-z0-9_-]+:[^\s*\x00-\x1F\x7F-\x9F]+",
    r"|user:[^\s\x00-\x1F\x7F-\x9F]([^\x00-\x1F\x7F-\x9F]*[^\s\x00-\x1F\x7F-\x9F])?)$"
);

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $accepts:expr, $pattern:expr, $most:literal, $expected:literal) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, JsonSchema)]
        #[serde(transparent)]
        #[schemars(extend("pattern" = $pattern, "minLength" = 1, "maxLength" = $most, "$comment" = $expected))]
        pub struct $name(Arc<str>);

        impl $name {
            /// Parses a name from outside.
            ///
            /// # Errors
            /// [`NameError`], which says what is accepted.
            pub fn new(text: &str) -> Result<Self, NameError> {
                let accepts: fn(&str) -> bool = $accepts;
                let is_accepted = sized(text, $most) && accepts(text);
                if is_accepted { Ok(Self(text.into())) } else { Err(NameError { expected: $expected }) }
            }

            /// A name that was parsed before, read back from a store of our own.
            #[allow(dead_code)] // not every kind of name is stored on its own
            pub(crate) fn stored(text: &str) -> Self {
                Self(text.into())
            }

            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl std::str::FromStr for $name {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                Self::new(text)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                Self::new(&text).map_err(serde::de::Error::custom)
            }
        }
    };
}

name! {
    /// One application on the server. Part of every key.
    Tenant, |s| s.bytes().all(is_plain), PLAIN, 64,
    "a tenant: 1 to 64 of a-z A-Z 0-9 _ -"
}
name! {
    /// A person, as the application names them.
    UserId, printable, PRINTABLE, 128,
    "a user id: 1 to 128 bytes, no control characters, no space at either end"
}
name! {
    /// A name people can be members of: `role:ADMIN`, `topic:orders`, `everyone`.
    Channel, is_channel, CHANNEL, 160,
    "a channel: `everyone` or `kind:name`, at most 160 bytes, no white space, no control characters, no `*`"
}
name! {
    /// What kind of fact a notification reports: `booking.created`.
    NotificationType, |s| s.bytes().all(|b| is_plain(b) || matches!(b, b'.' | b':' | b'/')), TYPE, 128,
    "a type: 1 to 128 of a-z A-Z 0-9 _ - . : /"
}
name! {
    /// A word to find notifications by.
    Tag, printable, PRINTABLE, 64,
    "a tag: 1 to 64 bytes, no control characters, no space at either end"
}
name! {
    /// How much a notification wants to be noticed. `low`, `normal`, `high` and `urgent` are known; others pass through.
    Priority, printable, PRINTABLE, 32,
    "a priority: low, normal, high, urgent or another word of at most 32 bytes"
}
name! {
    /// Under this key a publisher's notification is published once, however often it is sent.
    IdempotencyKey, printable, PRINTABLE, 255,
    "an idempotency key: 1 to 255 bytes, no control characters, no space at either end"
}
name! {
    /// A newer notification with this key takes the older one's place.
    CollapseKey, printable, PRINTABLE, 255,
    "a collapse key: 1 to 255 bytes, no control characters, no space at either end"
}
name! {
    /// Whose idempotency keys they are: a token's subject, or the source of a CloudEvent.
    Publisher, printable, PRINTABLE, 600,
    "a publisher: 1 to 600 bytes, no control characters"
}
name! {
    /// What a token says its holder is: `ADMIN`. Its holders are members of the channel `role:ADMIN`.
    Role, is_word, WORD, 128,
    "a role: 1 to 128 bytes, no white space, no control characters, no `*`"
}
name! {
    /// One installation of one user's: what a client calls the device it runs on, or else the connection.
    DeviceName, printable, PRINTABLE, 128,
    "a device: 1 to 128 bytes, no control characters, no space at either end"
}
name! {
    /// A login session, as a token names it. Its connections watch the channel `session:ID`.
    SessionId, is_word, WORD, 128,
    "a session: 1 to 128 bytes, no white space, no control characters, no `*`"
}

impl Tenant {
    /// Where everything goes that names no tenant.
    #[must_use]
    pub fn default_tenant() -> Self {
        Self("default".into())
    }

    /// The server itself: owner of events that belong to no application. No token can name it.
    pub(crate) fn server() -> Self {
        Self("$server".into())
    }
}

impl Default for Tenant {
    fn default() -> Self {
        Self::default_tenant()
    }
}

const EVERYONE: &str = "everyone";
const USER: &str = "user:";
const ROLE: &str = "role:";
const SESSION: &str = "session:";

impl Channel {
    /// The channel of all users the server has heard of.
    #[must_use]
    pub fn everyone() -> Self {
        Self(EVERYONE.into())
    }

    /// A user's own channel.
    #[must_use]
    pub fn of_user(user: &UserId) -> Self {
        Self(format!("{USER}{user}").into())
    }

    /// The channel of all users with a role.
    #[must_use]
    pub fn of_role(role: &Role) -> Self {
        Self(format!("{ROLE}{role}").into())
    }

    /// The channel of one login session.
    #[must_use]
    pub fn of_session(session: &SessionId) -> Self {
        Self(format!("{SESSION}{session}").into())
    }

    /// Whether this is the channel of all users.
    #[must_use]
    pub fn is_everyone(&self) -> bool {
        self.as_str() == EVERYONE
    }

    /// The user whose own channel this is.
    #[must_use]
    pub fn user(&self) -> Option<UserId> {
        UserId::new(self.as_str().strip_prefix(USER)?).ok()
    }

    /// Whether nobody may join it by a command: its members follow from tokens, or from being a user at all.
    #[must_use]
    pub fn is_reserved(&self) -> bool {
        self.is_everyone() || [USER, ROLE, SESSION].iter().any(|prefix| self.as_str().starts_with(prefix))
    }
}

impl Priority {
    /// What a notification has that names none.
    #[must_use]
    pub fn normal() -> Self {
        Self("normal".into())
    }
}

impl Default for Priority {
    fn default() -> Self {
        Self::normal()
    }
}

/// A user of a tenant: the key of everything that belongs to a person.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UserKey {
    /// The application.
    pub tenant: Tenant,
    /// The person.
    pub user: UserId,
}

fn sized(text: &str, most: usize) -> bool {
    (1..=most).contains(&text.len())
}

fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-')
}

fn printable(text: &str) -> bool {
    text.trim() == text && !text.chars().any(char::is_control)
}

fn is_word(text: &str) -> bool {
    !text.chars().any(|c| c.is_control() || c.is_whitespace() || c == '*')
}

fn is_channel(text: &str) -> bool {
    let named = text
        .split_once(':')
        .is_some_and(|(kind, name)| !kind.is_empty() && kind.bytes().all(is_plain) && !name.is_empty());
    // A personal channel is as wide as a user id may be: those may hold spaces and asterisks.
    let own = text.strip_prefix(USER).is_some_and(|user| UserId::new(user).is_ok());
    text == EVERYONE || (named && is_word(text)) || own
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_accept_what_they_say() {
        let long = "x".repeat(129);
        for good in ["ada", "ada@example.org", "Ada Lovelace", "Ä", "4711"] {
            assert!(UserId::new(good).is_ok(), "{good}");
        }
        for bad in ["", " ada", "ada\n", "a\u{0}b", long.as_str()] {
            assert!(UserId::new(bad).is_err(), "{bad:?}");
        }
        for good in ["everyone", "role:ADMIN", "topic:orders/eu", "user:Ada Lovelace", "user:a*b", "a:b:c"] {
            assert!(Channel::new(good).is_ok(), "{good}");
        }
        for bad in ["", "orders", "topic:", ":x", "topic:a b", "topic:*", "to pic:x", "user:", "topic:a\n"] {
            assert!(Channel::new(bad).is_err(), "{bad:?}");
        }
        assert!(Tenant::new("$server").is_err(), "the server's own tenant is out of reach");
    }

    #[test]
    fn reserved_channels_are_those_that_follow_from_who_one_is() {
        let channel = |text| Channel::new(text).unwrap();
        for reserved in ["everyone", "user:ada", "role:ADMIN", "session:s1"] {
            assert!(channel(reserved).is_reserved(), "{reserved}");
        }
        assert!(!channel("topic:orders").is_reserved());
        assert_eq!(channel("user:ada").user(), Some(UserId::new("ada").unwrap()));
    }
}
