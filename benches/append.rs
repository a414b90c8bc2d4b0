//! What it costs to make events durable: batches in one commit, fsync included.

mod measured;

use std::time::Duration;

use criterion::{BenchmarkId, Throughput, criterion_group, criterion_main};
use measured::Criterion;
use tidings_benches::user;
use tidings_engine::Tenant;
use tidings_engine::store::sqlite::SqliteStore;
use tidings_engine::store::{AppendItem, EventStore, NewEvent, StreamName};
use tokio::runtime::Runtime;

fn item(number: usize) -> AppendItem {
    let event = NewEvent {
        type_name: "NotificationPublished".to_owned(),
        version: 1,
        recorded_at: "2026-11-21T07:00:00Z".parse().expect("a time"),
        envelope: "e".repeat(200),
        payload: Some("p".repeat(150)),
        streams: vec![StreamName::User(user(number % 1_000))],
    };
    AppendItem { tenant: Tenant::default(), key: None, events: vec![event] }
}

fn append(criterion: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    let directory = tempfile::tempdir().expect("a directory");
    let store = runtime.block_on(SqliteStore::open(&directory.path().join("log.db"))).expect("a store");
    let mut group = criterion.benchmark_group("append");
    let mut number = 0;
    for batch in [1usize, 8, 64, 512] {
        group.throughput(Throughput::Elements(batch as u64));
        group.bench_with_input(BenchmarkId::new("batch", batch), &batch, |bencher, batch| {
            bencher.iter_custom(|iterations| {
                let mut spent = Duration::ZERO;
                for _ in 0..iterations {
                    let items = (0..*batch).map(|offset| item(number + offset)).collect();
                    number += batch;
                    let begun = measured::now();
                    runtime.block_on(store.append(items)).expect("an append");
                    spent += measured::now() - begun;
                }
                spent
            });
        });
    }
    group.finish();
}

criterion_group! { name = benches; config = measured::criterion(); targets = append }
criterion_main!(benches);
