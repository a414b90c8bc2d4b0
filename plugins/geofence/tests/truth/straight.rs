//! Polygons with edges that are straight in latitude and longitude, against the plain plane of both.

use proptest::prelude::*;
use tidings_geofence::geometry::Edges;

use crate::brute::vector;
use crate::world::{polygon, position};

/// Whether a point of the plane is inside a ring, by the edges to its right.
fn is_inside(ring: &[[f64; 2]], [x, y]: [f64; 2]) -> bool {
    let crosses = |edge: &&[[f64; 2]]| {
        let ([x1, y1], [x2, y2]) = (edge[0].into(), edge[1].into());
        let (x1, y1, x2, y2): (f64, f64, f64, f64) = (x1, y1, x2, y2);
        (y1 > y) != (y2 > y) && x < x1 + (y - y1) / (y2 - y1) * (x2 - x1)
    };
    ring.windows(2).filter(crosses).count() % 2 == 1
}

/// Whether a point is within about so many metres of an edge: points of the edge in steps of a thousandth.
fn is_near(ring: &[[f64; 2]], point: [f64; 2], metres: f64) -> bool {
    let at = vector(point);
    ring.windows(2).any(|edge| {
        let [from, to] = [edge[0], edge[1]];
        let on = |part: f64| vector([from[0] + (to[0] - from[0]) * part, from[1] + (to[1] - from[1]) * part]);
        let apart = |a: [f64; 3], b: [f64; 3]| {
            ((a[0] - b[0]).powi(2) + (a[1] - b[1]).powi(2) + (a[2] - b[2]).powi(2)).sqrt()
        };
        (0..1_000).any(|step| {
            let (one, other) = (on(f64::from(step) / 1e3), on(f64::from(step + 1) / 1e3));
            apart(at, one).min(apart(at, other)) < metres / 6_371_008.8 + apart(one, other)
        })
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    /// Rings anywhere between 89.5° north and south, up to 60° wide, written with longitudes that go on beyond 180° or that
    /// jump.
    #[test]
    fn a_polygon_holds_what_it_holds_in_the_plane(
        (lon, lat) in (-180.0..180.0f64, -70.0..70.0f64),
        (width, height) in (0.01..30.0f64, 0.01..19.5f64),
        corners in prop::collection::vec(0.4..1.0f64, 5..12),
        jumps in any::<bool>(),
        points in prop::collection::vec((-1.2..1.2f64, -1.2..1.2f64), 40),
    ) {
        let turn = std::f64::consts::TAU / corners.len() as f64;
        let mut ring: Vec<[f64; 2]> = corners.iter().enumerate().map(|(at, part)| {
            let (sin, cos) = (at as f64 * turn).sin_cos();
            [lon + cos * part * width, lat + sin * part * height]
        }).collect();
        ring.push(ring[0]);
        let wrap = |lon: f64| (lon + 180.0).rem_euclid(360.0) - 180.0;
        let written: Vec<[f64; 2]> =
            ring.iter().map(|&[lon, lat]| [if jumps { wrap(lon) } else { lon }, lat]).collect();
        let checked = tidings_geofence::geometry::Polygons::new(
            vec![polygon(&[written])], Edges::Straight, |_, _| String::new(),
        ).unwrap();
        for (x, y) in points {
            let point = [lon + x * width, (lat + y * height).clamp(-90.0, 90.0)];
            if is_near(&ring, point, 1.0) {
                continue;
            }
            let place = position([wrap(point[0]), point[1]]).vector();
            prop_assert_eq!(checked.shape().contains(place), is_inside(&ring, point), "{:?}", point);
        }
    }
}
