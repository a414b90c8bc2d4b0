//! What it costs to ask which of a million fences hold a place: a list of all, an R-tree in degrees, an R-tree in space,
//! and the index; and what it costs to change one. Percentiles, memory, and what a million moves and live positions do to
//! it: `cargo run --release -p tidings-benches --bin geofence`.

mod measured;

use std::hint::black_box;

use criterion::{criterion_group, criterion_main};
use measured::Criterion;
use tidings_benches::fences::{InDegrees, InSpace, Sample, World, in_degrees};
use tidings_geofence::Position;
use tidings_geofence::index::{Change, FenceIndex, Query};

const FENCES: usize = 1_000_000;

fn geofence(criterion: &mut Criterion) {
    let mut world = World::new(8);
    let samples: Vec<Sample> = (0..FENCES).map(|_| world.fence()).collect();
    let places: Vec<[f64; 2]> = (0..10_000).map(|_| world.place()).collect();
    let in_degrees = InDegrees::new(samples.iter().map(in_degrees::Area::new).collect());
    let fences: Vec<_> = samples.iter().enumerate().map(|(number, sample)| sample.fence(number)).collect();
    let in_space = InSpace::new(fences.iter().map(|fence| fence.shape.clone()).collect());
    let index = FenceIndex::new(fences);
    let position = |[lon, lat]: [f64; 2]| Position::new(lat, lon).expect("a place");

    let mut group = criterion.benchmark_group("geofence");
    let mut next = places.iter().copied().cycle();
    let mut place = || next.next().unwrap_or_default();
    group.sample_size(10);
    group.bench_function("list of all", |bencher| bencher.iter(|| in_degrees.count_in_list(place())));
    group.sample_size(50);
    group.bench_function("R-tree in degrees", |bencher| bencher.iter(|| in_degrees.count(place())));
    group.bench_function("R-tree in space", |bencher| {
        bencher.iter(|| in_space.count(position(place()).vector()));
    });
    group.bench_function("index", |bencher| {
        bencher.iter(|| {
            let mut count = 0;
            index.version().each_match(&Query::at(position(place())), |_| count += 1);
            black_box(count)
        });
    });
    let mut number = 0;
    group.bench_function("move of a fence", |bencher| {
        bencher.iter(|| {
            number = (number + 7_919) % FENCES;
            index.apply([Change::Put(world.move_fence(&samples[number]).fence(number))]);
        });
    });
    group.finish();
}

criterion_group! { name = benches; config = measured::criterion(); targets = geofence }
criterion_main!(benches);
