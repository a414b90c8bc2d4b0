//! What one person has done with the notifications of one stream, and the exact counts that follow from it.
//!
//! Notifications are meant by their offset. A broadcast to a million people changes no reading at all: how many there
//! are is the stream's head, and only what a person did is stored, as exceptions to two watermarks. Pure: no clock, no
//! store, no order of anything but the calls.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

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
    /// Put off, and hidden meanwhile.
    pub(super) snoozed: BTreeMap<Offset, Snooze>,
    /// Back after they were put off: they are listed where they woke.
    pub(super) woken: BTreeMap<Offset, Position>,
}

/// How long one is put off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Snooze {
    /// Until when, in milliseconds since 1970.
    pub(super) until: i64,
    /// By the event here.
    pub(super) at: Position,
}

/// The set of nothing, for those that have none retracted.
pub(super) static NONE: LazyLock<Arc<Offsets>> = LazyLock::new(Arc::default);

impl Reading {
    /// The reading of someone who became a member when the stream had come to `join`.
    pub(super) fn joined_at(join: Offset) -> Self {
        Self { join, cursor: join, seen: join, ..Self::default() }
    }

    /// How many of the stream's notifications are unread, of those that are not retracted.
    pub(super) fn unread_count(&self, head: Offset, retracted: &Offsets) -> u64 {
        let above = head.0.saturating_sub(self.cursor.0) - above(retracted, self.cursor);
        let read = self.read.len() - self.read.intersection_len(retracted);
        let hidden = self.hidden_above(self.cursor, retracted);
        let hidden_unread = hidden - self.read_and_hidden(retracted);
        let marked = self.marked_unread().filter(|offset| !self.hidden.contains(offset.0));
        let marked = marked.filter(|offset| !retracted.contains(offset.0)).count() as u64;
        above - read - hidden_unread + marked
    }

    /// How many came since the list was last opened, of those that are not retracted.
    pub(super) fn unseen_count(&self, head: Offset, retracted: &Offsets) -> u64 {
        let above = head.0.saturating_sub(self.seen.0) - above(retracted, self.seen);
        above - self.hidden_above(self.seen, retracted)
    }

    fn hidden_above(&self, offset: Offset, retracted: &Offsets) -> u64 {
        if retracted.is_empty() {
            return above(&self.hidden, offset);
        }
        let in_both = self.hidden.iter().rev().take_while(|hidden| *hidden > offset.0);
        in_both.filter(|hidden| !retracted.contains(*hidden)).count() as u64
    }

    /// Those read one by one that are out of sight as well.
    fn read_and_hidden(&self, retracted: &Offsets) -> u64 {
        if retracted.is_empty() {
            return self.read.intersection_len(&self.hidden);
        }
        let in_both = self.read.iter().filter(|read| self.hidden.contains(*read));
        in_both.filter(|read| !retracted.contains(*read)).count() as u64
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

    /// Whether it is this person's: in the list, archived or put off.
    pub(super) fn is_theirs(&self, offset: Offset) -> bool {
        self.is_listed(offset) || self.is_archived(offset) || self.is_snoozed(offset)
    }

    pub(super) fn is_snoozed(&self, offset: Offset) -> bool {
        self.snoozed.contains_key(&offset)
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
                self.snoozed.remove(&offset);
                self.hidden.insert(offset.0);
                self.archived.insert(offset.0);
            }
            Mark::Unarchived => {
                self.hidden.remove(offset.0);
                self.archived.remove(offset.0);
            }
            Mark::Deleted => self.displace(offset),
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
        self.archived.remove(offset.0);
        self.pinned.remove(offset.0);
        self.unread.remove(&offset);
        self.snoozed.remove(&offset);
        self.woken.remove(&offset);
        self.fold_into_cursor();
    }

    /// Puts one off.
    pub(super) fn snooze(&mut self, offset: Offset, snooze: Snooze) {
        if !self.is_theirs(offset) {
            return;
        }
        self.hidden.insert(offset.0);
        self.archived.remove(offset.0);
        self.snoozed.insert(offset, snooze);
    }

    /// Brings one back that was put off: unread, and listed at this position. `snoozed_at` names the event that put it off,
    /// if only that is meant. Whether it was put off.
    pub(super) fn wake(&mut self, offset: Offset, snoozed_at: Option<Position>, at: Position) -> bool {
        let Some(snooze) = self.snoozed.get(&offset) else { return false };
        if snoozed_at.is_some_and(|meant| meant != snooze.at) {
            return false;
        }
        self.snoozed.remove(&offset);
        self.hidden.remove(offset.0);
        self.read.remove(offset.0);
        self.unread.insert(offset, at);
        self.woken.insert(offset, at);
        true
    }

    /// Moves the cursor over what is read, or will never be seen again, right above it.
    fn fold_into_cursor(&mut self) {
        loop {
            let next = self.cursor.next();
            let gone = self.hidden.contains(next.0)
                && !self.archived.contains(next.0)
                && !self.snoozed.contains_key(&next);
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

/// How many of a set lie above an offset.
fn above(offsets: &Offsets, offset: Offset) -> u64 {
    offsets.len() - offsets.rank(offset.0)
}

fn descending(above: Offset, to: Offset) -> impl Iterator<Item = Offset> {
    (above.0 + 1..=to.0).rev().map(Offset)
}

#[cfg(test)]
mod tests {
    //! Against a model that keeps a flag of everything for every notification and counts by looking at each.

    use super::*;
    use proptest::prelude::*;

    #[derive(Clone, Debug, Default)]
    struct Item {
        read: bool,
        unread_since: u64,
        seen: bool,
        archived: bool,
        pinned: bool,
        /// By the step here.
        snoozed: Option<u64>,
        gone: bool,
        retracted: bool,
        published_at: u64,
    }

    #[derive(Clone, Debug)]
    enum Step {
        Publish,
        Read(usize),
        Mark(Mark, usize),
        Displace(usize),
        Snooze(usize),
        /// If it was put off so many steps ago, or whenever it was.
        Wake(usize, bool),
        Retract(usize),
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
            2 => (0..20usize).prop_map(Step::Snooze),
            2 => (0..20usize, any::<bool>()).prop_map(|(which, anew)| Step::Wake(which, anew)),
            1 => (0..20usize).prop_map(Step::Retract),
            1 => (0..60u64).prop_map(Step::ReadUpTo),
            1 => (0..60u64).prop_map(Step::SeeUpTo),
        ]
    }

    /// The two side by side; each step takes the next position.
    struct Pair {
        reading: Reading,
        head: Offset,
        retracted: Offsets,
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
                    self.items.push(Item { unread_since, published_at, ..Item::default() });
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
                    let Some((index, offset)) = self.offset(which) else { return };
                    if self.items[index].retracted {
                        return; // the fold changes nothing of what is retracted
                    }
                    self.reading.read_one(offset);
                    self.items[index].read |= !self.items[index].gone;
                }
                Step::Displace(which) => {
                    let Some((index, offset)) = self.offset(which) else {
                        return;
                    };
                    self.reading.displace(offset);
                    (self.items[index].gone, self.items[index].snoozed) = (true, None);
                }
                Step::Snooze(which) => {
                    let Some((index, offset)) = self.offset(which) else { return };
                    let item = &mut self.items[index];
                    if !item.retracted {
                        self.reading.snooze(offset, Snooze { until: 0, at: Position(at) });
                    }
                    if !item.retracted && !item.gone {
                        (item.snoozed, item.archived) = (Some(at), false);
                    }
                }
                Step::Wake(which, is_meant) => {
                    let Some((index, offset)) = self.offset(which) else { return };
                    let item = &mut self.items[index];
                    let meant = item.snoozed.filter(|_| is_meant).map(Position);
                    let woke = !item.retracted && self.reading.wake(offset, meant, Position(at));
                    assert_eq!(woke, item.snoozed.is_some() && !item.retracted);
                    assert!(!self.reading.wake(offset, Some(Position(at + 1)), Position(at)), "another's");
                    if woke {
                        (item.snoozed, item.read, item.unread_since) = (None, false, at);
                    }
                }
                Step::Retract(which) => {
                    let Some((index, offset)) = self.offset(which) else { return };
                    self.retracted.insert(offset.0);
                    self.items[index].retracted = true;
                }
                Step::Mark(mark, which) => {
                    let Some((index, offset)) = self.offset(which) else { return };
                    if self.items[index].retracted {
                        return;
                    }
                    self.reading.mark(mark, offset, Position(at));
                    mark_item(&mut self.items[index], mark, at);
                }
            }
        }

        fn check(&self) {
            let is_shown =
                |item: &Item| !item.gone && !item.archived && item.snoozed.is_none() && !item.retracted;
            let shown = |item: &&Item| is_shown(item);
            let unread = self.items.iter().filter(shown).filter(|item| !item.read).count() as u64;
            let unseen = self.items.iter().filter(shown).filter(|item| !item.seen).count() as u64;
            assert_eq!(self.reading.unread_count(self.head, &self.retracted), unread, "unread");
            assert_eq!(self.reading.unseen_count(self.head, &self.retracted), unseen, "unseen");
            let offsets = |keep: &dyn Fn(&Item) -> bool| -> Vec<u64> {
                let indexes = (0..self.items.len()).rev().filter(|index| keep(&self.items[*index]));
                indexes.map(|index| self.reading.join.0 + index as u64 + 1).collect()
            };
            let list = |offsets: &mut dyn Iterator<Item = Offset>| {
                let offsets = offsets.map(|offset| offset.0);
                offsets.filter(|offset| !self.retracted.contains(*offset)).collect::<Vec<_>>()
            };
            let (reading, head) = (&self.reading, self.head);
            assert_eq!(list(&mut reading.listed(head)), offsets(&is_shown));
            assert_eq!(list(&mut reading.listed_unread(head)), offsets(&|i| is_shown(i) && !i.read));
            let all = (reading.join.0 + 1..=head.0).rev().map(Offset);
            let mut unseen = all.filter(|offset| reading.is_listed(*offset) && !reading.is_seen(*offset));
            assert_eq!(list(&mut unseen), offsets(&|i| is_shown(i) && !i.seen));
            let archived = |i: &Item| !i.gone && i.archived && !i.retracted;
            assert_eq!(list(&mut reading.listed_archived(head)), offsets(&archived));
            assert_eq!(list(&mut reading.listed_pinned(head)), offsets(&|i| is_shown(i) && i.pinned));
        }
    }

    fn mark_item(item: &mut Item, mark: Mark, at: u64) {
        if item.gone {
            return;
        }
        match mark {
            Mark::Unread if item.read => (item.read, item.unread_since) = (false, at),
            Mark::Unread => {}
            Mark::Archived => (item.archived, item.snoozed) = (true, None),
            Mark::Unarchived => item.archived = false,
            Mark::Deleted => (item.gone, item.archived, item.snoozed) = (true, false, None),
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
            let (head, retracted) = (Offset(join), Offsets::default());
            let mut pair = Pair { reading, head, retracted, items: Vec::new(), position: 0 };
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
        assert_eq!(reading.unread_count(Offset(3), &NONE), 1, "the mark at 30 was not seen at 20");
        reading.read_up_to(Offset(3), Position(30));
        assert_eq!(reading.unread_count(Offset(3), &NONE), 0);
    }
}
