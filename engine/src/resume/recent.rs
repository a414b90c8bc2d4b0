//! The most recent effects, by whom they concern, so that those who come back soon cost no look at the database.
//!
//! Owned by the projector's thread. Bounded in effects, in bytes and in references.

use std::collections::{BTreeSet, HashMap, VecDeque};

use super::{Gathering, Viewer};
use crate::delivery::Message;
use crate::event::Fact;
use crate::inbox::Effect;
use crate::names::{Channel, Tenant, UserKey};
use crate::position::Position;

/// Bytes of their events at most, roughly. The log's ring shares most of them.
const BYTES_KEPT: usize = 64 << 20;
/// References from those concerned to effects at most.
const REFERENCES_KEPT: usize = 262_144;

/// Whom an effect concerns.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Subject {
    Person(UserKey),
    Channel(Tenant, Channel),
}

/// What the recent effects answer somebody.
pub(crate) enum Reach {
    /// They go back to where somebody left off: this came since, as much as is gathered at once.
    Here(Gathering),
    /// More came since than is wished for.
    TooMany,
    /// They do not go back so far.
    Older,
}

/// The recent effects.
pub(crate) struct Recent {
    effects: VecDeque<Effect>,
    /// How many effects were let go: the number of the first that is kept.
    let_go: u64,
    /// Every effect after this position is kept.
    after: Position,
    /// The numbers of the effects that concern somebody, in order.
    by_subject: HashMap<Subject, VecDeque<u64>>,
    /// Notifications that were taken back, of those that are kept: nothing of them is shown again.
    retracted: BTreeSet<Position>,
    bytes: usize,
    references: usize,
    effects_kept: usize,
}

impl Recent {
    /// Nothing yet, of the time after a position, and never more than `effects_kept`.
    pub(crate) fn starting_after(position: Position, effects_kept: usize) -> Self {
        Self {
            effects: VecDeque::new(),
            let_go: 0,
            after: position,
            by_subject: HashMap::new(),
            retracted: BTreeSet::new(),
            bytes: 0,
            references: 0,
            effects_kept,
        }
    }

    /// Adds the next effects and lets the oldest go.
    pub(crate) fn extend(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            let number = self.let_go + self.effects.len() as u64;
            for subject in subjects(&effect) {
                self.by_subject.entry(subject).or_default().push_back(number);
                self.references += 1;
            }
            self.bytes += effect.weight();
            self.retracted.extend(retraction(&effect));
            self.effects.push_back(effect);
        }
        while self.effects.len() > self.effects_kept
            || self.bytes > BYTES_KEPT
            || self.references > REFERENCES_KEPT
        {
            self.let_oldest_go();
        }
    }

    fn let_oldest_go(&mut self) {
        let Some(effect) = self.effects.pop_front() else { return };
        self.let_go += 1;
        self.bytes -= effect.weight();
        // An event may have several effects: with the first of them, all of its position are incomplete.
        self.after = effect.position();
        if let Some(position) = retraction(&effect) {
            self.retracted.remove(&position);
        }
        for subject in subjects(&effect) {
            self.references -= 1;
            if let Some(numbers) = self.by_subject.get_mut(&subject) {
                numbers.pop_front();
                if numbers.is_empty() {
                    self.by_subject.remove(&subject);
                }
            }
        }
    }

    /// What a viewer missed between a position and `now`, if it is all here and no more than `most`.
    pub(crate) fn missed(&self, viewer: &Viewer, after: Position, now: Position, most: usize) -> Reach {
        if after < self.after {
            return Reach::Older;
        }
        let numbers = self.numbers(viewer, after);
        if numbers.len() > most {
            return Reach::TooMany;
        }
        let mut gathering = Gathering::after(after);
        for number in numbers {
            let effect = &self.effects[(number - self.let_go) as usize];
            // No event has two effects that concern the same viewer.
            let message = viewer.message(effect);
            let is_gone = self.is_gone(effect);
            let message = if is_gone { message.and_then(Message::of_what_is_gone) } else { message };
            if !gathering.add(effect.position(), message) {
                return Reach::Here(gathering);
            }
        }
        gathering.reached = now;
        Reach::Here(gathering)
    }

    /// Whether it says something of a notification that was taken back meanwhile.
    fn is_gone(&self, effect: &Effect) -> bool {
        let Effect::Addressed(event, _) = effect else { return false };
        let of = event.addressed().filter(|_| retraction(effect).is_none());
        of.is_some_and(|of| self.retracted.contains(&of.position))
    }

    /// The numbers of the effects after a position that may concern a viewer, in order, each once.
    fn numbers(&self, viewer: &Viewer, after: Position) -> Vec<u64> {
        let key = &viewer.inbox.key;
        let channels = viewer.inbox.person.channels().chain(&viewer.watches);
        let channels = channels.map(|channel| Subject::Channel(key.tenant.clone(), channel.clone()));
        let mut found = Vec::new();
        for subject in std::iter::once(Subject::Person(key.clone())).chain(channels) {
            let Some(numbers) = self.by_subject.get(&subject) else { continue };
            let position = |number: u64| self.effects[(number - self.let_go) as usize].position();
            let first = numbers.partition_point(|number| position(*number) <= after);
            found.extend(numbers.range(first..));
        }
        found.sort_unstable();
        found.dedup();
        found
    }
}

/// The notification that an effect took back: where it was published.
fn retraction(effect: &Effect) -> Option<Position> {
    let Effect::Addressed(event, _) = effect else { return None };
    let Fact::Retracted(retracted) = &event.fact else { return None };
    Some(retracted.position)
}

/// Whom an effect concerns, each once.
fn subjects(effect: &Effect) -> Vec<Subject> {
    match effect {
        Effect::Addressed(event, _) => {
            let Some(addressed) = event.addressed() else { return Vec::new() };
            let (tenant, audience) = (&event.tenant, addressed.audience);
            let person = |user: &crate::names::UserId| {
                Subject::Person(UserKey { tenant: tenant.clone(), user: user.clone() })
            };
            let channel = |channel: &Channel| Subject::Channel(tenant.clone(), channel.clone());
            audience.users.iter().map(person).chain(audience.channels.iter().map(channel)).collect()
        }
        Effect::Changed(key, _) | Effect::Joined(key, ..) | Effect::Left(key, ..) => {
            vec![Subject::Person(key.clone())]
        }
    }
}
