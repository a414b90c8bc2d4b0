//! What each person has, kept the plain way: a list of notifications for everybody, each with its flags, and counts made
//! by looking at every one. Shares no idea with the engine's way of doing it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;

use tidings_engine::event::{Maker, Mark};
use tidings_engine::inbox::{InboxItem, PartCounts};
use tidings_engine::{Channel, NotificationId, UserId};

#[derive(Default)]
pub struct Model {
    people: BTreeMap<UserId, Person>,
    /// Everything that went out and was not taken back.
    pub out: Vec<NotificationId>,
    pub retracted: Vec<NotificationId>,
}

#[derive(Default)]
pub struct Person {
    member: BTreeMap<Channel, BTreeSet<Maker>>,
    /// When the token was issued that last changed what the claims make.
    claims_of: Option<i64>,
    items: Vec<Item>,
}

struct Item {
    id: NotificationId,
    position: u64,
    /// Where it is listed.
    listed_at: u64,
    kind: &'static str,
    tag: Option<&'static str>,
    title: String,
    collapse_key: Option<&'static str>,
    /// Through which channels it came; `None` when it was addressed to the person by name.
    channels: Option<Vec<Channel>>,
    read: bool,
    unread_since: u64,
    seen: bool,
    archived: bool,
    snoozed: bool,
    pinned: bool,
}

#[derive(Clone, Default)]
pub struct Filter {
    pub unread: Option<bool>,
    pub archived: bool,
    pub snoozed: bool,
    pub pinned: Option<bool>,
    pub kind: Option<&'static str>,
    pub tag: Option<&'static str>,
    pub channel: Option<&'static str>,
}

impl Filter {
    pub fn all() -> Vec<(&'static str, Self)> {
        let none = Self::default;
        vec![
            ("list", none()),
            ("unread", Self { unread: Some(true), ..none() }),
            ("read", Self { unread: Some(false), ..none() }),
            ("archived", Self { archived: true, ..none() }),
            ("snoozed", Self { snoozed: true, ..none() }),
            ("snoozed and unread", Self { snoozed: true, unread: Some(true), ..none() }),
            ("pinned", Self { pinned: Some(true), ..none() }),
            ("unpinned and unread", Self { pinned: Some(false), unread: Some(true), ..none() }),
            ("of a type", Self { kind: Some("two"), ..none() }),
            ("with a tag", Self { tag: Some("x"), ..none() }),
            ("of a channel", Self { channel: Some("topic:a"), ..none() }),
        ]
    }
}

/// A notification as both sides are compared.
pub fn line(item: &InboxItem) -> String {
    let notification: serde_json::Value = serde_json::from_str(item.notification.get()).unwrap();
    let (id, title) = (notification["id"].as_str().unwrap(), notification["title"].as_str().unwrap());
    described(&item.position, &id, title, [item.read, item.seen, item.archived, item.pinned])
}

/// The same, from its parts: whether it is read, seen, archived and pinned.
pub fn described(position: &dyn Display, id: &dyn Display, title: &str, flags: [bool; 4]) -> String {
    let words = ["read ", "seen ", "archived ", "pinned"].into_iter().zip(flags);
    let set: String = words.filter_map(|(word, is_set)| is_set.then_some(word)).collect();
    format!("{position} {id} {title} {set}")
}

impl Item {
    fn line(&self) -> String {
        described(&self.listed_at, &self.id, &self.title, [self.read, self.seen, self.archived, self.pinned])
    }
}

pub struct Publish<'a> {
    pub id: NotificationId,
    pub position: u64,
    pub kind: &'static str,
    pub tag: Option<&'static str>,
    pub users: &'a BTreeSet<UserId>,
    pub channels: &'a BTreeSet<Channel>,
    pub except: &'a BTreeSet<UserId>,
    pub collapse_key: Option<&'static str>,
    pub inbox: bool,
}

impl Model {
    pub fn person(&self, user: &UserId) -> Option<&Person> {
        self.people.get(user)
    }

    pub fn person_mut(&mut self, user: &UserId) -> Option<&mut Person> {
        self.people.get_mut(user)
    }

    /// Whoever the server hears of is a member of `everyone` from then on.
    pub fn hear(&mut self, user: &UserId) -> &mut Person {
        let person = self.people.entry(user.clone()).or_default();
        person.member.entry(Channel::everyone()).or_default();
        person
    }

    /// Who would meet what is addressed to channels.
    pub fn members(&self, channels: &BTreeSet<Channel>) -> BTreeSet<UserId> {
        let reached = |person: &Person| channels.iter().any(|channel| person.member.contains_key(channel));
        self.people.iter().filter(|(_, person)| reached(person)).map(|(user, _)| user.clone()).collect()
    }

    /// Everybody, with what they have read of what is theirs.
    pub fn all_read(&self) -> BTreeSet<(UserId, NotificationId)> {
        let read = |person: &Person| -> Vec<NotificationId> {
            person.items.iter().filter(|item| item.read).map(|item| item.id).collect()
        };
        let of = self.people.iter().map(|(user, person)| (user.clone(), read(person)));
        of.flat_map(|(user, ids)| ids.into_iter().map(move |id| (user.clone(), id))).collect()
    }

    pub fn publish(&mut self, publish: &Publish<'_>) {
        let item = |channels| Item {
            id: publish.id,
            position: publish.position,
            listed_at: publish.position,
            kind: publish.kind,
            tag: publish.tag,
            title: String::new(),
            collapse_key: publish.collapse_key,
            channels,
            read: false,
            unread_since: publish.position,
            seen: false,
            archived: false,
            snoozed: false,
            pinned: false,
        };
        self.out.push(publish.id);
        if publish.inbox {
            self.collapse(publish);
            for (user, person) in &mut self.people {
                let reached = publish.channels.iter().any(|channel| person.member.contains_key(channel));
                if reached && !publish.users.contains(user) && !publish.except.contains(user) {
                    person.items.push(item(Some(publish.channels.iter().cloned().collect())));
                }
            }
            for user in publish.users {
                self.hear(user).items.push(item(None));
            }
        }
    }

    /// Older ones with the same key go, from the very same places.
    fn collapse(&mut self, publish: &Publish<'_>) {
        let Some(key) = publish.collapse_key else { return };
        let channels: Vec<Channel> = publish.channels.iter().cloned().collect();
        for (user, person) in &mut self.people {
            person.items.retain(|item| {
                let same_place = match &item.channels {
                    None => publish.users.contains(user),
                    Some(others) => *others == channels,
                };
                !(same_place && item.collapse_key == Some(key))
            });
        }
    }

    pub fn update(&mut self, id: NotificationId, title: &str, tag: Option<&'static str>) {
        let items = self.people.values_mut().flat_map(|person| &mut person.items);
        for item in items.filter(|item| item.id == id) {
            (item.title, item.tag) = (title.to_owned(), tag);
        }
    }

    pub fn retract(&mut self, id: NotificationId) {
        for person in self.people.values_mut() {
            person.items.retain(|item| item.id != id);
        }
        self.out.retain(|other| *other != id);
        self.retracted.push(id);
    }

    pub fn join(&mut self, user: &UserId, channel: &Channel, by: Maker) {
        self.hear(user).member.entry(channel.clone()).or_default().insert(by);
    }

    pub fn leave(&mut self, user: &UserId, channel: &Channel, by: Maker) {
        let Some(person) = self.people.get_mut(user) else {
            return;
        };
        let Some(makers) = person.member.get_mut(channel) else {
            return;
        };
        makers.remove(&by);
        if makers.is_empty() {
            person.member.remove(channel);
            let member = &person.member;
            let remains =
                |channels: &Vec<Channel>| channels.iter().any(|channel| member.contains_key(channel));
            person.items.retain(|item| item.channels.as_ref().is_none_or(remains));
        }
    }

    /// A token comes in: it decides what the claims make, unless a newer one has spoken.
    pub fn admit(&mut self, user: &UserId, channels: &BTreeSet<Channel>, issued_at: i64) {
        let stranger = !self.people.contains_key(user);
        let person = self.hear(user);
        if stranger {
            person.claims_of = Some(issued_at);
        }
        let had: BTreeSet<Channel> = person
            .member
            .iter()
            .filter(|(_, by)| by.contains(&Maker::Claims))
            .map(|(c, _)| c.clone())
            .collect();
        let is_newer = stranger || person.claims_of.is_none_or(|newest| newest < issued_at);
        let outdated = person.claims_of.is_some_and(|newest| newest > issued_at);
        // A token that changes nothing is not recorded, so it does not become the newest.
        let changes = if is_newer { had != *channels } else { !channels.is_subset(&had) };
        if outdated || !changes {
            return;
        }
        person.claims_of = Some(issued_at);
        for channel in channels {
            self.join(user, channel, Maker::Claims);
        }
        // One of the same second takes nothing back.
        for channel in had.iter().filter(|channel| is_newer && !channels.contains(*channel)) {
            self.leave(user, channel, Maker::Claims);
        }
    }

    pub fn all_ids(&self) -> Vec<NotificationId> {
        self.people.values().flat_map(Person::ids).collect()
    }
}

impl Person {
    pub fn ids(&self) -> Vec<NotificationId> {
        self.items.iter().map(|item| item.id).collect()
    }

    pub fn read(&mut self, ids: &[NotificationId]) {
        for item in self.items.iter_mut().filter(|item| ids.contains(&item.id)) {
            item.read = true;
        }
    }

    pub fn read_all(&mut self, up_to: u64) {
        for item in self.items.iter_mut().filter(|item| item.unread_since <= up_to) {
            item.read = true;
        }
    }

    pub fn snooze(&mut self, ids: &[NotificationId]) {
        for item in self.items.iter_mut().filter(|item| ids.contains(&item.id)) {
            (item.snoozed, item.archived) = (true, false);
        }
    }

    /// What is to be woken, in the order of the ids.
    pub fn wake(&mut self, ids: &[NotificationId], last: u64) {
        let mut waking: Vec<&mut Item> =
            self.items.iter_mut().filter(|item| item.snoozed && ids.contains(&item.id)).collect();
        waking.sort_by_key(|item| std::cmp::Reverse(item.id));
        for (item, position) in waking.into_iter().zip((0..=last).rev()) {
            (item.snoozed, item.read) = (false, false);
            (item.unread_since, item.listed_at) = (position, position);
        }
    }

    pub fn see(&mut self, up_to: u64) {
        for item in self.items.iter_mut().filter(|item| item.position <= up_to) {
            item.seen = true;
        }
    }

    pub fn mark(&mut self, mark: Mark, ids: &[NotificationId], at: u64) {
        if mark == Mark::Deleted {
            self.items.retain(|item| !ids.contains(&item.id));
        }
        for item in self.items.iter_mut().filter(|item| ids.contains(&item.id)) {
            match mark {
                Mark::Unread if item.read => (item.read, item.unread_since) = (false, at),
                Mark::Unread | Mark::Deleted => {}
                Mark::Archived => (item.archived, item.snoozed) = (true, false),
                Mark::Unarchived => item.archived = false,
                Mark::Pinned => item.pinned = true,
                Mark::Unpinned => item.pinned = false,
            }
        }
    }

    fn shown(&self) -> impl Iterator<Item = &Item> {
        self.items.iter().filter(|item| !item.archived && !item.snoozed)
    }

    pub fn counts(&self) -> (u64, u64) {
        let unread = self.shown().filter(|item| !item.read).count() as u64;
        let unseen = self.shown().filter(|item| !item.seen).count() as u64;
        (unread, unseen)
    }

    pub fn counts_by_type(&self) -> BTreeMap<String, PartCounts> {
        let mut counts = BTreeMap::new();
        for item in self.shown() {
            count(&mut counts, item.kind.to_owned(), item);
        }
        counts
    }

    pub fn counts_by_channel(&self, user: &UserId) -> BTreeMap<Channel, PartCounts> {
        let mut counts = BTreeMap::new();
        for item in self.shown() {
            match &item.channels {
                None => count(&mut counts, Channel::of_user(user), item),
                Some(channels) => {
                    for channel in channels.iter().filter(|channel| self.member.contains_key(channel)) {
                        count(&mut counts, channel.clone(), item);
                    }
                }
            }
        }
        counts
    }

    pub fn list(&self, filter: &Filter) -> Vec<String> {
        let in_channel = |item: &Item, wanted: &str| {
            let channel = Channel::new(wanted).unwrap();
            let came = item.channels.as_ref().is_some_and(|channels| channels.contains(&channel));
            came && self.member.contains_key(&channel)
        };
        let wanted = |item: &&Item| {
            item.archived == filter.archived
                && item.snoozed == filter.snoozed
                && filter.unread.is_none_or(|unread| unread != item.read)
                && filter.pinned.is_none_or(|pinned| pinned == item.pinned)
                && filter.kind.is_none_or(|kind| kind == item.kind)
                && filter.tag.is_none_or(|tag| item.tag == Some(tag))
                && filter.channel.is_none_or(|channel| in_channel(item, channel))
        };
        let mut items: Vec<&Item> = self.items.iter().filter(wanted).collect();
        items.sort_by_key(|item| std::cmp::Reverse(item.listed_at));
        items.iter().map(|item| item.line()).collect()
    }
}

fn count<K: Ord>(counts: &mut BTreeMap<K, PartCounts>, key: K, item: &Item) {
    if !item.read || !item.seen {
        let part = counts.entry(key).or_default();
        part.unread += u64::from(!item.read);
        part.unseen += u64::from(!item.seen);
    }
}
