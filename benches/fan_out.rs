//! What it costs from a publish to the mailboxes of those it is for: append, fold, encode and hand-out, without sockets.

use std::sync::Arc;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use tidings_benches::{Bench, broadcast, service, unicast, user};
use tidings_engine::delivery::Message;
use tidings_engine::{Draft, Identity, Opening, Subscriber, Tenant};

const SUBSCRIBERS: usize = 2_000;

/// Takes everything there is up to the head of the log; how many notifications it was.
async fn drain(bench: &Bench, subscribers: &mut [Subscriber]) -> usize {
    bench.engine.settle().await.expect("the engine runs");
    let mut notifications = 0;
    for subscriber in subscribers {
        while let Some(parcel) = subscriber.try_next() {
            for delivery in parcel.deliveries() {
                std::hint::black_box(delivery.encoded(bench.engine.json()));
                notifications += usize::from(matches!(delivery.message(), Message::Notification { .. }));
            }
        }
    }
    notifications
}

fn fan_out(criterion: &mut Criterion) {
    let bench = Bench::start();
    let mut subscribers: Vec<Subscriber> = bench.runtime.block_on(async {
        let mut subscribers = Vec::with_capacity(SUBSCRIBERS);
        for number in 0..SUBSCRIBERS {
            let identity = Arc::new(Identity::person(Tenant::default(), user(number)));
            let subscribed = bench.engine.subscribe(&identity, Opening::new("bench")).await;
            subscribers.push(subscribed.expect("a subscriber").0);
        }
        subscribers
    });
    let mut group = criterion.benchmark_group("fan_out");
    group.sample_size(30);
    for outstanding in [1usize, 8, 32] {
        let deliveries = outstanding * SUBSCRIBERS;
        group.throughput(Throughput::Elements(deliveries as u64));
        group.bench_function(BenchmarkId::new("broadcast", outstanding), |bencher| {
            bencher.iter(|| {
                let drafts: Vec<Draft> = (0..outstanding).map(|_| broadcast()).collect();
                bench.runtime.block_on(async {
                    let publications = drafts.into_iter().map(Into::into).collect();
                    bench.engine.publish_all(&service(), publications).await.expect("a batch");
                    assert_eq!(drain(&bench, &mut subscribers).await, deliveries);
                });
            });
        });
    }
    let unicasts = 64;
    group.throughput(Throughput::Elements(unicasts as u64));
    let mut next = 0;
    group.bench_function(BenchmarkId::new("unicast", unicasts), |bencher| {
        bencher.iter(|| {
            let recipients = (0..unicasts).map(|offset| (next + offset) % SUBSCRIBERS);
            let drafts: Vec<Draft> = recipients.map(unicast).collect();
            let first = next % SUBSCRIBERS;
            let last = (first + unicasts).min(SUBSCRIBERS);
            next += unicasts;
            bench.runtime.block_on(async {
                let publications = drafts.into_iter().map(Into::into).collect();
                bench.engine.publish_all(&service(), publications).await.expect("a batch");
                drain(&bench, &mut subscribers[first..last]).await;
            });
        });
    });
    group.finish();
    drop(subscribers);
    bench.runtime.block_on(bench.engine.shutdown());
}

criterion_group!(benches, fan_out);
criterion_main!(benches);
