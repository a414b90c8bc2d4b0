//! What was published and how far it came. It forgets what is done, so that it stays as small as what is on its way.

use std::collections::{HashMap, HashSet, VecDeque};

use crate::cli::Until;
use crate::message::Mark;

/// A publish of the warm-up, of which no times are kept.
pub(crate) const UNMEASURED: u8 = u8::MAX;

/// How many devices get what is published in a sequence.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Due {
    /// Those whose times count.
    pub(crate) readers: u32,
    /// Those that read slowly: nobody waits for them.
    pub(crate) slow: u32,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    Sent,
    Answered,
    Refused,
    /// The connection broke before the answer.
    Unknown,
}

struct Publish {
    /// When it was to be sent.
    intended: u64,
    /// 0 until it is known.
    position: u64,
    sequence: u32,
    number: u32,
    left: Due,
    state: State,
    series: u8,
    generator: u8,
}

/// A delivery that was expected.
#[derive(Debug, PartialEq)]
pub(crate) struct Delivered {
    pub(crate) intended: u64,
    pub(crate) series: u8,
    /// Whether it came at another position than before, or than the answer said.
    pub(crate) is_misplaced: bool,
    /// Whether all who read have it now.
    pub(crate) is_complete: bool,
}

/// What of a generator's is on its way.
#[derive(Clone, Copy, Default)]
struct Outstanding {
    unanswered: u32,
    /// Deliveries to those who are waited for.
    owed: u64,
}

/// What is on its way.
pub(crate) struct Ledger {
    until: Until,
    /// The number of the first that is not forgotten.
    base: u64,
    publishes: VecDeque<Publish>,
    /// By sequence.
    next: Vec<u32>,
    due: Vec<Due>,
    refused: HashSet<(u32, u32)>,
    /// By generator.
    outstanding: [Outstanding; 2],
    /// By generator: to how many readers its last one was.
    last_due: [u32; 2],
    pub(crate) unanswered: u64,
    /// Deliveries that are due.
    pub(crate) owed: u64,
}

impl Ledger {
    /// With a sequence for broadcasts and one for each user.
    pub(crate) fn new(until: Until, users: usize) -> Self {
        let (next, due) = (vec![0; users + 1], vec![Due::default(); users + 1]);
        let (publishes, refused) = (VecDeque::new(), HashSet::new());
        let (outstanding, last_due) = ([Outstanding::default(); 2], [0; 2]);
        Self { until, base: 0, publishes, next, due, refused, outstanding, last_due, unanswered: 0, owed: 0 }
    }

    /// A device gets what is published in a sequence from now on; from which number on.
    pub(crate) fn subscribe(&mut self, sequence: u32, is_slow: bool) -> u32 {
        let due = &mut self.due[sequence as usize];
        *(if is_slow { &mut due.slow } else { &mut due.readers }) += 1;
        self.next[sequence as usize]
    }

    /// How many have been published.
    pub(crate) fn published(&self) -> u64 {
        self.base + self.publishes.len() as u64
    }

    /// Deliveries that are due to those who are waited for.
    pub(crate) fn owed_to_readers(&self) -> u64 {
        self.outstanding.iter().map(|outstanding| outstanding.owed).sum()
    }

    /// How many of a generator's notifications are outstanding: those that are not answered or, if that is more, as many as make
    /// what its readers are still to get. So the next one may go out while the last one is on its way to the last readers.
    pub(crate) fn outstanding(&self, generator: u8) -> u32 {
        let Outstanding { unanswered, owed } = self.outstanding[usize::from(generator)];
        match self.until {
            Until::Answered => unanswered,
            Until::Delivered => {
                let readers = u64::from(self.last_due[usize::from(generator)].max(1));
                unanswered.max(u32::try_from(owed.div_ceil(readers)).unwrap_or(u32::MAX))
            }
        }
    }

    pub(crate) fn publish(&mut self, sequence: u32, generator: u8, series: u8, intended: u64) -> Mark {
        let (publish, number) = (self.published(), self.next[sequence as usize]);
        let (left, position, state) = (self.due[sequence as usize], 0, State::Sent);
        self.next[sequence as usize] += 1;
        let outstanding = &mut self.outstanding[usize::from(generator)];
        outstanding.unanswered += 1;
        outstanding.owed += u64::from(left.readers);
        self.last_due[usize::from(generator)] = left.readers;
        self.unanswered += 1;
        self.owed += u64::from(left.readers + left.slow);
        let entry = Publish { intended, position, sequence, number, left, state, series, generator };
        self.publishes.push_back(entry);
        Mark { publish, sequence, number }
    }

    /// A publish was answered; `true` when its position is another than that of its deliveries.
    pub(crate) fn answered(&mut self, publish: u64, position: u64) -> bool {
        let Some(index) = self.index(publish) else { return false };
        let entry = &mut self.publishes[index];
        let is_misplaced = entry.position != 0 && entry.position != position;
        entry.position = position;
        self.settle(index, State::Answered);
        is_misplaced
    }

    /// A publish was refused: it is due to nobody.
    pub(crate) fn refused(&mut self, publish: u64) {
        let Some(index) = self.index(publish) else { return };
        self.owe(index, false);
        let entry = &mut self.publishes[index];
        self.refused.insert((entry.sequence, entry.number));
        entry.left = Due::default();
        self.settle(index, State::Refused);
    }

    /// Nobody knows what became of a publish. When somebody gets it, it is due to all.
    pub(crate) fn lost(&mut self, publish: u64) {
        let Some(index) = self.index(publish) else { return };
        if self.publishes[index].position == 0 {
            self.owe(index, false);
        }
        self.settle(index, State::Unknown);
    }

    /// A device got it for the first time; `None` when it was never published.
    pub(crate) fn delivered(&mut self, mark: Mark, position: u64, is_slow: bool) -> Option<Delivered> {
        let index = self.index(mark.publish)?;
        let entry = &self.publishes[index];
        if (entry.sequence, entry.number) != (mark.sequence, mark.number) {
            return None;
        }
        if entry.state == State::Unknown && entry.position == 0 {
            self.owe(index, true);
        }
        let entry = &mut self.publishes[index];
        let is_misplaced = entry.position != 0 && entry.position != position;
        if entry.position == 0 {
            entry.position = position; // until the answer says it
        }
        let left = if is_slow { &mut entry.left.slow } else { &mut entry.left.readers };
        let was_due = *left > 0;
        *left = left.saturating_sub(1);
        self.owed -= u64::from(was_due);
        self.outstanding[usize::from(entry.generator)].owed -= u64::from(was_due && !is_slow);
        let is_complete = was_due && !is_slow && entry.left.readers == 0;
        let (intended, series) = (entry.intended, entry.series);
        self.forget();
        Some(Delivered { intended, series, is_misplaced, is_complete })
    }

    /// What was measured in which series, and when it was to be sent.
    pub(crate) fn sent(&self, publish: u64) -> Option<(u8, u64)> {
        self.index(publish).map(|index| (self.publishes[index].series, self.publishes[index].intended))
    }

    fn index(&self, publish: u64) -> Option<usize> {
        let index = usize::try_from(publish.checked_sub(self.base)?).ok()?;
        (index < self.publishes.len()).then_some(index)
    }

    /// What is left of it is due, or not any more.
    fn owe(&mut self, index: usize, is_due: bool) {
        let Publish { left, generator, .. } = self.publishes[index];
        let (all, readers) = (u64::from(left.readers + left.slow), u64::from(left.readers));
        let of_generator = &mut self.outstanding[usize::from(generator)].owed;
        if is_due {
            (self.owed, *of_generator) = (self.owed + all, *of_generator + readers);
        } else {
            (self.owed, *of_generator) = (self.owed - all, *of_generator - readers);
        }
    }

    /// Its publisher knows what became of it, or that it never will.
    fn settle(&mut self, index: usize, state: State) {
        let entry = &mut self.publishes[index];
        if entry.state == State::Sent {
            self.unanswered -= 1;
            self.outstanding[usize::from(entry.generator)].unanswered -= 1;
        }
        entry.state = state;
        self.forget();
    }

    /// Forgets those of which nothing more is due.
    fn forget(&mut self) {
        while self.publishes.front().is_some_and(Publish::is_over) {
            self.publishes.pop_front();
            self.base += 1;
        }
    }

    /// Where what was published, and is still due to somebody, is in the log.
    pub(crate) fn positions(&self) -> HashMap<(u32, u32), u64> {
        let known = self.publishes.iter().map(|entry| ((entry.sequence, entry.number), entry.position));
        known.collect()
    }

    /// The number that the next one of a sequence will have.
    pub(crate) fn next(&self, sequence: u32) -> u32 {
        self.next[sequence as usize]
    }

    /// Whether it was published, as far as is known.
    pub(crate) fn is_due(&self, sequence: u32, number: u32, positions: &HashMap<(u32, u32), u64>) -> bool {
        !self.refused.contains(&(sequence, number)) && positions.get(&(sequence, number)) != Some(&0)
    }
}

impl Publish {
    fn is_over(&self) -> bool {
        self.state != State::Sent && self.left.readers == 0 && self.left.slow == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_devices(until: Until, count: u32) -> Ledger {
        let mut ledger = Ledger::new(until, 1);
        (0..count).for_each(|_| assert_eq!(ledger.subscribe(0, false), 0));
        ledger
    }

    #[test]
    fn publishes_are_outstanding_until_they_are_answered_and_those_who_read_have_as_much() {
        let mut ledger = with_devices(Until::Delivered, 2);
        ledger.subscribe(0, true);
        let mark = ledger.publish(0, 0, 0, 5);
        let first = ledger.delivered(mark, 9, false);
        let expected = Delivered { intended: 5, series: 0, is_misplaced: false, is_complete: false };
        assert_eq!(first, Some(expected));
        assert!(!ledger.answered(mark.publish, 9) && ledger.outstanding(0) == 1);
        assert!(ledger.delivered(mark, 9, false).unwrap().is_complete);
        assert_eq!((ledger.outstanding(0), ledger.owed), (0, 1), "the slow one is not waited for, but due");
        ledger.delivered(mark, 9, true);
        assert_eq!((ledger.owed, ledger.publishes.len(), ledger.published()), (0, 0, 1));
    }

    #[test]
    fn a_delivery_at_another_position_is_noticed_whichever_is_known_first() {
        let mut ledger = with_devices(Until::Answered, 2);
        let mark = ledger.publish(0, 0, 0, 5);
        assert!(!ledger.answered(mark.publish, 9));
        assert!(ledger.delivered(mark, 10, false).unwrap().is_misplaced);
        let mark = ledger.publish(0, 0, 0, 5);
        ledger.delivered(mark, 11, false);
        assert!(ledger.answered(mark.publish, 12));
        assert_eq!(ledger.delivered(Mark { publish: 7, ..mark }, 13, false), None, "never published");
    }

    #[test]
    fn what_is_refused_is_due_to_nobody_and_what_is_unknown_once_somebody_has_it() {
        let mut ledger = with_devices(Until::Delivered, 2);
        let (refused, lost, arrived) =
            (ledger.publish(0, 0, 0, 1), ledger.publish(0, 0, 0, 2), ledger.publish(0, 0, 0, 3));
        ledger.refused(refused.publish);
        ledger.lost(lost.publish);
        ledger.lost(arrived.publish);
        ledger.delivered(arrived, 4, false);
        assert_eq!((ledger.outstanding(0), ledger.unanswered, ledger.owed), (1, 0, 1));
        let positions = ledger.positions();
        let due: Vec<u32> = (0..3).filter(|number| ledger.is_due(0, *number, &positions)).collect();
        assert_eq!(due, [arrived.number]);
    }
}
