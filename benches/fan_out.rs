//! What it costs from a publish to the mailboxes of those it is for: append, fold, encode and hand-out, without sockets.
//! To everyone; to channels that overlap; to one task that serves all subscribers, as the WebSocket's writer does; to one each.

mod measured;

use std::sync::Arc;

use criterion::{BenchmarkId, Throughput, criterion_group, criterion_main};
use measured::Criterion;
use tidings_benches::{Bench, broadcast, draft, service, unicast, user};
use tidings_engine::command::MembersChange;
use tidings_engine::delivery::Message;
use tidings_engine::hub::ReadyQueue;
use tidings_engine::{Audience, Channel, Draft, Identity, Opening, Subscriber, Tenant};

const SUBSCRIBERS: usize = 2_000;
const CHANNELS: usize = 8;

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

/// Takes what a queue says is there, until there were so many notifications.
async fn serve(bench: &Bench, queue: &ReadyQueue, subscribers: &mut [Subscriber], expected: usize) {
    let (mut ready, mut notifications) = (Vec::new(), 0);
    while notifications < expected {
        queue.wait(&mut ready).await;
        for number in ready.drain(..) {
            while let Some(parcel) = subscribers[number as usize].try_next() {
                std::hint::black_box(parcel.encoded(bench.engine.json()));
                let deliveries = parcel.deliveries().iter();
                notifications += deliveries
                    .filter(|delivery| matches!(delivery.message(), Message::Notification { .. }))
                    .count();
            }
        }
    }
}

/// Subscribers of a user each; with a queue, it is told of them.
fn subscribe(bench: &Bench, queue: Option<&Arc<ReadyQueue>>) -> Vec<Subscriber> {
    bench.runtime.block_on(async {
        let mut subscribers = Vec::with_capacity(SUBSCRIBERS);
        for number in 0..SUBSCRIBERS {
            let identity = Arc::new(Identity::person(Tenant::default(), user(number)));
            let mut opening = Opening::new("bench");
            opening.ready = queue.map(|queue| queue.place(number as u32));
            subscribers.push(bench.engine.subscribe(&identity, opening).await.expect("a subscriber").0);
        }
        subscribers
    })
}

fn channel(number: usize) -> Channel {
    format!("topic:bench-{}", number % CHANNELS).parse().expect("a channel")
}

/// Each is in three of the channels.
fn join_channels(bench: &Bench) {
    for index in 0..CHANNELS {
        let is_in = |number: &usize| (0..3).any(|next| (number + next) % CHANNELS == index);
        let add = (0..SUBSCRIBERS).filter(is_in).map(user).collect();
        let change = MembersChange { add, remove: Vec::new() };
        let (service, channel) = (service(), channel(index));
        let changed = bench.engine.change_members(&service, &channel, change);
        bench.runtime.block_on(changed).expect("members");
    }
}

fn fan_out(criterion: &mut Criterion) {
    let bench = Bench::start();
    let mut subscribers = subscribe(&bench, None);
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
    join_channels(&bench);
    bench.runtime.block_on(drain(&bench, &mut subscribers));
    // To two channels each, of which some are in both, and each of eight notifications to other two.
    let publish_overlapping = || {
        let audience = |number| Audience::of_channels([channel(number), channel(number + 2)]);
        let drafts = (0..CHANNELS).map(|number| draft(audience(number)).into()).collect();
        bench.runtime.block_on(bench.engine.publish_all(&service(), drafts)).expect("a batch");
    };
    publish_overlapping();
    let deliveries = bench.runtime.block_on(drain(&bench, &mut subscribers));
    assert!(deliveries > CHANNELS * SUBSCRIBERS / 2);
    group.throughput(Throughput::Elements(deliveries as u64));
    group.bench_function(BenchmarkId::new("overlapping channels", CHANNELS), |bencher| {
        bencher.iter(|| {
            publish_overlapping();
            assert_eq!(bench.runtime.block_on(drain(&bench, &mut subscribers)), deliveries);
        });
    });
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
    drop(subscribers);
    let queue = ReadyQueue::new();
    let mut subscribers = subscribe(&bench, Some(&queue));
    let outstanding = 8;
    let deliveries = outstanding * SUBSCRIBERS;
    group.throughput(Throughput::Elements(deliveries as u64));
    group.bench_function(BenchmarkId::new("broadcast, one task for all", outstanding), |bencher| {
        bencher.iter(|| {
            let drafts = (0..outstanding).map(|_| broadcast().into()).collect();
            bench.runtime.block_on(async {
                bench.engine.publish_all(&service(), drafts).await.expect("a batch");
                serve(&bench, &queue, &mut subscribers, deliveries).await;
            });
        });
    });
    group.finish();
    drop(subscribers);
    bench.runtime.block_on(bench.engine.shutdown());
}

criterion_group! { name = benches; config = measured::criterion(); targets = fan_out }
criterion_main!(benches);
