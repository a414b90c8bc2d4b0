//! Which numbers of a sequence have come. It stays small while they come nearly in order, whatever their number.

/// A set of numbers from some number on.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    /// All from where it began up to here, this one not included, are in it.
    next: u32,
    /// Runs beyond that, first and last, in order, with a hole before each.
    beyond: Vec<(u32, u32)>,
}

impl Seen {
    /// Nothing before `first` is expected.
    pub(crate) fn from(first: u32) -> Self {
        Self { next: first, beyond: Vec::new() }
    }

    /// Adds a number; `false` when it was there already, or is from before the beginning.
    pub(crate) fn insert(&mut self, number: u32) -> bool {
        if number < self.next {
            return false;
        }
        if number == self.next {
            self.next += 1;
            self.join_first();
            return true;
        }
        let after = self.beyond.partition_point(|(first, _)| *first <= number);
        let before = after.checked_sub(1).map(|index| self.beyond[index]);
        if before.is_some_and(|(_, last)| number <= last) {
            return false;
        }
        let extends = before.is_some_and(|(_, last)| last + 1 == number);
        let precedes = self.beyond.get(after).is_some_and(|(first, _)| number + 1 == *first);
        match (extends, precedes) {
            (true, true) => {
                self.beyond[after - 1].1 = self.beyond[after].1;
                self.beyond.remove(after);
            }
            (true, false) => self.beyond[after - 1].1 = number,
            (false, true) => self.beyond[after].0 = number,
            (false, false) => self.beyond.insert(after, (number, number)),
        }
        true
    }

    fn join_first(&mut self) {
        if self.beyond.first().is_some_and(|(first, _)| *first == self.next) {
            self.next = self.beyond.remove(0).1 + 1;
        }
    }

    /// What is not in it below `end`.
    pub(crate) fn missing(&self, end: u32) -> impl Iterator<Item = u32> {
        let starts = std::iter::once(self.next).chain(self.beyond.iter().map(|(_, last)| last + 1));
        let ends = self.beyond.iter().map(|(first, _)| *first).chain([u32::MAX]);
        starts.zip(ends).flat_map(move |(start, hole_end)| start..hole_end.min(end))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn it_knows_what_came_twice_and_what_did_not_come_in_whatever_order() {
        let mut chance = 0x9E37_79B9_7F4A_7C15_u64;
        for _ in 0..500 {
            let (mut seen, mut plain) = (Seen::from(10), BTreeSet::new());
            for _ in 0..60 {
                chance ^= chance << 13;
                chance ^= chance >> 7;
                chance ^= chance << 17;
                let number = 10 + (chance % 40) as u32;
                assert_eq!(seen.insert(number), plain.insert(number), "{number} in {plain:?}");
                let missing: Vec<u32> = (10..50).filter(|number| !plain.contains(number)).collect();
                assert_eq!(seen.missing(50).collect::<Vec<_>>(), missing);
            }
        }
        assert!(!Seen::from(10).insert(9), "nothing from before the beginning is new");
    }

    #[test]
    fn it_stays_small_while_nothing_is_missing() {
        let mut seen = Seen::from(0);
        for tens in (0..100_000).step_by(10) {
            (0..10).rev().for_each(|one| assert!(seen.insert(tens + one)));
            assert!(seen.beyond.is_empty());
        }
        assert_eq!(seen.missing(100_000).count(), 0);
    }
}
