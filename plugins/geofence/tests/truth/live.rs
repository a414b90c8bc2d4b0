//! Live positions against a plain list, and while they move.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use proptest::prelude::*;
use tidings_geofence::index::OwnerId;
use tidings_geofence::live::{LivePosition, LivePositions, Pace, Settings};

use crate::brute::{self, angle, away, vector};
use crate::world::{place, position};

const RADIUS: f64 = 6_371_008.8;

fn second(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

fn live() -> LivePositions {
    let pace = Pace { every: Duration::ZERO, burst: 1 };
    LivePositions::new(Settings { lifetime: Duration::from_secs(100), pace, most: 1_000_000 })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn who_reaches_a_place_is_who_is_no_farther_than_their_radius(
        moves in prop::collection::vec((0u32..20, place(), 0.0..1.0f64, 0i64..3), 1..80),
        near in prop::collection::vec((0usize..80, 0.0..6.3f64, 0.0..1.2f64), 20),
    ) {
        let live = live();
        let mut model: BTreeMap<u32, ([f64; 2], f64, i64)> = BTreeMap::new();
        let mut now = 0;
        for &(owner, place, magnitude, waits) in &moves {
            now += waits * 10;
            let radius = 500_000f64.powf(magnitude).max(1.0);
            let here = LivePosition { at: position(place), radius, time: second(now) };
            live.update(OwnerId(owner), here, second(now)).unwrap();
            model.insert(owner, (place, radius, now));
            if waits == 2 {
                live.sweep(second(now));
            }
        }
        for (which, bearing, part) in near {
            let (_, place, magnitude, _) = moves[which % moves.len()];
            let probe = away(place, bearing, 500_000f64.powf(magnitude) * part / RADIUS);
            let found: Vec<u32> = live.matches(position(probe), second(now)).iter().map(|found| found.owner.0).collect();
            for (&owner, &(place, radius, since)) in &model {
                let distance = angle(vector(place), vector(probe));
                if (distance - radius / RADIUS).abs() < brute::TOO_CLOSE {
                    continue;
                }
                let expected = distance < radius / RADIUS && since + 100 > now;
                prop_assert_eq!(found.contains(&owner), expected, "{} {} {}", owner, distance * RADIUS, radius);
            }
        }
    }
}

/// They move from cell to cell and from size to size all the time, and are never out of reach: whoever asks finds each of
/// them exactly once.
#[test]
fn who_moves_is_found_once_all_the_time() {
    let live = live();
    let middle = [180.0, 52.0];
    let step = |owner: u32, round: u32| {
        let bearing = f64::from(owner * 7 + round * 3);
        let at = position(away(middle, bearing, 3_000.0 / RADIUS));
        let radius = if round.is_multiple_of(3) { 4_000.0 } else { 40_000.0 };
        live.update(OwnerId(owner), LivePosition { at, radius, time: second(0) }, second(0)).unwrap();
    };
    (0..40).for_each(|owner| step(owner, 0));
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let ask = || {
            while !is_over.load(Ordering::Relaxed) {
                let found = live.matches(position(middle), second(0));
                assert!(found.iter().map(|found| found.owner.0).eq(0..40), "{found:?}");
            }
        };
        let askers = [scope.spawn(ask), scope.spawn(ask)];
        for round in 1..1_500 {
            (0..40).for_each(|owner| step(owner, round));
        }
        is_over.store(true, Ordering::Relaxed);
        for asker in askers {
            asker.join().expect("it found everybody");
        }
    });
    assert_eq!(live.len(), 40);
}
