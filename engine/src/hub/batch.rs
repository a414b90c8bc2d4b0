//! One batch while it is handed out: messages, and who gets which of them. Messages for the same many cost what those many cost,
//! once; where channels overlap in many ways, each message costs what its own receivers cost.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use roaring::RoaringBitmap;
use smallvec::SmallVec;

use super::Slot;
use crate::delivery::{Delivery, Message, Parcel};
use crate::names::UserKey;
use crate::position::Position;

/// A message for more connections than this is gathered for all of them together.
const FEW: u64 = 8;

/// Groups of those who get the same: each message is compared with each of them.
const GROUPS_MOST: usize = if cfg!(test) { 3 } else { 32 };

/// Messages that somebody gets, by their places in the batch, in order.
type List = SmallVec<[u32; 4]>;

/// A batch.
#[derive(Default)]
pub(super) struct Batch {
    deliveries: Vec<Arc<Delivery>>,
    /// Those who get the same of what is for many. Nobody is in two of them.
    groups: Vec<Group>,
    /// What each gets of what is for few.
    few: BTreeMap<Slot, List>,
    /// Users who are to be told their counts with this batch.
    pub(super) counted: BTreeSet<UserKey>,
}

struct Group {
    slots: RoaringBitmap,
    list: List,
}

impl Batch {
    /// Adds a message for a few.
    pub(super) fn add(&mut self, message: Message, slots: impl IntoIterator<Item = Slot>) {
        let mut slots = slots.into_iter().peekable();
        if slots.peek().is_none() {
            return;
        }
        let index = self.push(message);
        for slot in slots {
            self.few.entry(slot).or_default().push(index);
        }
    }

    /// Adds a message for as many as there are.
    pub(super) fn add_for_many(&mut self, message: Message, mut slots: RoaringBitmap) {
        if slots.len() <= FEW {
            return self.add(message, slots);
        }
        let index = self.push(message);
        let mut split = Vec::new();
        for group in &mut self.groups {
            if slots.is_empty() {
                break;
            }
            let both = &group.slots & &slots;
            if both.is_empty() {
                continue;
            }
            slots -= &both;
            if both.len() == group.slots.len() {
                group.list.push(index);
                continue;
            }
            group.slots -= &both;
            let mut list = group.list.clone();
            list.push(index);
            split.push(Group { slots: both, list });
        }
        if !slots.is_empty() {
            split.push(Group { slots, list: List::from_slice(&[index]) });
        }
        for group in split {
            self.add_group(group);
        }
    }

    /// Adds a group, or, where it is small or there are many already, each of it by themselves.
    fn add_group(&mut self, Group { slots, list }: Group) {
        if slots.len() > FEW && self.groups.len() < GROUPS_MOST {
            self.groups.push(Group { slots, list });
            return;
        }
        for slot in slots {
            let own = self.few.entry(slot).or_default();
            own.extend_from_slice(&list);
            own.sort_unstable();
        }
    }

    fn push(&mut self, message: Message) -> u32 {
        let index = self.deliveries.len() as u32;
        self.deliveries.push(Arc::new(Delivery::new(message)));
        index
    }

    /// Gives each their parcel. Whoever gets the same messages gets the same one.
    pub(super) fn into_parcels(self, position: Position, mut give: impl FnMut(Slot, Arc<Parcel>)) {
        let Self { deliveries, groups, mut few, .. } = self;
        let parcel = |list: &List| {
            let chosen = list.iter().map(|index| deliveries[*index as usize].clone());
            Arc::new(Parcel::new(chosen.collect(), position))
        };
        for Group { slots, list } in groups {
            let mut shared = None;
            for slot in slots {
                let own = if few.is_empty() { None } else { few.remove(&slot) };
                match own {
                    Some(own) => give(slot, parcel(&merged(&list, &own))),
                    None => give(slot, shared.get_or_insert_with(|| parcel(&list)).clone()),
                }
            }
        }
        let mut parcels: HashMap<List, Arc<Parcel>> = HashMap::new();
        for (slot, list) in few {
            let parcel = match parcels.get(&list) {
                Some(parcel) => parcel.clone(),
                None => {
                    let parcel = parcel(&list);
                    parcels.insert(list, parcel.clone());
                    parcel
                }
            };
            give(slot, parcel);
        }
    }
}

fn merged(one: &List, other: &List) -> List {
    let mut list: List = one.iter().chain(other).copied().collect();
    list.sort_unstable();
    list
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn each_gets_what_was_added_for_them_in_order(
            messages in prop::collection::vec(prop::collection::btree_set(0_u32..40, 0..40), 0..12),
        ) {
            let mut batch = Batch::default();
            let mut expected: BTreeMap<Slot, Vec<u64>> = BTreeMap::new();
            for (number, slots) in messages.into_iter().enumerate() {
                let number = number as u64;
                for slot in &slots {
                    expected.entry(*slot).or_default().push(number);
                }
                let message = Message::CaughtUp(Position(number));
                if number.is_multiple_of(3) {
                    batch.add(message, slots);
                } else {
                    batch.add_for_many(message, slots.into_iter().collect());
                }
            }
            let mut given: BTreeMap<Slot, Vec<u64>> = BTreeMap::new();
            batch.into_parcels(Position(99), |slot, parcel| {
                let positions = parcel.deliveries().iter().map(|delivery| delivery.message().position().0);
                assert!(given.insert(slot, positions.collect()).is_none(), "one parcel each");
            });
            prop_assert_eq!(given, expected);
        }
    }

    #[test]
    fn who_gets_the_same_shares_it() {
        let mut batch = Batch::default();
        let all: RoaringBitmap = (0..20).collect();
        for number in 0..3 {
            batch.add_for_many(Message::CaughtUp(Position(number)), all.clone());
        }
        batch.add(Message::CaughtUp(Position(3)), [7]);
        let mut parcels = Vec::new();
        batch.into_parcels(Position(9), |_, parcel| parcels.push(parcel));
        let first = parcels[0].clone();
        assert_eq!(parcels.iter().filter(|parcel| Arc::ptr_eq(parcel, &first)).count(), 19);
        assert_eq!(parcels.len(), 20);
    }
}
