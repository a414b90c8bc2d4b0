//! Conformance tests that the authors of extensions run against their own implementations.
//!
//! They panic with the law that is broken, so a test of yours is one call.

#![allow(clippy::expect_used)] // a test that cannot go on says why

use std::sync::Arc;

use futures_util::future::BoxFuture;
use jiff::Timestamp;

use crate::event::Entry;
use crate::names::{Channel, IdempotencyKey, Publisher, Tenant, UserId};
use crate::position::{Offset, Position};
use crate::store::{
    AppendItem, AppendOutcome, EventStore, KeyClaim, NewEvent, SnapshotHeader, StoredEvent, StreamName,
};

/// Opens the store under test: the first time empty, later with what was appended before.
pub trait OpenStore: Send {
    /// Opens it. The one opened before has been dropped.
    fn open(&mut self) -> BoxFuture<'_, Arc<dyn EventStore>>;
}

/// Checks the laws of [`EventStore`].
///
/// # Panics
/// When a law is broken; the message says which.
pub async fn event_store(mut opener: impl OpenStore) {
    let store = opener.open().await;
    assert_eq!(head(&*store).await, 0, "law 1: an empty log's head is 0");

    positions_are_dense(&*store).await;
    offsets_are_dense_for_each_tenant(&*store).await;
    keys_are_claimed_once(&*store).await;
    what_was_appended_is_read_back(&*store).await;
    let (newest, listed) = snapshots_are_listed_once_complete(&*store).await;

    let (before, end) = (all(&*store).await, store.head().await.expect("a store has a head"));
    drop(store);
    let store = opener.open().await;
    let reopened = store.head().await.expect("a store has a head");
    assert_eq!(reopened.position, end.position, "law 6: the head survives reopening");
    for position in (0..=end.position.0).map(Position) {
        let (now, then) = (reopened.epochs.cursor(position), end.epochs.cursor(position));
        assert_eq!(now, then, "law 6: the epochs of positions survive reopening");
    }
    assert_eq!(all(&*store).await, before, "law 6: the events survive reopening");
    assert_eq!(snapshots(&*store).await, listed, "law 7: snapshots survive reopening");
    assert_eq!(part(&*store, newest, 1).await, Some(vec![4; 300]), "law 7: parts survive reopening");
    let next = appended(append(&*store, vec![item("t1", None, vec![event(&["a"])])]).await.remove(0));
    assert_eq!(next.0, reopened.position.next(), "law 6: positions go on after reopening");
    let again = append(&*store, vec![item("t1", Some(("p", "k", 1)), vec![event(&[])])]).await.remove(0);
    assert!(matches!(again, AppendOutcome::Duplicate { .. }), "law 6: keys survive reopening");
}

/// The position of the newest snapshot, and what is listed.
async fn snapshots_are_listed_once_complete(store: &dyn EventStore) -> (Position, Vec<SnapshotHeader>) {
    let epochs = store.head().await.expect("a store has a head").epochs;
    let header = |position| SnapshotHeader {
        at: epochs.cursor(Position(position)),
        format: 1,
        fold: 7,
        made_at: Timestamp::from_millisecond(1_795_253_000_123).expect("a time"),
        parts: 2,
        bytes: 600,
    };
    for (position, fill) in [(1, 1), (2, 2), (3, 4)] {
        for number in [0, 1] {
            let put = store.snapshots().put_part(Position(position), number, vec![fill; 300]).await;
            put.expect("law 7: a part is put");
        }
        let listed = snapshots(store).await.len() as u64;
        assert_eq!(listed, position - 1, "law 7: nothing is listed before it is complete");
        store.snapshots().complete(header(position)).await.expect("law 7: a snapshot is completed");
    }
    let put = store.snapshots().put_part(Position(3), 1, vec![4; 300]).await;
    put.expect("law 7: a part is put again");
    let listed = snapshots(store).await.len();
    assert_eq!(listed, 2, "law 7: one that is made again is not listed meanwhile");
    store.snapshots().complete(header(3)).await.expect("law 7: and is, once it is complete");
    let put = store.snapshots().put_part(Position(4), 0, vec![9; 300]).await;
    put.expect("law 7: a part of what is never completed");
    while store.snapshots().drop_all_but(2).await.expect("law 7: snapshots are dropped") {}
    let listed = snapshots(store).await;
    assert_eq!(listed, [header(3), header(2)], "law 7: the newest are kept and listed first");
    for (position, number, fill) in [(2, 0, 2), (2, 1, 2), (3, 0, 4)] {
        let kept = part(store, Position(position), number).await;
        assert_eq!(kept, Some(vec![fill; 300]), "law 7: part {number} of {position} is kept");
    }
    for (position, number) in [(1, 0), (3, 2), (4, 0)] {
        let gone = part(store, Position(position), number).await;
        assert_eq!(gone, None, "law 7: part {number} of {position} is not there");
    }
    (Position(3), listed)
}

async fn snapshots(store: &dyn EventStore) -> Vec<SnapshotHeader> {
    store.snapshots().list().await.expect("law 7: snapshots are listed")
}

async fn part(store: &dyn EventStore, at: Position, number: u32) -> Option<Vec<u8>> {
    store.snapshots().part(at, number).await.expect("law 7: a part is read")
}

async fn positions_are_dense(store: &dyn EventStore) {
    let outcomes = append(
        store,
        vec![
            item("t1", None, vec![event(&[])]),
            item("t1", None, vec![event(&[]), event(&[])]),
            item("t2", None, vec![event(&[])]),
        ],
    )
    .await;
    let firsts: Vec<u64> = outcomes.into_iter().map(|outcome| appended(outcome).0.0).collect();
    assert_eq!(firsts, [1, 2, 4], "law 1: positions are given in order, without a hole");
    assert_eq!(head(store).await, 4, "law 1: the head is the last position");
    let none = append(store, Vec::new()).await;
    assert!(none.is_empty() && head(store).await == 4, "law 1: an empty batch appends nothing");
}

async fn offsets_are_dense_for_each_tenant(store: &dyn EventStore) {
    let batch = vec![
        item("t1", None, vec![event(&["a", "b"])]),
        item("t1", None, vec![event(&["a"]), event(&["b", "a"])]),
        item("t2", None, vec![event(&["a"])]),
    ];
    let entries: Vec<Vec<Entry>> =
        append(store, batch).await.into_iter().flat_map(|o| appended(o).1).collect();
    let offsets: Vec<Vec<u64>> =
        entries.iter().map(|entries| entries.iter().map(|entry| entry.offset.0).collect()).collect();
    assert_eq!(
        offsets,
        [vec![1, 1], vec![2], vec![2, 3], vec![1]],
        "law 2: offsets are dense for each stream"
    );
    assert_eq!(entries[0][0].stream, entries[1][0].stream, "law 2: a stream keeps its id");
    assert_ne!(entries[0][0].stream, entries[0][1].stream, "law 2: streams have different ids");
    assert_ne!(entries[0][0].stream, entries[3][0].stream, "law 2: tenants never share a stream");

    let stream = StreamName::User(UserId::stored("a"));
    let tenant = Tenant::stored("t1");
    let read = store.read_stream(&tenant, &stream, Offset(1), 9).await.expect("a stream is read");
    let places: Vec<(u64, u64)> = read.iter().map(|(offset, event)| (offset.0, event.position.0)).collect();
    assert_eq!(places, [(2, 6), (3, 7)], "law 5: a stream is read from an offset, in order");
    let one = store.read_stream(&tenant, &stream, Offset(0), 1).await.expect("a stream is read");
    assert_eq!(one.len(), 1, "law 5: no more is read than asked for");
    let unknown = StreamName::Channels(vec![Channel::stored("topic:none")]);
    let none = store.read_stream(&tenant, &unknown, Offset(0), 9).await.expect("a stream is read");
    assert!(none.is_empty(), "law 5: a stream that is not there is empty");
}

async fn keys_are_claimed_once(store: &dyn EventStore) {
    let before = head(store).await;
    let batch = vec![
        item("t1", Some(("p", "k", 1)), vec![event(&["keyed"])]),
        item("t1", Some(("p", "k", 1)), vec![event(&["keyed"])]),
        item("t1", Some(("p", "k", 2)), vec![event(&["keyed"])]),
        item("t1", Some(("q", "k", 2)), vec![event(&["keyed"])]),
        item("t2", Some(("p", "k", 2)), vec![event(&["keyed"])]),
        item("t1", None, vec![event(&["keyed"])]),
    ];
    let outcomes = append(store, batch).await;
    let first = Position(before + 1);
    assert!(
        matches!(&outcomes[0], AppendOutcome::Appended { first: at, .. } if *at == first),
        "law 4: the first is"
    );
    assert_eq!(
        outcomes[1],
        AppendOutcome::Duplicate { position: first },
        "law 4: the same again, in one batch"
    );
    assert_eq!(outcomes[2], AppendOutcome::KeyReused, "law 4: another content, in one batch");
    assert_eq!(appended(outcomes[3].clone()).0.0, before + 2, "law 4: another publisher; law 1: no hole");
    assert_eq!(appended(outcomes[4].clone()).0.0, before + 3, "law 4: another tenant");
    let (at, entries) = appended(outcomes[5].clone());
    assert_eq!(at.0, before + 4, "law 1: what is not appended takes no position");
    assert_eq!(entries[0][0].offset, Offset(3), "law 2: what is not appended takes no offset");

    let later = append(store, vec![item("t1", Some(("p", "k", 1)), vec![event(&[])])]).await;
    assert_eq!(later, [AppendOutcome::Duplicate { position: first }], "law 4: the same again, later");
    for (tenant, publisher, key, found) in [
        ("t1", "p", "k", Some((first, [1; 32]))),
        ("t1", "q", "k", Some((Position(before + 2), [2; 32]))),
        ("t2", "q", "k", None),
        ("t1", "p", "another", None),
    ] {
        let claim = item(tenant, Some((publisher, key, 9)), Vec::new());
        let stands_for = store.find_key(&claim.tenant, claim.key.as_ref().expect("a key")).await;
        assert_eq!(stands_for.expect("the log is read"), found, "law 4: what a key stands for");
    }
    assert_eq!(head(store).await, before + 4, "law 1: a duplicate appends nothing");
}

async fn what_was_appended_is_read_back(store: &dyn EventStore) {
    let mut odd = event(&["a"]);
    odd.envelope = r#"{"text":"\u0000 \" ☃ \n"}"#.to_owned();
    odd.payload = Some(r#"{"body":"☃"}"#.to_owned());
    odd.version = 7;
    odd.type_name = "Odd".to_owned();
    let (first, entries) = appended(append(store, vec![item("t1", None, vec![odd.clone()])]).await.remove(0));
    let read = store.read(Position(first.0 - 1), 9).await.expect("the log is read");
    let expected = StoredEvent {
        position: first,
        tenant: Tenant::stored("t1"),
        type_name: odd.type_name,
        version: odd.version,
        recorded_at: odd.recorded_at,
        envelope: odd.envelope,
        payload: odd.payload,
        entries: entries[0].clone(),
    };
    assert_eq!(read, [expected], "law 5: an event is read back as it was given");

    let everything = all(store).await;
    let positions: Vec<u64> = everything.iter().map(|event| event.position.0).collect();
    assert_eq!(positions, (1..=first.0).collect::<Vec<_>>(), "laws 1 and 5: the log is read without a hole");
    let page = store.read(Position(2), 3).await.expect("the log is read");
    assert_eq!(page, everything[2..5], "law 5: a page begins after its position and is as long as asked for");
    let wanted = [first, Position(2), Position(first.0 + 1)];
    let some = store.read_at(wanted.to_vec()).await.expect("the log is read");
    let expected = [everything[1].clone(), read[0].clone()];
    assert_eq!(some, expected, "law 5: single events are read in the order of their positions");
    assert!(
        store.read(first, 9).await.expect("the log is read").is_empty(),
        "law 5: nothing is after the head"
    );
}

async fn append(store: &dyn EventStore, items: Vec<AppendItem>) -> Vec<AppendOutcome> {
    let count = items.len();
    let outcomes = store.append(items).await.expect("an append succeeds");
    assert_eq!(outcomes.len(), count, "an outcome for each item");
    outcomes
}

fn appended(outcome: AppendOutcome) -> (Position, Vec<Vec<Entry>>) {
    match outcome {
        AppendOutcome::Appended { first, entries } => (first, entries),
        other => panic!("expected an item to be appended, got {other:?}"),
    }
}

async fn head(store: &dyn EventStore) -> u64 {
    store.head().await.expect("a store has a head").position.0
}

async fn all(store: &dyn EventStore) -> Vec<StoredEvent> {
    store.read(Position(0), 10_000).await.expect("the log is read")
}

fn item(tenant: &str, key: Option<(&str, &str, u8)>, events: Vec<NewEvent>) -> AppendItem {
    let key = key.map(|(publisher, key, content)| KeyClaim {
        publisher: Publisher::stored(publisher),
        key: IdempotencyKey::stored(key),
        content_hash: [content; 32],
    });
    AppendItem { tenant: Tenant::stored(tenant), key, events }
}

fn event(users: &[&str]) -> NewEvent {
    NewEvent {
        type_name: "Sample".to_owned(),
        version: 1,
        recorded_at: Timestamp::from_millisecond(1_795_158_000_123).unwrap_or_default(),
        envelope: "{}".to_owned(),
        payload: None,
        streams: users.iter().map(|user| StreamName::User(UserId::stored(user))).collect(),
    }
}
