//! What one person has done with the notifications of one stream, and the exact counts that follow from it.
//!
//! Notifications are meant by their offset. A broadcast to a million people changes no reading at all: how many there
//! are is the stream's head, and only what a person did is stored, as exceptions to two watermarks. Pure: no clock, no
//! store, no order of anything but the calls.

use std::collections::BTreeMap;

use roaring::RoaringTreemap;

use crate::event::Mark;
use crate::position::{Offset, Position};

/// A set of offsets.
pub(super) type Offsets = RoaringTreemap;

/// One person's reading of one stream.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Reading {
    /// What came at or before it is not theirs: they were no member yet.
    pub(super) join: Offset,
    /// Everything at or below it is read, but for `unread`. Never below `join`.
    pub(super) cursor: Offset,
    /// Everything at or below it was seen. Never below `join`.
    pub(super) seen: Offset,
    /// Read one by one, above the cursor.
    pub(super) read: Offsets,
    /// Marked unread, with the position at which. Those at or below the cursor are exceptions to it; those above will
    /// be when a read-all that had not seen the mark moves the cursor past them.
    pub(super) unread: BTreeMap<Offset, Position>,
    /// Out of sight: archived, deleted, or met through another stream.
    pub(super) hidden: Offsets,
    /// Of those, the archived ones.
    pub(super) archived: Offsets,
    /// Pinned.
    pub(super) pinned: Offsets,
}

impl Reading {
    /// The reading of someone who became a member when the stream had come to `join`.
    pub(super) fn joined_at(join: Offset) -> Self {
        Self { join, cursor: join, seen: join, ..Self::default() }
    }

    /// How many of the stream's notifications are unread.
    pub(super) fn unread_count(&self, head: Offset) -> u64 {
        let above = head.0.saturating_sub(self.cursor.0);
        let read_or_hidden =
            self.read.len() + self.hidden_above(self.cursor) - self.read.intersection_len(&self.hidden);
        let marked = self.marked_unread().filter(|offset| !self.hidden.contains(offset.0)).count() as u64;
        above - read_or_hidden + marked
    }

    /// How many came since the list was last opened.
    pub(super) fn unseen_count(&self, head: Offset) -> u64 {
        head.0.saturating_sub(self.seen.0) - self.hidden_above(self.seen)
    }

    fn hidden_above(&self, offset: Offset) -> u64 {
        self.hidden.len() - self.hidden.rank(offset.0)
    }

    /// Exceptions to the cursor.
    fn marked_unread(&self) -> impl DoubleEndedIterator<Item = Offset> {
        self.unread.range(..=self.cursor).map(|(offset, _)| *offset)
    }

    pub(super) fn is_read(&self, offset: Offset) -> bool {
        let below = offset <= self.cursor && !self.unread.contains_key(&offset);
        below || self.read.contains(offset.0)
    }

    pub(super) fn is_seen(&self, offset: Offset) -> bool {
        offset <= self.seen
    }

    pub(super) fn is_archived(&self, offset: Offset) -> bool {
        self.archived.contains(offset.0)
    }

    pub(super) fn is_pinned(&self, offset: Offset) -> bool {
        self.pinned.contains(offset.0)
    }

    /// Whether it is in the list.
    pub(super) fn is_listed(&self, offset: Offset) -> bool {
        offset > self.join && !self.hidden.contains(offset.0)
    }

    /// Whether it is this person's, in the list or archived.
    pub(super) fn is_theirs(&self, offset: Offset) -> bool {
        self.is_listed(offset) || self.is_archived(offset)
    }

    /// Whether a mark would change anything.
    pub(super) fn would_change(&self, mark: Mark, offset: Offset) -> bool {
        self.is_theirs(offset)
            && match mark {
                Mark::Unread => self.is_read(offset),
                Mark::Archived => !self.is_archived(offset),
                Mark::Unarchived => self.is_archived(offset),
                Mark::Deleted => true,
                Mark::Pinned => !self.is_pinned(offset),
                Mark::Unpinned => self.is_pinned(offset),
            }
    }

    /// Reads one.
    pub(super) fn read_one(&mut self, offset: Offset) {
        if !self.is_theirs(offset) || self.is_read(offset) {
            return;
        }
        self.unread.remove(&offset);
        if offset > self.cursor {
            self.read.insert(offset.0);
            self.fold_into_cursor();
        }
    }

    /// Reads everything up to `offset`, except what was marked unread after position `had_seen`.
    pub(super) fn read_up_to(&mut self, offset: Offset, had_seen: Position) {
        self.unread.retain(|_, marked_at| *marked_at > had_seen);
        if offset > self.cursor {
            self.cursor = offset;
            self.read.remove_range(..=offset.0);
            self.fold_into_cursor();
        }
    }

    /// Opens the list, having seen everything up to `offset`.
    pub(super) fn see_up_to(&mut self, offset: Offset) {
        self.seen = self.seen.max(offset);
    }

    /// Changes the state of one, at a position.
    pub(super) fn mark(&mut self, mark: Mark, offset: Offset, at: Position) {
        if !self.would_change(mark, offset) {
            return;
        }
        match mark {
            Mark::Unread => {
                self.read.remove(offset.0);
                self.unread.insert(offset, at);
            }
            Mark::Archived => {
                self.hidden.insert(offset.0);
                self.archived.insert(offset.0);
            }
            Mark::Unarchived => {
                self.hidden.remove(offset.0);
                self.archived.remove(offset.0);
            }
            Mark::Deleted => {
                self.archived.remove(offset.0);
                self.displace(offset);
            }
            Mark::Pinned => {
                self.pinned.insert(offset.0);
            }
            Mark::Unpinned => {
                self.pinned.remove(offset.0);
            }
        }
    }

    /// Takes one out of this person's sight for good.
    pub(super) fn displace(&mut self, offset: Offset) {
        if offset <= self.join {
            return;
        }
        self.hidden.insert(offset.0);
        self.pinned.remove(offset.0);
        self.unread.remove(&offset);
        self.fold_into_cursor();
    }

    /// Moves the cursor over what is read, or will never be seen again, right above it.
    fn fold_into_cursor(&mut self) {
        loop {
            let next = self.cursor.next();
            let gone = self.hidden.contains(next.0) && !self.archived.contains(next.0);
            if !self.read.remove(next.0) && !gone {
                return;
            }
            self.cursor = next;
        }
    }

    /// Offsets in the list, at or below `most`, newest first.
    pub(super) fn listed(&self, most: Offset) -> impl Iterator<Item = Offset> {
        descending(self.join, most).filter(|offset| !self.hidden.contains(offset.0))
    }

    /// Unread offsets in the list, at or below `most`, newest first.
    pub(super) fn listed_unread(&self, most: Offset) -> impl Iterator<Item = Offset> {
        let above = descending(self.cursor, most).filter(|offset| !self.read.contains(offset.0));
        let marked = self.marked_unread().rev().skip_while(move |offset| *offset > most);
        above.chain(marked).filter(|offset| !self.hidden.contains(offset.0))
    }

    /// Archived offsets, at or below `most`, newest first.
    pub(super) fn listed_archived(&self, most: Offset) -> impl Iterator<Item = Offset> {
        self.archived.iter().rev().map(Offset).skip_while(move |offset| *offset > most)
    }

    /// Pinned offsets in the list, at or below `most`, newest first.
    pub(super) fn listed_pinned(&self, most: Offset) -> impl Iterator<Item = Offset> {
        let pinned = self.pinned.iter().rev().map(Offset).skip_while(move |offset| *offset > most);
        pinned.filter(|offset| !self.hidden.contains(offset.0))
    }
}

fn descending(above: Offset, to: Offset) -> impl Iterator<Item = Offset> {
    (above.0 + 1..=to.0).rev().map(Offset)
}

#[cfg(test)]
mod tests {
    //! Against a model that keeps a flag of everything for every notification and counts by looking at each.

    use super::*;
    use proptest::prelude::*;

    #[derive(Clone, Debug)]
    struct Item {
        read: bool,
        unread_since: u64,
        seen: bool,
        archived: bool,
        pinned: bool,
        gone: bool,
        published_at: u64,
    }

    #[derive(Clone, Debug)]
    enum Step {
        Publish,
        Read(usize),
        Mark(Mark, usize),
        Displace(usize),
        ReadUpTo(u64),
        SeeUpTo(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        let mark = prop_oneof![
            Just(Mark::Unread),
            Just(Mark::Archived),
            Just(Mark::Unarchived),
            Just(Mark::Deleted),
            Just(Mark::Pinned),
            Just(Mark::Unpinned),
        ];
        prop_oneof![
            4 => Just(Step::Publish),
            3 => (0..20usize).prop_map(Step::Read),
            5 => (mark, 0..20usize).prop_map(|(mark, which)| Step::Mark(mark, which)),
            1 => (0..20usize).prop_map(Step::Displace),
            1 => (0..60u64).prop_map(Step::ReadUpTo),
            1 => (0..60u64).prop_map(Step::SeeUpTo),
        ]
    }

    /// The two side by side; each step takes the next position.
    struct Pair {
        reading: Reading,
        head: Offset,
        items: Vec<Item>,
        position: u64,
    }

    impl Pair {
        fn offset(&self, which: usize) -> Option<(usize, Offset)> {
            let index = which.checked_rem(self.items.len())?;
            Some((index, Offset(self.reading.join.0 + index as u64 + 1)))
        }

        fn rank(&self, position: u64) -> Offset {
            let before = self.items.iter().filter(|item| item.published_at <= position).count();
            Offset(self.reading.join.0 + before as u64)
        }

        fn take(&mut self, step: &Step) {
            self.position += 1;
            let at = self.position;
            match *step {
                Step::Publish => {
                    self.head = self.head.next();
                    let (unread_since, published_at) = (at, at);
                    let (read, seen, archived, pinned, gone) = (false, false, false, false, false);
                    self.items.push(Item { read, unread_since, seen, archived, pinned, gone, published_at });
                }
                Step::ReadUpTo(position) => {
                    let had_seen = position.min(at - 1);
                    self.reading.read_up_to(self.rank(had_seen), Position(had_seen));
                    for item in self.items.iter_mut().filter(|item| item.unread_since <= had_seen) {
                        item.read = true;
                    }
                }
                Step::SeeUpTo(position) => {
                    let had_seen = position.min(at - 1);
                    self.reading.see_up_to(self.rank(had_seen));
                    for item in self.items.iter_mut().filter(|item| item.published_at <= had_seen) {
                        item.seen = true;
                    }
                }
                Step::Read(which) => {
                    let Some((index, offset)) = self.offset(which) else {
                        return;
                    };
                    self.reading.read_one(offset);
                    self.items[index].read |= !self.items[index].gone;
                }
                Step::Displace(which) => {
                    let Some((index, offset)) = self.offset(which) else {
                        return;
                    };
                    // Only what has just been published is displaced, so it is never archived.
                    if !self.items[index].archived {
                        self.reading.displace(offset);
                        self.items[index].gone = true;
                    }
                }
                Step::Mark(mark, which) => {
                    let Some((index, offset)) = self.offset(which) else {
                        return;
                    };
                    self.reading.mark(mark, offset, Position(at));
                    mark_item(&mut self.items[index], mark, at);
                }
            }
        }

        fn check(&self) {
            let shown = |item: &&Item| !item.gone && !item.archived;
            let unread = self.items.iter().filter(shown).filter(|item| !item.read).count() as u64;
            let unseen = self.items.iter().filter(shown).filter(|item| !item.seen).count() as u64;
            assert_eq!(self.reading.unread_count(self.head), unread, "unread");
            assert_eq!(self.reading.unseen_count(self.head), unseen, "unseen");
            let offsets = |keep: &dyn Fn(&Item) -> bool| -> Vec<u64> {
                let indexes = (0..self.items.len()).rev().filter(|index| keep(&self.items[*index]));
                indexes.map(|index| self.reading.join.0 + index as u64 + 1).collect()
            };
            let list = |offsets: &mut dyn Iterator<Item = Offset>| offsets.map(|o| o.0).collect::<Vec<_>>();
            let (reading, head) = (&self.reading, self.head);
            assert_eq!(list(&mut reading.listed(head)), offsets(&|i| !i.gone && !i.archived));
            assert_eq!(
                list(&mut reading.listed_unread(head)),
                offsets(&|i| !i.gone && !i.archived && !i.read)
            );
            let all = (reading.join.0 + 1..=head.0).rev().map(Offset);
            let mut unseen = all.filter(|offset| reading.is_listed(*offset) && !reading.is_seen(*offset));
            assert_eq!(list(&mut unseen), offsets(&|i| !i.gone && !i.archived && !i.seen));
            assert_eq!(list(&mut reading.listed_archived(head)), offsets(&|i| !i.gone && i.archived));
            assert_eq!(
                list(&mut reading.listed_pinned(head)),
                offsets(&|i| !i.gone && !i.archived && i.pinned)
            );
        }
    }

    fn mark_item(item: &mut Item, mark: Mark, at: u64) {
        if item.gone {
            return;
        }
        match mark {
            Mark::Unread if item.read => (item.read, item.unread_since) = (false, at),
            Mark::Unread => {}
            Mark::Archived => item.archived = true,
            Mark::Unarchived => item.archived = false,
            Mark::Deleted => (item.gone, item.archived) = (true, false),
            Mark::Pinned => item.pinned = true,
            Mark::Unpinned => item.pinned = false,
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn counts_and_lists_equal_those_of_a_model_that_looks_at_everything(
            join in 0..5u64,
            steps in prop::collection::vec(step(), 0..80),
        ) {
            let reading = Reading::joined_at(Offset(join));
            let mut pair = Pair { reading, head: Offset(join), items: Vec::new(), position: 0 };
            for step in &steps {
                pair.take(step);
                pair.check();
            }
        }
    }

    #[test]
    fn a_million_read_in_order_leave_no_exceptions() {
        let mut reading = Reading::joined_at(Offset(0));
        for offset in 1..=1_000_000 {
            reading.read_one(Offset(offset));
        }
        assert_eq!(reading, Reading { cursor: Offset(1_000_000), ..Reading::default() });
    }

    #[test]
    fn a_read_all_that_had_not_seen_a_mark_leaves_it() {
        let mut reading = Reading::joined_at(Offset(0));
        reading.read_one(Offset(2));
        reading.mark(Mark::Unread, Offset(2), Position(30));
        reading.read_up_to(Offset(3), Position(20));
        assert_eq!(reading.unread_count(Offset(3)), 1, "the mark at 30 was not seen at 20");
        reading.read_up_to(Offset(3), Position(30));
        assert_eq!(reading.unread_count(Offset(3)), 0);
    }
}
