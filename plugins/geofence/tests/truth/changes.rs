//! The index against a plain list, while fences change and trees are rebuilt.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use proptest::prelude::*;
use tidings_geofence::conditions::{ActiveHours, Conditions, Tags};
use tidings_geofence::geometry::{Circle, Edges, Shape};
use tidings_geofence::index::{Change, Fence, FenceId, FenceIndex, Query};

use crate::world::{id, place, polygons, position, star};

/// A plain generator, so that a million fences need no strategy.
struct Random(u64);

impl Random {
    fn below(&mut self, most: f64) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as f64 / (1u64 << 53) as f64 * most
    }

    fn place(&mut self) -> [f64; 2] {
        // A few towns, two of them at odd places.
        let town = [[13.0, 52.0], [180.0, -17.0], [0.0, 89.9], [-70.0, 10.0]][self.below(4.0) as usize];
        [(town[0] + self.below(1.0) + 180.0) % 360.0 - 180.0, (town[1] + self.below(0.5)).min(90.0)]
    }

    fn shape(&mut self) -> Shape {
        let (place, radius) = (self.place(), 300.0 * 50f64.powf(self.below(1.0)));
        if self.below(1.0) < 0.8 {
            return Circle::new(position(place), radius).unwrap().shape();
        }
        let corners: Vec<f64> = (0..6 + self.below(10.0) as usize).map(|_| 0.5 + self.below(0.5)).collect();
        polygons(&[star(place, radius / 6_371_008.8, &corners)], Edges::GreatCircles).shape().clone()
    }
}

fn conditions(number: u32) -> Option<Arc<Conditions>> {
    let words: &[&str] = match number % 4 {
        0 => return None,
        1 => &["plumber"],
        2 => &["plumber", "urgent"],
        _ => &[],
    };
    let hours =
        r#"{"time_zone": "Europe/Berlin", "windows": [{"days": ["mon"], "from": "08:00", "to": "12:00"}]}"#;
    let hours: ActiveHours = serde_json::from_str(hours).unwrap();
    let hours = (number % 4 == 3).then_some(hours);
    Some(Arc::new(Conditions { tags: Tags::new(words).unwrap(), hours }))
}

fn found(index: &FenceIndex, query: &Query) -> Vec<FenceId> {
    let mut found: Vec<FenceId> = index.version().matches(query).iter().map(|found| found.fence).collect();
    found.sort_unstable();
    found
}

fn expected(model: &BTreeMap<FenceId, Shape>, query: &Query) -> Vec<FenceId> {
    model.iter().filter(|(_, shape)| shape.contains(query.at.vector())).map(|(id, _)| *id).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    /// Long enough that every level is merged and the main tree rebuilt several times.
    #[test]
    fn the_index_is_a_list_of_fences_whatever_changes(seed in 1..u64::MAX, first in 0usize..3_000) {
        let mut random = Random(seed);
        let mut model: BTreeMap<FenceId, Shape> = BTreeMap::new();
        let fences: Vec<Fence> = (0..first).map(|_| {
            let id = id(random.below(200.0) as u32, random.below(40.0) as u32);
            Fence { id, shape: random.shape(), conditions: None }
        }).collect();
        model.extend(fences.iter().map(|fence| (fence.id, fence.shape.clone())));
        let index = FenceIndex::new(fences);
        for round in 0..60 {
            let many = [1, 7, 80, 700][random.below(4.0) as usize];
            let changes: Vec<Change> = (0..many).map(|_| {
                let id = id(random.below(200.0) as u32, random.below(40.0) as u32);
                if random.below(1.0) < 0.3 {
                    model.remove(&id);
                    return Change::Remove(id);
                }
                let shape = random.shape();
                model.insert(id, shape.clone());
                Change::Put(Fence { id, shape, conditions: None })
            }).collect();
            index.apply(changes);
            if round % 20 == 19 {
                index.settle();
            }
            prop_assert_eq!(index.version().len(), model.len());
            for _ in 0..4 {
                let query = Query::at(position(random.place()));
                prop_assert_eq!(found(&index, &query), expected(&model, &query));
            }
        }
    }

    /// Over the whole globe: what a list of all would answer, in the order of distances.
    #[test]
    fn the_nearest_are_those_of_a_sorted_list(
        places in prop::collection::vec((place(), 0u32..8), 1..60),
        at in place(),
        k in 0usize..10,
        within in prop::option::of(1e3..1e7f64),
    ) {
        let fences = places.iter().zip(0..).map(|(&(place, owner), number)| {
            let shape = Circle::new(position(place), 5e6).unwrap().shape();
            Fence { id: id(owner, number), shape, conditions: None }
        });
        let index = FenceIndex::new(fences);
        let query = Query { within, ..Query::at(position(at)) };
        let mut nearest: BTreeMap<u32, f64> = BTreeMap::new();
        for &(place, owner) in &places {
            let metres = position(place).distance(position(at));
            if metres <= 5e6 && within.is_none_or(|within| metres <= within) {
                nearest.entry(owner).and_modify(|best| *best = best.min(metres)).or_insert(metres);
            }
        }
        let mut distances: Vec<f64> = nearest.into_values().collect();
        distances.sort_by(f64::total_cmp);
        distances.truncate(k);
        let found: Vec<f64> =
            index.version().nearest_owners(&query, k).iter().map(|found| found.distance()).collect();
        prop_assert_eq!(found.len(), distances.len());
        prop_assert!(found.iter().zip(&distances).all(|(one, other)| (one - other).abs() < 1e-3));
    }
}

#[test]
fn tags_hours_and_distance_narrow_what_is_found() {
    let centre = position([13.0, 52.0]);
    let shape = Circle::new(centre, 5_000.0).unwrap().shape();
    let index = FenceIndex::new((0..4).map(|number| Fence {
        id: id(1, number),
        shape: shape.clone(),
        conditions: conditions(number),
    }));
    let numbers = |query: &Query| found(&index, query).iter().map(|id| id.number).collect::<Vec<_>>();
    let (all, monday_ten, sunday) =
        (Query::at(position([13.01, 52.0])), "2026-11-23T09:00:00Z", "2026-11-22T09:00:00Z");
    assert_eq!(numbers(&all), [0, 1, 2, 3]);
    let tags = |words: &[&str]| Tags::new(words).unwrap();
    assert_eq!(numbers(&Query { all_tags: tags(&["plumber"]), ..all.clone() }), [1, 2]);
    assert_eq!(numbers(&Query { all_tags: tags(&["plumber", "urgent"]), ..all.clone() }), [2]);
    assert_eq!(numbers(&Query { any_tags: tags(&["urgent", "other"]), ..all.clone() }), [2]);
    assert_eq!(numbers(&Query { time: Some(monday_ten.parse().unwrap()), ..all.clone() }), [0, 1, 2, 3]);
    assert_eq!(numbers(&Query { time: Some(sunday.parse().unwrap()), ..all.clone() }), [0, 1, 2]);
    let away = centre.distance(all.at);
    assert_eq!(numbers(&Query { within: Some(away + 0.001), ..all.clone() }).len(), 4);
    assert_eq!(numbers(&Query { within: Some(away - 0.001), ..all }).len(), 0);
}

/// A fence jumps between two places, two others go and come together, while trees are merged and rebuilt: whoever asks
/// finds it in exactly one place, and of the two both or none.
#[test]
fn a_change_is_seen_whole_or_not_at_all() {
    let places = [[10.0, 50.0], [10.5, 50.0]];
    let circle = |id, place| {
        let shape = Circle::new(position(place), 1_000.0).unwrap().shape();
        Fence { id, shape, conditions: None }
    };
    let crowd = (0..20_000).map(|number| circle(id(9, number), [f64::from(number % 300) - 150.0, -60.0]));
    let index = FenceIndex::new(crowd.chain([circle(id(1, 0), places[0])]));
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let ask = || {
            let mut asked = 0;
            while !is_over.load(Ordering::Relaxed) {
                let version = index.version();
                let at = |place, number| {
                    let found = version.matches(&Query::at(position(place)));
                    found.iter().filter(|found| found.fence == id(1, number)).count()
                };
                assert_eq!(at(places[0], 0) + at(places[1], 0), 1);
                assert_eq!(at(places[0], 1), at(places[1], 2));
                assert_eq!(version.shape(id(1, 1)).is_some(), version.shape(id(1, 2)).is_some());
                asked += 1;
            }
            asked
        };
        let askers = [scope.spawn(ask), scope.spawn(ask)];
        let change = || {
            for round in 0..4_000u32 {
                let place = places[(round % 2) as usize];
                let pair = |number, place| match round % 4 {
                    0 | 1 => Change::Put(circle(id(1, number), place)),
                    _ => Change::Remove(id(1, number)),
                };
                let other = Change::Put(circle(id(8, round), [f64::from(round % 90), 60.0]));
                index.apply([
                    pair(1, places[0]),
                    Change::Put(circle(id(1, 0), place)),
                    other,
                    pair(2, places[1]),
                ]);
            }
        };
        change();
        is_over.store(true, Ordering::Relaxed);
        for asker in askers {
            assert!(asker.join().expect("it found what it should") > 0);
        }
    });
    index.settle();
    assert_eq!(index.version().len(), 20_000 + 1 + 4_000);
}
