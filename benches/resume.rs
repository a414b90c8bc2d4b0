//! What it costs to come back: twenty notifications of one's own, from memory and from the log, among few and among many
//! of others.

mod measured;

use std::sync::Arc;

use criterion::{BenchmarkId, criterion_group, criterion_main};
use measured::Criterion;
use tidings_benches::{Bench, unicast, user};
use tidings_engine::delivery::Message;
use tidings_engine::{Cursor, Identity, Opening, Options, Position, Resume, Tenant};

const OWN: usize = 20;

/// Comes back, gets everything, and is live.
fn come_back(bench: &Bench, identity: &Arc<Identity>, cursor: &Cursor) {
    bench.runtime.block_on(async {
        let mut opening = Opening::new("bench");
        opening.resume = Some(Resume { cursor: cursor.clone(), most: 1_000 });
        let (mut device, _) = bench.engine.subscribe(identity, opening).await.expect("a subscriber");
        let mut missed = 0;
        loop {
            let parcel = device.next().await.expect("a parcel");
            for delivery in parcel.deliveries() {
                match delivery.message() {
                    Message::Notification { .. } => missed += 1,
                    Message::CaughtUp(_) => {
                        assert_eq!(missed, OWN);
                        return;
                    }
                    _ => {}
                }
            }
        }
    });
}

fn resume(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("resume");
    for (name, recent_kept) in [("from memory", None), ("from the log", Some(0))] {
        for others in [1_000, 30_000] {
            let mut bench = Bench::start();
            let mut options = Options::new(bench.directory.path().join("other"));
            options.recent_kept = recent_kept;
            bench.engine = bench.runtime.block_on(tidings_engine::Engine::start(options)).expect("an engine");
            let identity = Arc::new(Identity::person(Tenant::default(), user(1)));
            bench.runtime.block_on(bench.engine.counts(&identity, Position(0))).expect("counts");
            let log = bench.engine.log().clone();
            let cursor = log.cursor(log.head());
            let every = others / OWN;
            bench.publish(
                (0..others).map(|number| unicast(if number % every == 0 { 1 } else { 2 + number % 1_000 })),
            );
            group.bench_function(BenchmarkId::new(name, format!("{OWN} of {others}")), |bencher| {
                bencher.iter(|| come_back(&bench, &identity, &cursor));
            });
            bench.runtime.block_on(bench.engine.shutdown());
        }
    }
    group.finish();
}

criterion_group! { name = benches; config = measured::criterion(); targets = resume }
criterion_main!(benches);
