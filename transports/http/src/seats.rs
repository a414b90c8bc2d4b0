//! Seats: how many there may be of a key at once, such as connections of an address. One is given up when it is dropped.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};

/// The bits of an IPv6 address that name a network. Whoever has one of its addresses has all of them.
const NETWORK: u128 = !0 << 64;

/// The seats of all keys: as many for each.
#[derive(Debug)]
pub(crate) struct Seats<K: Eq + Hash> {
    taken: Arc<Mutex<HashMap<K, u32>>>,
}

/// A seat that is taken, until it is dropped.
#[derive(Debug)]
pub struct Seat<K: Eq + Hash> {
    key: K,
    taken: Arc<Mutex<HashMap<K, u32>>>,
}

impl<K: Eq + Hash + Clone> Seats<K> {
    pub(crate) fn new() -> Self {
        Self { taken: Arc::default() }
    }

    /// Takes a seat of a key, if fewer than so many are taken.
    pub(crate) fn take(&self, key: K, most: NonZeroU32) -> Option<Seat<K>> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let of_key = taken.entry(key.clone()).or_default(); // there can be none left only of a key that is there
        if *of_key >= most.get() {
            return None;
        }
        *of_key += 1;
        Some(Seat { key, taken: self.taken.clone() })
    }
}

impl<K: Eq + Hash> Drop for Seat<K> {
    fn drop(&mut self) {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        // The entry has to be looked up by reference: the key stays ours.
        let left = taken.get_mut(&self.key).map_or(0, |of_key| {
            *of_key -= 1;
            *of_key
        });
        if left == 0 {
            taken.remove(&self.key);
        }
    }
}

/// What an address counts as: itself, or of IPv6 the network that one host has all of.
pub(crate) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & NETWORK).into(),
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_key_has_its_seats_and_gets_back_what_was_dropped() {
        let (seats, two) = (Seats::new(), NonZeroU32::new(2).unwrap());
        let (first, second) = (seats.take("ada", two), seats.take("ada", two));
        assert!(first.is_some() && second.is_some());
        assert!(seats.take("ada", two).is_none());
        assert!(seats.take("bo", two).is_some(), "and it is dropped at once");
        drop(first);
        let third = seats.take("ada", two);
        assert!(third.is_some() && seats.take("ada", two).is_none());
        let fourth = seats.take("ada", NonZeroU32::new(3).unwrap());
        assert!(fourth.is_some(), "as many as there may be now");
        assert!(seats.take("ada", two).is_none(), "and nobody is sent away when there may be fewer");
        drop((second, third, fourth));
        assert!(seats.taken.lock().unwrap().is_empty(), "nothing is kept of who has gone");
    }

    #[test]
    fn an_address_counts_as_whoever_can_have_it() {
        let network = |text: &str| network(text.parse().unwrap()).to_string();
        assert_eq!(network("192.0.2.7"), "192.0.2.7");
        assert_eq!(network("::ffff:192.0.2.7"), "192.0.2.7");
        assert_eq!(network("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
        assert_eq!(network("2001:db8:1:2::1"), "2001:db8:1:2::");
        assert_eq!(network("2001:db8:1:3::1"), "2001:db8:1:3::");
    }
}
