//! What an effect means for one person, looked at afterwards: the message they would have got, unless it is no longer
//! theirs.

use std::collections::BTreeSet;

use crate::delivery::Message;
use crate::event::Event;
use crate::inbox::{Effect, Inbox, Superseded};
use crate::names::{Channel, UserKey};
use crate::notification::NotificationId;
use crate::position::StreamId;

/// A person at a position, and what one of their connections watches.
#[derive(Clone)]
pub(crate) struct Viewer {
    pub(crate) inbox: Inbox,
    pub(crate) watches: BTreeSet<Channel>,
    /// The streams that the watched channels lead to.
    pub(crate) watched_streams: Vec<StreamId>,
}

impl Viewer {
    /// The message an earlier effect is for this connection; `None` when it does not concern it, or does no longer:
    /// what was left meanwhile is not shown again.
    pub(crate) fn message(&self, effect: &Effect) -> Option<Message> {
        let mine = |key: &UserKey| self.inbox.key == *key;
        match effect {
            Effect::Addressed(event, superseded) => {
                let had = |older: &&Superseded| self.has_stream(older.stream) && self.inbox.person.had(older);
                let ids = superseded.iter().filter(had);
                let ids: Vec<NotificationId> = ids.map(|older| older.id).collect();
                match self.counts(event) {
                    Some(counts) => Some(Message::of(event.clone(), counts, ids)),
                    // Who is left out of the newer one loses the older one all the same.
                    None if ids.is_empty() => None,
                    None => Some(Message::Superseded { ids, position: event.position }),
                }
            }
            Effect::Changed(key, event) => mine(key).then(|| Message::Changed(event.clone())),
            Effect::Joined(key, channels, position) => {
                mine(key).then(|| Message::Joined { channels: channels.clone(), position: *position })
            }
            Effect::Left(key, channels, position) => {
                mine(key).then(|| Message::Left { channels: channels.clone(), position: *position })
            }
        }
    }

    fn has_stream(&self, stream: StreamId) -> bool {
        self.inbox.has_stream(stream) || self.watched_streams.contains(&stream)
    }

    /// Whether a notification counts for this person; `None` when it does not reach them.
    fn counts(&self, event: &Event) -> Option<bool> {
        let addressed = event.addressed().filter(|_| event.tenant == self.inbox.key.tenant)?;
        let (audience, inbox) = (addressed.audience, addressed.inbox);
        let user = &self.inbox.key.user;
        if audience.users.contains(user) {
            return Some(inbox);
        }
        if audience.except.contains(user) {
            return None;
        }
        if self.inbox.person.was_reached(&addressed) {
            return Some(inbox);
        }
        audience.channels.iter().any(|channel| self.watches.contains(channel)).then_some(false)
    }
}
