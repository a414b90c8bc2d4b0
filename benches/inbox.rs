//! What it costs to read an inbox: a page among ten thousand, and the counts of somebody in memory.

mod measured;

use criterion::{criterion_group, criterion_main};
use measured::Criterion;
use tidings_benches::{Bench, broadcast, unicast, user};
use tidings_engine::inbox::InboxQuery;
use tidings_engine::{Identity, Position, Tenant};

fn inbox(criterion: &mut Criterion) {
    let bench = Bench::start();
    let identity = Identity::person(Tenant::default(), user(1));
    let counts = || bench.runtime.block_on(bench.engine.counts(&identity, Position(0))).expect("counts");
    counts(); // heard of, so that what is published to everyone is theirs
    bench.publish((0..10_000).map(|number| if number % 2 == 0 { unicast(1) } else { broadcast() }));
    let page = |query: InboxQuery| {
        bench.runtime.block_on(bench.engine.inbox(&identity, query, Position(0))).expect("a page")
    };
    let newest = InboxQuery { limit: 20, ..InboxQuery::default() };
    let deep = InboxQuery { before: Some(Position(5_000)), ..newest.clone() };
    let by_type =
        || bench.runtime.block_on(bench.engine.counts_by_type(&identity, Position(0))).expect("counts");
    let mut group = criterion.benchmark_group("inbox");
    group.bench_function("page of 20, newest", |bencher| bencher.iter(|| page(newest.clone())));
    group.bench_function("page of 20, deep", |bencher| bencher.iter(|| page(deep.clone())));
    group.bench_function("counts", |bencher| bencher.iter(counts));
    group.bench_function("counts by type, 10,000 unread", |bencher| bencher.iter(by_type));
    group.finish();
    bench.runtime.block_on(bench.engine.shutdown());
}

criterion_group! { name = benches; config = measured::criterion(); targets = inbox }
criterion_main!(benches);
