//! What people do with their notifications: read, see, archive, pin, delete, and the undo of each.

use jiff::{SignedDuration, Timestamp};
use schemars::JsonSchema;
use serde::Deserialize;

use super::Done;
use crate::access::Identity;
use crate::engine::Engine;
use crate::error::Error;
use crate::event::{EntryRef, Fact, Mark, Marked, Read, Seen, Selection, Snoozed, Woken};
use crate::inbox::Inbox;
use crate::limits;
use crate::names::{UserId, UserKey};
use crate::notification::NotificationId;
use crate::position::{Cursor, Position};

/// How far somebody had seen: a position, or a cursor of this log.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "expected a position, or a cursor as an earlier message gave it")]
pub enum UpTo {
    /// A position.
    Position(Position),
    /// A cursor.
    Cursor(Cursor),
}

impl Engine {
    /// Marks notifications of one's own as read.
    ///
    /// # Errors
    /// See [`Error`]; nothing was done.
    pub async fn read(&self, identity: &Identity, ids: &[NotificationId]) -> Result<Done, Error> {
        let key = identity.key()?;
        let (inbox, entries) = self.resolve(&key, ids).await?;
        let unread: Vec<EntryRef> = entries.into_iter().filter(|entry| !inbox.is_read(entry)).collect();
        let read = |user, entries| Fact::Read(Read { user, selection: Selection::Entries(entries) });
        self.change(&key, &inbox, unread, read).await
    }

    /// Marks all of one's notifications up to a position as read: those that the client had seen, not what came since.
    ///
    /// # Errors
    /// See [`Error`]; nothing was done.
    pub async fn read_all(&self, identity: &Identity, up_to: &UpTo) -> Result<Done, Error> {
        let key = identity.key()?;
        let selection = Selection::UpTo(self.position_of(up_to)?);
        self.record(&key.tenant, vec![Fact::Read(Read { user: key.user, selection })]).await
    }

    /// Notes that the list was opened, and how far it was seen.
    ///
    /// # Errors
    /// See [`Error`]; nothing was done.
    pub async fn seen(&self, identity: &Identity, up_to: &UpTo) -> Result<Done, Error> {
        let key = identity.key()?;
        let up_to = self.position_of(up_to)?;
        self.record(&key.tenant, vec![Fact::Seen(Seen { user: key.user, up_to })]).await
    }

    /// Changes the state of notifications of one's own.
    ///
    /// # Errors
    /// See [`Error`]; nothing was done.
    pub async fn mark(&self, identity: &Identity, mark: Mark, ids: &[NotificationId]) -> Result<Done, Error> {
        let key = identity.key()?;
        let (inbox, mut entries) = self.resolve(&key, ids).await?;
        entries.retain(|entry| inbox.would_change(mark, entry));
        self.change(&key, &inbox, entries, |user, entries| Fact::Marked(mark, Marked { user, entries })).await
    }

    /// Puts notifications of one's own off: out of sight and out of the counts until a time.
    ///
    /// # Errors
    /// See [`Error`]; nothing was done.
    pub async fn snooze(
        &self,
        identity: &Identity,
        ids: &[NotificationId],
        until: Timestamp,
    ) -> Result<Done, Error> {
        let key = identity.key()?;
        let now = self.now();
        let latest = now + SignedDuration::from_hours(24 * limits::SCHEDULED_DAYS);
        if until <= now || until > latest {
            let days = limits::SCHEDULED_DAYS;
            return Err(Error::field("until", format!("expected a time in the future, within {days} days")));
        }
        let (inbox, entries) = self.resolve(&key, ids).await?;
        self.change(&key, &inbox, entries, |user, entries| Fact::Snoozed(Snoozed { user, entries, until }))
            .await
    }

    /// Brings notifications of one's own back that were put off, before their time. Those that were not stay as they are.
    ///
    /// # Errors
    /// See [`Error`]; nothing was done.
    pub async fn wake(&self, identity: &Identity, ids: &[NotificationId]) -> Result<Done, Error> {
        let key = identity.key()?;
        let (inbox, mut entries) = self.resolve(&key, ids).await?;
        entries.retain(|entry| inbox.is_snoozed(entry));
        if entries.is_empty() {
            return Ok(Done { position: inbox.position() });
        }
        let woken = |entry| Fact::Woken(Woken { user: key.user.clone(), entry, snoozed_at: None });
        self.record(&key.tenant, entries.into_iter().map(woken).collect()).await
    }

    /// Records a change of entries. Of what is so already, nothing is recorded.
    async fn change(
        &self,
        key: &UserKey,
        inbox: &Inbox,
        entries: Vec<EntryRef>,
        fact: impl FnOnce(UserId, Vec<EntryRef>) -> Fact,
    ) -> Result<Done, Error> {
        if entries.is_empty() {
            return Ok(Done { position: inbox.position() });
        }
        self.record(&key.tenant, vec![fact(key.user.clone(), entries)]).await
    }

    /// Finds where a person meets notifications. All of them are theirs, or the first that is not is named.
    pub(super) async fn resolve(
        &self,
        key: &UserKey,
        ids: &[NotificationId],
    ) -> Result<(Inbox, Vec<EntryRef>), Error> {
        let most = limits::NOTIFICATIONS_PER_COMMAND;
        if ids.is_empty() || ids.len() > most {
            let detail = format!("expected 1 to {most} notifications, got {}", ids.len());
            return Err(Error::field("notifications", detail));
        }
        let mut unique = ids.to_vec();
        unique.sort_unstable();
        unique.dedup();
        let inbox = self.inbox_of(key, self.log().head()).await?;
        let (inbox, found) = self.look_up(inbox, unique).await?;
        let mut entries = Vec::with_capacity(found.len());
        for (id, entry) in found {
            entries.push(entry.ok_or_else(|| {
                let index = ids.iter().position(|asked| *asked == id).unwrap_or_default();
                Error::NotFound { field: format!("notifications[{index}]") }
            })?);
        }
        Ok((inbox, entries))
    }

    /// The position that a client means, if it can have seen it.
    fn position_of(&self, up_to: &UpTo) -> Result<Position, Error> {
        let position = match up_to {
            UpTo::Position(position) => *position,
            UpTo::Cursor(cursor) if self.log().epochs().hold(cursor) => cursor.position,
            UpTo::Cursor(_) => {
                return Err(Error::field("upTo", "expected a cursor of this log, got one of another"));
            }
        };
        let head = self.log().head();
        if position > head {
            return Err(Error::field(
                "upTo",
                format!("expected a position of at most {head}, got {position}"),
            ));
        }
        Ok(position)
    }
}
