//! The hub: who is connected, in which channels, and what each of them is told.
//!
//! Owned by the projector's thread, so it needs no lock. Waits for nobody: a subscriber whose mailbox is full gets no
//! more until it has read what it missed and is attached again.

mod batch;
mod mailbox;
mod presence;
mod reach;
mod ready;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use roaring::RoaringBitmap;
use smallvec::SmallVec;

pub use mailbox::SubscriberId;
pub(crate) use mailbox::{Mailbox, Sender, Sent, Subscription, mailbox};
pub use presence::{ChannelPresence, Presence};
pub use ready::{Ready, ReadyQueue};

use crate::access::{Identity, Rules};
use crate::delivery::Message;
use crate::inbox::{Effect, Fold};
use crate::limits;
use crate::metrics::{Mailboxes, Metrics};
use crate::names::{Channel, Tenant, UserKey};
use crate::position::Position;
use crate::sorted_map::SortedMap;
use batch::Batch;
use ready::Told;

/// A subscriber's place in the hub's table, reused when it has gone.
type Slot = u32;

/// Everybody who is connected.
#[derive(Default)]
pub(crate) struct Hub {
    slots: Vec<Option<Connected>>,
    free: Vec<Slot>,
    by_id: HashMap<SubscriberId, Slot>,
    users: HashMap<UserKey, ConnectedUser>,
    tenants: HashMap<Tenant, Channels>,
    /// Whose counts have changed by a broadcast since they were last told.
    stale: RoaringBitmap,
    /// What the operator permits beside what tokens say.
    rules: Arc<Rules>,
    metrics: Arc<Metrics>,
}

/// Who of a tenant is in its channels.
#[derive(Default)]
struct Channels {
    /// Connections of members: their notifications count.
    members: HashMap<Channel, RoaringBitmap>,
    /// Connections that only watch.
    watchers: HashMap<Channel, RoaringBitmap>,
}

struct Connected {
    subscription: Subscription,
    /// Of those who are live.
    sender: Option<Sender>,
    watches: BTreeSet<Channel>,
}

#[derive(Default)]
struct ConnectedUser {
    slots: SmallVec<[Slot; 2]>,
    channels: SortedMap<Channel, ()>,
}

impl Hub {
    pub(crate) fn counting(metrics: Arc<Metrics>) -> Self {
        Self { metrics, ..Self::default() }
    }

    /// What waits for those who are live.
    pub(crate) fn mailboxes(&self) -> Mailboxes {
        let mut mailboxes = Mailboxes::default();
        for connected in self.slots.iter().flatten() {
            let Some(sender) = &connected.sender else {
                mailboxes.behind += 1;
                continue;
            };
            mailboxes.live += 1;
            mailboxes.parcels += sender.waiting();
            mailboxes.fullest = mailboxes.fullest.max(sender.waiting());
        }
        mailboxes
    }

    /// Adds a subscriber, whose user is a member of `channels`. It gets nothing before it is [attached](Self::attach).
    pub(crate) fn subscribe<'c>(
        &mut self,
        id: SubscriberId,
        subscription: Subscription,
        channels: impl Iterator<Item = &'c Channel>,
    ) {
        let slot = self.free.pop().unwrap_or(self.slots.len() as Slot);
        let tenant = self.tenants.entry(subscription.key.tenant.clone()).or_default();
        let user = self.users.entry(subscription.key.clone()).or_default();
        if user.slots.is_empty() {
            user.channels = channels.map(|channel| (channel.clone(), ())).collect();
        }
        user.slots.push(slot);
        for channel in user.channels.keys() {
            tenant.members.entry(channel.clone()).or_default().insert(slot);
        }
        self.by_id.insert(id, slot);
        let watched = subscription.watches.clone();
        let connected = Connected { subscription, sender: None, watches: BTreeSet::new() };
        match self.slots.get_mut(slot as usize) {
            Some(place) => *place = Some(connected),
            None => self.slots.push(Some(connected)),
        }
        for channel in watched {
            self.watch(id, channel);
        }
    }

    /// Makes a subscriber live: what is handed out from now on goes into its mailbox.
    pub(crate) fn attach(&mut self, id: SubscriberId, sender: Sender) {
        if let Some((_, connected)) = self.connected_mut(id) {
            connected.sender = Some(sender);
        }
    }

    /// Who is told that there is something in a subscriber's mailbox.
    pub(crate) fn ready(&self, id: SubscriberId) -> Option<Ready> {
        self.at(*self.by_id.get(&id)?)?.subscription.ready.clone()
    }

    /// Whose a subscriber is, and what it watches.
    pub(crate) fn subscriber(&self, id: SubscriberId) -> Option<(&UserKey, &BTreeSet<Channel>)> {
        let connected = self.at(*self.by_id.get(&id)?)?;
        Some((&connected.subscription.key, &connected.watches))
    }

    /// Whether a connection watches a channel.
    pub(crate) fn watches(&self, id: SubscriberId, channel: &Channel) -> bool {
        self.subscriber(id).is_some_and(|(_, watches)| watches.contains(channel))
    }

    /// Removes a subscriber. Whose it was, if it was there.
    pub(crate) fn unsubscribe(&mut self, id: SubscriberId) -> Option<UserKey> {
        let slot = self.by_id.remove(&id)?;
        let connected = self.slots.get_mut(slot as usize)?.take()?;
        self.free.push(slot);
        self.stale.remove(slot);
        let key = connected.subscription.key;
        if let Some(tenant) = self.tenants.get_mut(&key.tenant) {
            for channel in &connected.watches {
                Channels::take(&mut tenant.watchers, channel, slot);
            }
            if let Some(user) = self.users.get_mut(&key) {
                for channel in user.channels.keys() {
                    Channels::take(&mut tenant.members, channel, slot);
                }
                user.slots.retain(|other| *other != slot);
            }
            if tenant.members.is_empty() && tenant.watchers.is_empty() {
                self.tenants.remove(&key.tenant);
            }
        }
        if self.users.get(&key).is_some_and(|user| user.slots.is_empty()) {
            self.users.remove(&key);
        }
        Some(key)
    }

    /// Lets a connection see a channel live. `false` when it watches too many.
    pub(crate) fn watch(&mut self, id: SubscriberId, channel: Channel) -> bool {
        let rules = self.rules.clone();
        let Some((slot, connected)) = self.connected_mut(id) else {
            return true;
        }; // it has gone, which its task learns
        // It was permitted when it was asked for; by now there may be other rules.
        if connected.subscription.identity.require_watch(&rules, &channel).is_err() {
            return true;
        }
        if connected.watches.len() >= limits::WATCHES_PER_SUBSCRIBER && !connected.watches.contains(&channel)
        {
            return false;
        }
        let tenant = connected.subscription.key.tenant.clone();
        connected.watches.insert(channel.clone());
        self.tenants.entry(tenant).or_default().watchers.entry(channel).or_default().insert(slot);
        true
    }

    /// Ends that.
    pub(crate) fn unwatch(&mut self, id: SubscriberId, channel: &Channel) {
        let Some((slot, connected)) = self.connected_mut(id) else {
            return;
        };
        let tenant = connected.subscription.key.tenant.clone();
        if connected.watches.remove(channel)
            && let Some(channels) = self.tenants.get_mut(&tenant)
        {
            Channels::take(&mut channels.watchers, channel, slot);
        }
    }

    /// Lets a connection go on as another identity of the same user, and says what it still watches.
    pub(crate) fn renew(&mut self, id: SubscriberId, identity: Arc<Identity>) -> Vec<Channel> {
        let own = identity.session.as_ref().map(Channel::of_session);
        if let Some((_, connected)) = self.connected_mut(id) {
            connected.subscription.identity = identity;
        }
        self.end_watches(id);
        if let Some(own) = own {
            self.watch(id, own);
        }
        self.subscriber(id).map(|(_, watches)| watches.iter().cloned().collect()).unwrap_or_default()
    }

    /// Goes by other rules from now on. What they do not permit ends.
    pub(crate) fn govern(&mut self, rules: Arc<Rules>) {
        self.rules = rules;
        let connected: Vec<SubscriberId> = self.by_id.keys().copied().collect();
        for id in connected {
            self.end_watches(id);
        }
    }

    /// Ends what a connection may watch no longer.
    fn end_watches(&mut self, id: SubscriberId) {
        let rules = self.rules.clone();
        let Some((_, connected)) = self.connected_mut(id) else { return };
        let identity = connected.subscription.identity.clone();
        let watched = connected.watches.clone();
        for channel in watched.iter().filter(|channel| identity.require_watch(&rules, channel).is_err()) {
            self.unwatch(id, channel);
        }
    }

    fn connected_mut(&mut self, id: SubscriberId) -> Option<(Slot, &mut Connected)> {
        let slot = *self.by_id.get(&id)?;
        Some((slot, self.slots.get_mut(slot as usize)?.as_mut()?))
    }

    /// Tells everybody concerned what a batch means for them, each in one parcel. The fold is as it is after the batch.
    pub(crate) fn hand_out(&mut self, effects: &[Effect], fold: &Fold) {
        let mut batch = Batch::default();
        for effect in effects {
            match effect {
                Effect::Addressed(event, superseded) => {
                    self.address(event, superseded, fold, &mut batch);
                }
                Effect::Changed(key, event) => self.tell(key, Message::Changed(event.clone()), &mut batch),
                Effect::Joined(key, channels, position) => {
                    self.join(key, channels);
                    self.tell(
                        key,
                        Message::Joined { channels: channels.clone(), position: *position },
                        &mut batch,
                    );
                }
                Effect::Left(key, channels, position) => {
                    self.leave(key, channels);
                    self.tell(
                        key,
                        Message::Left { channels: channels.clone(), position: *position },
                        &mut batch,
                    );
                }
            }
        }
        for key in std::mem::take(&mut batch.counted) {
            self.add_counts(&key, fold, &mut batch);
        }
        self.send(batch, fold.position());
    }

    /// Tells those their counts who have had broadcasts since they were last told.
    pub(crate) fn tell_stale_counts(&mut self, fold: &Fold) {
        let stale = std::mem::take(&mut self.stale);
        let keys: BTreeSet<UserKey> =
            stale.iter().filter_map(|slot| Some(self.at(slot)?.subscription.key.clone())).collect();
        let mut batch = Batch::default();
        for key in keys {
            self.add_counts(&key, fold, &mut batch);
        }
        self.send(batch, fold.position());
    }

    /// Lets people be told their counts when it is next time for that.
    pub(crate) fn mark_stale(&mut self, keys: &[UserKey]) {
        let users = keys.iter().filter_map(|key| self.users.get(key));
        self.stale.extend(users.flat_map(|user| user.slots.iter().copied()));
    }

    /// A message to all of a user's devices, followed by their counts.
    fn tell(&self, key: &UserKey, message: Message, batch: &mut Batch) {
        if let Some(user) = self.users.get(key) {
            batch.add(message, user.slots.iter().copied());
            batch.counted.insert(key.clone());
        }
    }

    fn add_counts(&mut self, key: &UserKey, fold: &Fold, batch: &mut Batch) {
        let (Some(user), Some(counts)) = (self.users.get(key), fold.counts(key)) else {
            return;
        };
        batch.add(Message::Counts(counts), user.slots.iter().copied());
        for slot in &user.slots {
            self.stale.remove(*slot);
        }
    }

    fn join(&mut self, key: &UserKey, channels: &[Channel]) {
        let Some(user) = self.users.get_mut(key) else {
            return;
        };
        let tenant = self.tenants.entry(key.tenant.clone()).or_default();
        for channel in channels {
            user.channels.insert(channel.clone(), ());
            tenant.members.entry(channel.clone()).or_default().extend(user.slots.iter().copied());
        }
    }

    fn leave(&mut self, key: &UserKey, channels: &[Channel]) {
        let (Some(user), Some(tenant)) = (self.users.get_mut(key), self.tenants.get_mut(&key.tenant)) else {
            return;
        };
        for channel in channels {
            user.channels.remove(channel);
            for slot in &user.slots {
                Channels::take(&mut tenant.members, channel, *slot);
            }
        }
    }

    /// Puts the parcels into the mailboxes. Whoever gets the same messages gets the same parcel.
    fn send(&mut self, batch: Batch, position: Position) {
        let (mut sent, mut full, mut ready) = (0, 0, Vec::new());
        let slots = &mut self.slots;
        batch.into_parcels(position, |slot, parcel| {
            let connected = slots.get_mut(slot as usize).and_then(Option::as_mut);
            let Some(connected) = connected else { return };
            match connected.sender.as_ref().map(|sender| sender.send(parcel)) {
                Some(Sent::First) => {
                    sent += 1;
                    ready.push(slot);
                }
                Some(Sent::Another) => sent += 1, // it is known already
                Some(Sent::Full) => {
                    connected.sender = None; // it reads what it missed from the log
                    full += 1;
                }
                None => {}
            }
        });
        let mut told = Told::default();
        for slot in ready {
            if let Some(sender) = self.at(slot).and_then(|connected| connected.sender.as_ref())
                && let Some(place) = sender.ready()
            {
                told.add(place);
            }
        }
        told.tell();
        self.metrics.parcels.add(sent);
        self.metrics.mailboxes_full.add(full);
    }

    fn at(&self, slot: Slot) -> Option<&Connected> {
        self.slots.get(slot as usize)?.as_ref()
    }

    /// Lets all subscribers go.
    pub(crate) fn close(&mut self) {
        let rules = self.rules.clone();
        *self = Self { rules, ..Self::counting(self.metrics.clone()) };
    }
}

impl Channels {
    fn take(channels: &mut HashMap<Channel, RoaringBitmap>, channel: &Channel, slot: Slot) {
        if let Some(slots) = channels.get_mut(channel) {
            slots.remove(slot);
            if slots.is_empty() {
                channels.remove(channel);
            }
        }
    }
}
