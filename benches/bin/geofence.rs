//! Which of a million fences hold a place? Median and 99th percentile, in turn with R-trees of rstar in degrees and in space;
//! how long they take to load and how large the index is; all again after a million moves; and beside 10,000 updates of live
//! positions a second.
//!
//! ```sh
//! cargo run --release -p tidings-benches --bin geofence               # a million of each, a few minutes
//! cargo run --release -p tidings-benches --bin geofence -- 100000 0   # fewer fences, no moves
//! ```
//!
//! A place's time is the least of some rounds, in which the designs are asked in turn: what other processes took is not in
//! it. Beside updates, every time counts.

use std::hint::black_box;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use jiff::Timestamp;
use tidings_benches::fences::{InDegrees, InSpace, Sample, World, in_degrees};
use tidings_geofence::Position;
use tidings_geofence::index::{Change, Fence, FenceIndex, OwnerId, Query};
use tidings_geofence::live::{LivePosition, LivePositions, Pace, Settings};

/// How many places are asked for in a round, and how many rounds there are.
const PLACES: usize = 20_000;
const ROUNDS: usize = 7;

/// How many share a live position, and how many updates there are a second.
const LIVE: u32 = 100_000;
const UPDATES: u32 = 10_000;

fn main() -> Result<()> {
    let mut arguments =
        std::env::args().skip(1).map(|count| count.parse::<usize>().context("expected a number"));
    let count = arguments.next().transpose()?.unwrap_or(1_000_000);
    ensure!(count > 0, "expected at least one fence, got 0");
    let moves = arguments.next().transpose()?.unwrap_or(count);
    let mut world = World::new(8);
    let mut samples: Vec<Sample> = (0..count).map(|_| world.fence()).collect();
    let places: Vec<[f64; 2]> = (0..PLACES).map(|_| world.place()).collect();
    let fences: Vec<Fence> =
        samples.iter().enumerate().map(|(number, sample)| sample.fence(number)).collect();
    let shapes = fences.iter().map(|fence| fence.shape.clone()).collect();
    let areas = samples.iter().map(in_degrees::Area::new).collect();

    let (in_degrees, took_degrees) = timed(|| InDegrees::new(areas));
    let (in_space, took_space) = timed(|| InSpace::new(shapes));
    let (index, took_index) = timed(|| FenceIndex::new(fences));
    println!("load: in degrees {took_degrees:.2?}, in space {took_space:.2?}, index {took_index:.2?}");
    println!("      index to degrees: {:.2}", took_index.as_secs_f64() / took_degrees.as_secs_f64());
    println!("index: {} bytes a fence, with its geometry", index.version().bytes() / count);
    let list: Vec<Duration> =
        places[..20].iter().map(|place| timed(|| in_degrees.count_in_list(*place)).1).collect();
    println!("list of all: median {}", Percentiles::of(list));

    let mut all = All { in_degrees, in_space, index };
    println!("\nfresh");
    let fresh = all.measure(&places);
    let mut took = [Duration::ZERO; 3];
    for round in 0..moves {
        let number = round * 7_919 % count;
        let sample = world.move_fence(&samples[number]);
        all.move_fence(number, &sample, &mut took);
        samples[number] = sample;
    }
    let [degrees, space, own] = took.map(|took| took / moves.max(1) as u32);
    println!("\nafter {moves} moves, each {degrees:?} in degrees, {space:?} in space, {own:?} in the index");
    all.index.settle();
    println!("index: {} bytes a fence", all.index.version().bytes() / count);
    let moved = all.measure(&places);
    println!(
        "moved to fresh: index median {:.2}, p99 {:.2}",
        moved[2].median / fresh[2].median,
        moved[2].p99 / fresh[2].p99
    );

    beside_live_positions(&all.index, &mut world, &places);
    Ok(())
}

/// What is compared.
struct All {
    in_degrees: InDegrees,
    in_space: InSpace,
    index: FenceIndex,
}

impl All {
    /// Asks each for all places, in turn.
    fn measure(&self, places: &[[f64; 2]]) -> [Percentiles; 3] {
        let mut took = [const { Vec::new() }; 3];
        let mut matches = [0; 3];
        for _ in 0..ROUNDS {
            let mut round = [const { Vec::new() }; 3];
            matches[0] += ask(places, &mut round[0], |place| self.in_degrees.count(place));
            matches[1] += ask(places, &mut round[1], |place| self.in_space.count(position(place).vector()));
            matches[2] += ask(places, &mut round[2], |place| count(&self.index, place));
            for (took, round) in took.iter_mut().zip(round) {
                took.resize(places.len(), Duration::MAX);
                took.iter_mut().zip(round).for_each(|(least, time)| *least = time.min(*least));
            }
        }
        let percentiles = took.map(Percentiles::of);
        for (name, at) in ["in degrees", "in space", "index"].iter().zip(0..) {
            let (this, first) = (&percentiles[at], &percentiles[0]);
            let mean = matches[at] as f64 / (ROUNDS * places.len()) as f64;
            println!(
                "{name:>12}: {this}; to the first {:.2} and {:.2}; {mean:.1} matches",
                this.median / first.median,
                this.p99 / first.p99
            );
        }
        percentiles
    }

    fn move_fence(&mut self, number: usize, sample: &Sample, took: &mut [Duration; 3]) {
        let (area, fence) = (in_degrees::Area::new(sample), sample.fence(number));
        let shape = fence.shape.clone();
        took[0] += timed(|| self.in_degrees.replace(number, area)).1;
        took[1] += timed(|| self.in_space.replace(number, shape)).1;
        took[2] += timed(|| self.index.apply([Change::Put(fence)])).1;
    }
}

/// Asks for fences and for live positions, while these stay where they are and while they move, in turn.
fn beside_live_positions(index: &FenceIndex, world: &mut World, places: &[[f64; 2]]) {
    let pace = Pace { every: Duration::ZERO, burst: 1 };
    let live =
        LivePositions::new(Settings { lifetime: Duration::from_secs(3_600), pace, most: LIVE as usize });
    let now = Timestamp::now();
    let update = |owner: u32, world: &mut World| {
        let radius = 300.0 * 50f64.powf(world.part());
        let here = LivePosition { at: position(world.place()), radius, time: now };
        live.update(OwnerId(owner), here, now).expect("it is taken");
    };
    (0..LIVE).for_each(|owner| update(owner, world));
    println!("\n{LIVE} live positions, {} bytes each", live.bytes() / LIVE as usize);
    let ((), updates) = timed(|| (0..LIVE).for_each(|owner| update(owner, world)));
    println!("an update takes {:?}", updates / LIVE);

    let (is_over, is_moving, moved) = (AtomicBool::new(false), AtomicBool::new(false), AtomicUsize::new(0));
    let mut took = [const { Vec::new() }; 4];
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let (mut owner, mut moving_for, mut last) = (0, Duration::ZERO, Instant::now());
            while !is_over.load(Ordering::Relaxed) {
                std::thread::sleep(Duration::from_millis(1));
                let since = last.elapsed();
                last += since;
                if !is_moving.load(Ordering::Relaxed) {
                    continue;
                }
                moving_for += since;
                // What is due, also after it had to wait for a processor.
                while (moved.load(Ordering::Relaxed) as f64) < moving_for.as_secs_f64() * f64::from(UPDATES) {
                    owner = (owner + 7_919) % LIVE;
                    update(owner, world);
                    moved.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
        let mut moving_for = Duration::ZERO;
        for round in 0..6 * ROUNDS {
            let is_with = round % 2 == 1;
            is_moving.store(is_with, Ordering::Relaxed);
            let begun = Instant::now();
            ask(places, &mut took[usize::from(is_with)], |place| count(index, place));
            ask(places, &mut took[2 + usize::from(is_with)], |place| {
                live.matches(position(place), now).len()
            });
            if is_with {
                moving_for += begun.elapsed();
            }
        }
        is_over.store(true, Ordering::Relaxed);
        println!("{:.0} updates a second", moved.load(Ordering::Relaxed) as f64 / moving_for.as_secs_f64());
    });
    let [fences, beside, alone, moving] = took.map(Percentiles::of);
    println!(
        "    fences: {fences}; beside updates {beside}; ratio {:.2} and {:.2}",
        beside.median / fences.median,
        beside.p99 / fences.p99
    );
    println!(
        "      live: {alone}; beside updates {moving}; ratio {:.2} and {:.2}",
        moving.median / alone.median,
        moving.p99 / alone.p99
    );
}

fn position([lon, lat]: [f64; 2]) -> Position {
    Position::new(lat, lon).expect("a place")
}

fn count(index: &FenceIndex, place: [f64; 2]) -> usize {
    let mut count = 0;
    index.version().each_match(&Query::at(position(place)), |_| count += 1);
    count
}

fn ask(places: &[[f64; 2]], took: &mut Vec<Duration>, count: impl Fn([f64; 2]) -> usize) -> usize {
    let mut matches = 0;
    for place in places {
        let begun = Instant::now();
        matches += black_box(count(*place));
        took.push(begun.elapsed());
    }
    matches
}

fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let begun = Instant::now();
    let made = work();
    (made, begun.elapsed())
}

/// Of how long something took, in microseconds.
struct Percentiles {
    median: f64,
    p99: f64,
}

impl Percentiles {
    fn of(mut took: Vec<Duration>) -> Self {
        took.sort_unstable();
        let at = |part: f64| took[((took.len() - 1) as f64 * part) as usize].as_secs_f64() * 1e6;
        Self { median: at(0.5), p99: at(0.99) }
    }
}

impl std::fmt::Display for Percentiles {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.2} / {:.2} µs", self.median, self.p99)
    }
}
