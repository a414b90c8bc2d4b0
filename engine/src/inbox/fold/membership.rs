//! Who is a member of what: memberships begin and end, and what follows from that for the streams.

use std::sync::Arc;

use super::{Changes, Effect, Fold};
use crate::event::{Event, Maker, Membership};
use crate::inbox::person::{Makers, Membership as Member};
use crate::inbox::reading::Reading;
use crate::inbox::timers::TimerChange;
use crate::names::{Channel, UserKey};
use crate::position::Position;

impl Fold {
    /// Somebody the server has not heard of before is a member of `everyone` from now on.
    pub(super) fn hear(&mut self, key: &UserKey, position: Position, changes: &mut Changes) -> bool {
        let Some(kept) = self.people.get_mut(key).filter(|kept| !kept.person.is_known()) else {
            return false;
        };
        Arc::make_mut(&mut kept.person).known_since = Some(position);
        changes.people.insert(key.clone());
        // `everyone` follows from being known: nobody has to say so, and no row of its own says it.
        self.begin_membership(
            key,
            &Channel::everyone(),
            Member { since: position, makers: Makers::default() },
            changes,
        );
        true
    }

    fn begin_membership(&mut self, key: &UserKey, channel: &Channel, member: Member, changes: &mut Changes) {
        let Some(kept) = self.people.get_mut(key) else {
            return;
        };
        let person = Arc::make_mut(&mut kept.person);
        for (id, stream) in self.shared.of_channel(&key.tenant, channel) {
            if !person.is_in(stream) {
                // Follows from the membership, so it need not be written.
                person.readings.insert(id, Reading::joined_at(stream.head));
                let reading = (key.clone(), id);
                if changes.readings.remove(&reading) {
                    changes.begun_anew.insert(reading);
                }
            }
        }
        person.memberships.insert(channel.clone(), member);
    }

    pub(super) fn join(
        &mut self,
        event: &Arc<Event>,
        membership: &Membership,
        changes: &mut Changes,
        effects: &mut Vec<Effect>,
    ) {
        for key in self.whose_counts(event, membership, changes) {
            let mut joined = Vec::new();
            if self.hear(&key, event.position, changes) {
                joined.push(Channel::everyone());
            }
            for channel in membership.channels.iter().filter(|channel| !channel.is_everyone()) {
                if self.join_one(&key, channel, membership.by, event.position, changes) {
                    joined.push(channel.clone());
                }
                changes.memberships.insert((key.clone(), channel.clone()));
            }
            if !joined.is_empty() {
                effects.push(Effect::Joined(key, joined, event.position));
            }
        }
    }

    /// Whether this is a new membership, not just another maker of one.
    fn join_one(
        &mut self,
        key: &UserKey,
        channel: &Channel,
        by: Maker,
        position: Position,
        changes: &mut Changes,
    ) -> bool {
        let Some(kept) = self.people.get_mut(key) else {
            return false;
        };
        let person = Arc::make_mut(&mut kept.person);
        if let Some(member) = person.memberships.get_mut(channel) {
            member.makers = member.makers.with(by);
            return false;
        }
        let makers = Makers::default().with(by);
        self.begin_membership(key, channel, Member { since: position, makers }, changes);
        true
    }

    pub(super) fn leave(
        &mut self,
        event: &Arc<Event>,
        membership: &Membership,
        changes: &mut Changes,
        effects: &mut Vec<Effect>,
    ) {
        for key in self.whose_counts(event, membership, changes) {
            let mut left = Vec::new();
            for channel in membership.channels.iter().filter(|channel| !channel.is_everyone()) {
                if self.leave_one(&key, channel, membership.by, changes) {
                    left.push(channel.clone());
                }
            }
            if !left.is_empty() {
                effects.push(Effect::Left(key, left, event.position));
            }
        }
    }

    /// Whether the membership ended: its last maker is gone.
    fn leave_one(&mut self, key: &UserKey, channel: &Channel, by: Maker, changes: &mut Changes) -> bool {
        let Some(kept) = self.people.get_mut(key) else {
            return false;
        };
        let person = Arc::make_mut(&mut kept.person);
        let Some(member) = person.memberships.get_mut(channel) else {
            return false;
        };
        member.makers = member.makers.without(by);
        let ended = member.makers.is_empty();
        changes.memberships.insert((key.clone(), channel.clone()));
        if !ended {
            return false;
        }
        person.memberships.remove(channel);
        for (id, stream) in self.shared.of_channel(&key.tenant, channel) {
            if person.is_in(stream) {
                // It no longer follows from the memberships that are left since when they have been in it.
                person.readings.entry(id).or_default();
            } else {
                let reading = person.readings.remove(&id);
                for offset in reading.iter().flat_map(|reading| reading.snoozed.keys()) {
                    changes.timers.push(TimerChange::VoidWake(key.clone(), id, *offset));
                }
            }
            changes.readings.insert((key.clone(), id));
        }
        true
    }

    /// The people for whom a change of membership counts.
    fn whose_counts(
        &mut self,
        event: &Event,
        membership: &Membership,
        changes: &mut Changes,
    ) -> Vec<UserKey> {
        let keys = membership.users.iter();
        let mut keys: Vec<UserKey> =
            keys.map(|user| UserKey { tenant: event.tenant.clone(), user: user.clone() }).collect();
        keys.retain(|key| self.claims_count(key, membership, changes));
        keys
    }

    /// Whether a change of membership counts: claims only when no newer token has spoken.
    fn claims_count(&mut self, key: &UserKey, membership: &Membership, changes: &mut Changes) -> bool {
        let Some(issued_at) = membership.issued_at.filter(|_| membership.by == Maker::Claims) else {
            return true;
        };
        let Some(kept) = self.people.get_mut(key) else {
            return false;
        };
        if kept.person.claims_issued_at.is_some_and(|newest| newest > issued_at) {
            return false;
        }
        Arc::make_mut(&mut kept.person).claims_issued_at = Some(issued_at);
        changes.people.insert(key.clone());
        true
    }
}
