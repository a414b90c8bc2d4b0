//! Whom a notification, or a change of one, reaches of those who are connected, and what each of them is told.

use std::sync::Arc;

use roaring::RoaringBitmap;

use super::batch::Batch;
use super::{Hub, Slot};
use crate::audience::Audience;
use crate::delivery::Message;
use crate::event::{Addressed, Event, Fact};
use crate::inbox::{Fold, Superseded};
use crate::names::{Tenant, UserKey};

/// Connections in the channels that a notification is for.
#[derive(Default)]
struct InChannels {
    /// Of members.
    members: RoaringBitmap,
    /// That only watch, or do so as well.
    watchers: RoaringBitmap,
    /// Of either, whom the publisher left out.
    excepted: RoaringBitmap,
}

impl Hub {
    pub(super) fn address(
        &mut self,
        event: &Arc<Event>,
        superseded: &[Superseded],
        fold: &Fold,
        batch: &mut Batch,
    ) {
        let Some(addressed) = event.addressed() else { return };
        let mut reached = self.in_channels(&event.tenant, addressed.audience);
        if addressed.position != event.position {
            // A change is only for those who have had it.
            self.retain(&mut reached.members, |key| fold.was_reached(key, &addressed));
        }
        let changes_counts = addressed.inbox && !matches!(event.fact, Fact::Updated(_));
        if changes_counts {
            self.stale |= &reached.members;
        }
        self.address_by_name(event, &addressed, superseded, &mut reached, fold, batch);
        if changes_counts {
            let user = |user| UserKey { tenant: event.tenant.clone(), user };
            let named = addressed.audience.users.iter().cloned().map(user);
            batch.counted.extend(named.filter(|key| self.users.contains_key(key)));
        }
        self.address_channels(event, &addressed, superseded, reached, fold, batch);
    }

    /// Those addressed by name, as far as they are told something of their own; the others join the members.
    fn address_by_name(
        &self,
        event: &Arc<Event>,
        addressed: &Addressed<'_>,
        superseded: &[Superseded],
        reached: &mut InChannels,
        fold: &Fold,
        batch: &mut Batch,
    ) {
        let shared = addressed.shared_entry().map(|(_, entry)| entry.stream);
        let mut own_entries = addressed.own_entries();
        for user in &addressed.audience.users {
            let own = own_entries.next().map(|(_, entry)| entry.stream);
            let key = UserKey { tenant: event.tenant.clone(), user: user.clone() };
            let Some(connected) = self.users.get(&key) else { continue };
            let slots = connected.slots.iter().copied();
            if superseded.is_empty() {
                reached.members.extend(slots);
                continue;
            }
            let is_member = connected.slots.first().is_some_and(|slot| reached.members.contains(*slot));
            let streams = [own, shared.filter(|_| is_member)];
            let older = superseded.iter().filter(|older| streams.contains(&Some(older.stream)));
            let ids = older.filter(|older| fold.had(&key, older)).map(|older| older.id).collect();
            batch.add(Message::of(event.clone(), addressed.inbox, ids), slots.clone());
            for slot in slots {
                reached.members.remove(slot);
                reached.watchers.remove(slot);
            }
        }
    }

    fn address_channels(
        &mut self,
        event: &Arc<Event>,
        addressed: &Addressed<'_>,
        superseded: &[Superseded],
        reached: InChannels,
        fold: &Fold,
        batch: &mut Batch,
    ) {
        let InChannels { mut members, mut watchers, mut excepted } = reached;
        watchers -= &members;
        let counts = addressed.inbox;
        let stream = addressed.shared_entry().map(|(_, entry)| entry.stream);
        let older = superseded.iter().find(|older| Some(older.stream) == stream);
        if let Some(older) = older {
            let ids = vec![older.id];
            if !older.is_alone {
                // It may be somebody's by name as well, and theirs still.
                let all = members.clone();
                self.retain(&mut members, |key| fold.had(key, older));
                batch.add_for_many(Message::of(event.clone(), counts, Vec::new()), all - &members);
                self.retain(&mut excepted, |key| fold.had(key, older));
            }
            // Who is left out of the newer one loses the older one all the same.
            self.stale |= &excepted;
            batch.add(Message::Superseded { ids: ids.clone(), position: event.position }, excepted);
            batch.add_for_many(Message::of(event.clone(), counts, ids.clone()), members);
            batch.add_for_many(Message::of(event.clone(), false, ids), watchers);
        } else {
            batch.add_for_many(Message::of(event.clone(), counts, Vec::new()), members);
            batch.add_for_many(Message::of(event.clone(), false, Vec::new()), watchers);
        }
    }

    fn retain(&self, slots: &mut RoaringBitmap, is_meant: impl Fn(&UserKey) -> bool) {
        let kept = |slot: &Slot| self.at(*slot).is_some_and(|at| is_meant(&at.subscription.key));
        *slots = slots.iter().filter(kept).collect();
    }

    /// Connections in an audience's channels.
    fn in_channels(&self, tenant: &Tenant, audience: &Audience) -> InChannels {
        let mut found = InChannels::default();
        let InChannels { members, watchers, excepted } = &mut found;
        let Some(channels) = self.tenants.get(tenant) else { return found };
        for channel in &audience.channels {
            *members |= channels.members.get(channel).unwrap_or(&RoaringBitmap::new());
            *watchers |= channels.watchers.get(channel).unwrap_or(&RoaringBitmap::new());
        }
        for user in &audience.except {
            let key = UserKey { tenant: tenant.clone(), user: user.clone() };
            for slot in self.users.get(&key).map_or(&[][..], |user| &user.slots) {
                let (was_member, was_watcher) = (members.remove(*slot), watchers.remove(*slot));
                if was_member || was_watcher {
                    excepted.insert(*slot);
                }
            }
        }
        found
    }
}
