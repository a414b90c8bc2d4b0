//! Random fences and places over the whole globe, the poles and the antimeridian more often than chance has them.

use proptest::prelude::*;
use tidings_geofence::Position;
use tidings_geofence::geometry::{Edges, Polygon, Polygons, Ring, Vertex};
use tidings_geofence::index::{FenceId, OwnerId};

use crate::brute::away;

/// A place, longitude first.
pub(crate) fn place() -> impl Strategy<Value = [f64; 2]> {
    prop_oneof![
        // Evenly over the sphere.
        3 => (-1.0..1.0f64, -180.0..180.0f64).prop_map(|(sine, lon)| [lon, sine.asin().to_degrees()]),
        1 => (-60.0..60.0f64, -0.5..0.5f64).prop_map(|(lat, lon)| [if lon < 0.0 { lon + 180.0 } else { lon - 180.0 }, lat]),
        1 => (89.0..90.0f64, -180.0..180.0f64, any::<bool>())
            .prop_map(|(lat, lon, is_south)| [lon, if is_south { -lat } else { lat }]),
        1 => prop_oneof![
            Just([0.0, 90.0]), Just([0.0, -90.0]), Just([180.0, 0.0]), Just([-180.0, 45.0]), Just([0.0, 0.0]),
        ],
    ]
}

/// A radius in radians: 10 m to 4,000 km, each magnitude as likely.
pub(crate) fn reach() -> impl Strategy<Value = f64> {
    (10f64.ln()..4e6f64.ln()).prop_map(|magnitude| magnitude.exp() / 6_371_008.8)
}

/// A ring around a place that does not cross itself: corners in the order of their directions.
pub(crate) fn star(middle: [f64; 2], reach: f64, corners: &[f64]) -> Vec<[f64; 2]> {
    let turn = std::f64::consts::TAU / corners.len() as f64;
    let mut ring: Vec<[f64; 2]> = corners
        .iter()
        .enumerate()
        .map(|(at, part)| away(middle, -(at as f64 * turn), reach * part))
        .collect();
    ring.push(ring[0]);
    ring
}

/// The rings of a polygon around a place, which is in its hole if it has one.
pub(crate) fn rings() -> impl Strategy<Value = ([f64; 2], f64, Vec<Vec<[f64; 2]>>)> {
    let corners = || prop::collection::vec(0.5..1.0f64, 6..40);
    let hole = prop::option::weighted(0.3, prop::collection::vec(0.1..0.3f64, 5..12));
    (place(), reach(), corners(), hole).prop_map(|(middle, reach, corners, hole)| {
        let mut rings = vec![star(middle, reach, &corners)];
        rings.extend(hole.map(|corners| star(middle, reach, &corners)));
        (middle, reach, rings)
    })
}

pub(crate) fn polygon(rings: &[Vec<[f64; 2]>]) -> Polygon {
    let ring =
        |ring: &Vec<[f64; 2]>| -> Ring { ring.iter().map(|&[lon, lat]| Vertex { lon, lat }).collect() };
    Polygon { rings: rings.iter().map(ring).collect() }
}

pub(crate) fn polygons(rings: &[Vec<[f64; 2]>], edges: Edges) -> Polygons {
    Polygons::new(vec![polygon(rings)], edges, |_, ring| format!("[{ring}]")).expect("a polygon")
}

pub(crate) fn position([lon, lat]: [f64; 2]) -> Position {
    Position::new(lat, lon).expect("a position")
}

pub(crate) fn id(owner: u32, number: u32) -> FenceId {
    FenceId { owner: OwnerId(owner), number }
}
