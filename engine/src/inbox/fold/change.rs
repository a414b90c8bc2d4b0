//! What becomes of notifications after they were published: taken back, taken the place of, put off and brought back.

use super::{Changes, Fold, Newest, Superseded, Written};
use crate::event::{Entry, EntryRef, Event, Mark, Retracted, Snoozed, Woken};
use crate::inbox::reading::Snooze;
use crate::inbox::timers::{Timer, TimerChange};
use crate::names::{Tenant, UserId, UserKey};
use crate::notification::Notification;
use crate::position::{Offset, Position, StreamId};

impl Fold {
    /// Takes the older notification with the same key out of each stream that a newer one entered.
    pub(super) fn collapse(
        &mut self,
        event: &Event,
        notification: &Notification,
        changes: &mut Changes,
        written: &dyn Written,
    ) -> rusqlite::Result<Vec<Superseded>> {
        let (Some(collapse_key), Some(addressed)) = (&notification.collapse_key, event.addressed()) else {
            return Ok(Vec::new());
        };
        let shared = addressed.shared_entry().map(|(_, entry)| (None, entry));
        let own = addressed.own_entries().map(|(user, entry)| (Some(user), entry));
        let mut superseded = Vec::new();
        for (user, entry) in own.chain(shared) {
            let slot = (entry.stream, collapse_key.clone());
            let older = match changes.newest.get(&slot) {
                Some(newest) => Some(*newest),
                None => written.newest(entry.stream, collapse_key)?,
            };
            let is_alone = event.entries.len() == 1;
            changes.newest.insert(slot, Newest { id: notification.id, offset: entry.offset, is_alone });
            let Some(older) = older else { continue };
            let place = Entry { stream: entry.stream, offset: older.offset };
            if self.take_back(&event.tenant, user, place, changes) {
                let Newest { id, offset, is_alone } = older;
                superseded.push(Superseded { stream: entry.stream, offset, id, is_alone });
                if older.is_alone {
                    changes.timers.push(TimerChange::VoidExpiry(older.id));
                }
            }
        }
        Ok(superseded)
    }

    pub(super) fn retract(
        &mut self,
        event: &std::sync::Arc<Event>,
        retracted: &Retracted,
        changes: &mut Changes,
    ) {
        changes.changed.push(event.clone());
        changes.timers.push(TimerChange::VoidExpiry(retracted.id));
        let Some(addressed) = event.addressed() else { return };
        for (user, entry) in addressed.own_entries() {
            self.take_back(&event.tenant, Some(user), entry, changes);
        }
        if let Some((_, entry)) = addressed.shared_entry() {
            self.take_back(&event.tenant, None, entry, changes);
        }
    }

    /// Takes an entry back: of a user's own stream, or from everybody. Whether it was there to be taken.
    fn take_back(
        &mut self,
        tenant: &Tenant,
        user: Option<&UserId>,
        entry: Entry,
        changes: &mut Changes,
    ) -> bool {
        changes.timers.push(TimerChange::VoidWakes(entry.stream, entry.offset));
        let Some(user) = user else {
            changes.retracted.insert(entry.stream);
            return self.shared.retract(entry.stream, entry.offset);
        };
        let key = UserKey { tenant: tenant.clone(), user: user.clone() };
        let mut was_theirs = false;
        self.change(&key, entry.stream, entry.offset, changes, |reading| {
            was_theirs = reading.is_theirs(entry.offset);
            reading.displace(entry.offset);
        });
        was_theirs
    }

    pub(super) fn mark(
        &mut self,
        key: &UserKey,
        mark: Mark,
        stream: StreamId,
        offset: Offset,
        at: Position,
        changes: &mut Changes,
    ) {
        let mut void = false;
        self.change(key, stream, offset, changes, |reading| {
            let was_snoozed = reading.is_snoozed(offset);
            reading.mark(mark, offset, at);
            void = was_snoozed && !reading.is_snoozed(offset);
        });
        if void {
            changes.timers.push(TimerChange::VoidWake(key.clone(), stream, offset));
        }
    }

    pub(super) fn snooze(&mut self, event: &Event, key: &UserKey, snoozed: &Snoozed, changes: &mut Changes) {
        let snooze = Snooze { until: snoozed.until.as_millisecond(), at: event.position };
        for entry in &snoozed.entries {
            let mut is_snoozed = false;
            self.change(key, entry.stream, entry.offset, changes, |reading| {
                reading.snooze(entry.offset, snooze);
                is_snoozed = reading.is_snoozed(entry.offset);
            });
            if is_snoozed {
                changes.timers.push(TimerChange::VoidWake(key.clone(), entry.stream, entry.offset));
                changes.timers.push(TimerChange::Set(Timer::wake(event, key, snooze.until, entry)));
            }
        }
    }

    /// Whether it was put off.
    pub(super) fn wake(
        &mut self,
        event: &Event,
        key: &UserKey,
        woken: &Woken,
        changes: &mut Changes,
    ) -> bool {
        let EntryRef { stream, offset, .. } = woken.entry;
        let mut is_woken = false;
        self.change(key, stream, offset, changes, |reading| {
            is_woken = reading.wake(offset, woken.snoozed_at, event.position);
        });
        if is_woken {
            changes.timers.push(TimerChange::VoidWake(key.clone(), stream, offset));
        }
        is_woken
    }
}

/// What a notification that goes out does to the timers.
pub(super) fn timers_of(event: &Event, notification: &Notification) -> impl Iterator<Item = TimerChange> {
    let scheduled = notification.deliver_at.map(|_| TimerChange::VoidPublication(notification.id));
    scheduled.into_iter().chain(expiry_of(event, notification))
}

pub(super) fn expiry_of(event: &Event, notification: &Notification) -> Option<TimerChange> {
    Some(TimerChange::SetExpiry(Timer::expiry(event, notification)?, event.addressed()?.position))
}
