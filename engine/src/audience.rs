//! Whom a publisher addresses: users by name, channels, or both, and whom not.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::input::FieldError;
use crate::limits;
use crate::names::{Channel, UserId};

/// Whom a notification is for. Empty means: let the routing rules decide.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Audience {
    /// Users by name. Each has the notification in their own stream.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = limits::USERS_PER_PUBLISH))]
    pub users: Vec<UserId>,
    /// Channels, together one stream: a member of several meets the notification once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = limits::CHANNELS_PER_PUBLISH))]
    pub channels: Vec<Channel>,
    /// Members of those channels who are left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = limits::EXCEPTIONS_PER_PUBLISH))]
    pub except: Vec<UserId>,
}

impl Audience {
    /// Users by name.
    #[must_use]
    pub fn of_users(users: impl IntoIterator<Item = UserId>) -> Self {
        Self { users: users.into_iter().collect(), ..Self::default() }
    }

    /// The members of channels.
    #[must_use]
    pub fn of_channels(channels: impl IntoIterator<Item = Channel>) -> Self {
        Self { channels: channels.into_iter().collect(), ..Self::default() }
    }

    /// Whether nobody is addressed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.users.is_empty() && self.channels.is_empty()
    }

    /// The same audience in its one form: a user's own channel is that user, each name once, names sorted.
    #[must_use]
    pub fn settled(mut self) -> Self {
        let own_channels: Vec<UserId> = self.channels.iter().filter_map(Channel::user).collect();
        self.channels.retain(|channel| channel.user().is_none());
        self.users.extend(own_channels);
        sort_once(&mut self.users);
        sort_once(&mut self.channels);
        sort_once(&mut self.except);
        self
    }

    /// What stands for it in stats: its channel if that is one, `users` if it names nobody but users, else `several`.
    pub(crate) fn label(&self) -> Arc<str> {
        match self.channels.as_slice() {
            [] => "users".into(),
            [channel] => channel.as_str().into(),
            _ => "several".into(),
        }
    }

    pub(crate) fn check(&self, errors: &mut Vec<FieldError>) {
        let mut at_most = |field: &str, count: usize, most: usize| {
            if count > most {
                errors.push(FieldError::new(field, format!("expected at most {most} entries, got {count}")));
            }
        };
        at_most("audience.users", self.users.len(), limits::USERS_PER_PUBLISH);
        at_most("audience.channels", self.channels.len(), limits::CHANNELS_PER_PUBLISH);
        at_most("audience.except", self.except.len(), limits::EXCEPTIONS_PER_PUBLISH);
        if self.channels.is_empty() && !self.except.is_empty() {
            let detail = "expected `audience.channels` beside it: `except` leaves out members of channels";
            errors.push(FieldError::new("audience.except", detail));
        }
        let contradiction = |user: &&UserId| self.except.contains(user);
        if !self.except.is_empty() && self.users.iter().any(|user| contradiction(&user)) {
            errors
                .push(FieldError::new("audience.except", "expected nobody who is also in `audience.users`"));
        }
    }
}

fn sort_once<T: Ord>(names: &mut Vec<T>) {
    names.sort_unstable();
    names.dedup();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_settled_audience_has_one_form() {
        let channel = |text| Channel::new(text).unwrap();
        let user = |text| UserId::new(text).unwrap();
        let audience = Audience {
            users: vec![user("eve"), user("ada")],
            channels: vec![channel("topic:b"), channel("user:ada"), channel("topic:a"), channel("topic:b")],
            except: vec![],
        };
        let settled = audience.settled();
        assert_eq!(settled.users, [user("ada"), user("eve")]);
        assert_eq!(settled.channels, [channel("topic:a"), channel("topic:b")]);
    }
}
