//! What it costs to fold the log and write the view, as a rebuild does, beside what reading and decoding it alone costs.

mod measured;

use criterion::{Throughput, criterion_group, criterion_main};
use measured::Criterion;
use tidings_benches::{Bench, broadcast, unicast, user};
use tidings_engine::command::UpTo;
use tidings_engine::{Identity, Position, Source, Tenant};

const EVENTS: u64 = 100_000;
const USERS: usize = 1_000;

/// 70 % unicast, 20 % reads, 10 % broadcast.
fn fill(bench: &Bench) {
    for round in 0..EVENTS as usize / 1_000 {
        bench.publish((0..700).map(|number| unicast((round * 700 + number) % USERS)));
        bench.publish((0..100).map(|_| broadcast()));
        bench.runtime.block_on(async {
            for number in 0..200 {
                let identity = Identity::person(Tenant::default(), user((round * 200 + number) % USERS));
                let head = bench.engine.log().head();
                bench.engine.read_all(&identity, &UpTo::Position(head)).await.expect("a read");
            }
        });
    }
}

fn fold(criterion: &mut Criterion) {
    let bench = Bench::start();
    fill(&bench);
    // Opened anew, so that nothing comes from memory.
    let Bench { runtime, engine, directory } = bench;
    runtime.block_on(engine.shutdown());
    drop(engine);
    let options = tidings_engine::Options::new(directory.path());
    let engine = runtime.block_on(tidings_engine::Engine::start(options)).expect("an engine");
    let log = engine.log();
    let head = log.head();
    let mut group = criterion.benchmark_group("fold");
    group.sample_size(10).throughput(Throughput::Elements(head.0));
    group.bench_function("read and decode alone", |bencher| {
        bencher.iter(|| {
            let mut tail = log.tail(Position(0));
            runtime.block_on(async {
                while tail.position() < head {
                    tail.next().await.expect("the log is read");
                }
            });
        });
    });
    runtime.block_on(engine.shutdown());
    drop(engine);
    let snapshot = runtime.block_on(tidings_engine::snapshot::snapshot(directory.path()));
    assert!(snapshot.expect("a snapshot is taken").at.position >= head);
    for (name, source) in
        [("rebuild the view", Source::FirstEvent), ("rebuild the view from a snapshot", Source::Snapshot)]
    {
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let rebuilt = runtime.block_on(tidings_engine::rebuild(directory.path(), source, |_| {}));
                assert!(rebuilt.expect("the view is rebuilt") >= head);
            });
        });
    }
    group.finish();
}

criterion_group! { name = benches; config = measured::criterion(); targets = fold }
criterion_main!(benches);
