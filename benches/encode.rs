//! What it costs to write a message: once for everybody who gets it.

mod measured;

use criterion::{criterion_group, criterion_main};
use measured::Criterion;
use tidings_benches::{Bench, unicast};
use tidings_engine::delivery::Message;
use tidings_engine::inbox::Counts;

fn encode(criterion: &mut Criterion) {
    let bench = Bench::start();
    bench.publish([unicast(1)]);
    let (event, encoding) = (bench.last_event(), bench.engine.json().clone());
    let notification = Message::Notification { event: event.clone(), counts: true, supersedes: Vec::new() };
    let counts = Message::Counts(Counts { unread: 17, unseen: 3, position: event.position });
    let mut group = criterion.benchmark_group("encode");
    group.bench_function("notification", |bencher| bencher.iter(|| encoding.encode(&notification)));
    group.bench_function("counts", |bencher| bencher.iter(|| encoding.encode(&counts)));
    group.finish();
}

criterion_group! { name = benches; config = measured::criterion(); targets = encode }
criterion_main!(benches);
