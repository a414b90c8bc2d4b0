//! Polygons with edges that are straight in latitude and longitude, against the plain plane of both.

use proptest::prelude::*;
use tidings_geofence::geometry::Edges;

use crate::world::{polygon, position};

/// Whether a point of the plane is inside a ring, by the edges to its right.
fn is_inside(ring: &[[f64; 2]], [x, y]: [f64; 2]) -> bool {
    let crosses = |edge: &&[[f64; 2]]| {
        let ([x1, y1], [x2, y2]) = (edge[0], edge[1]);
        (y1 > y) != (y2 > y) && x < x1 + (y - y1) / (y2 - y1) * (x2 - x1)
    };
    ring.windows(2).filter(crosses).count() % 2 == 1
}

/// Whether a point may be within so many metres of an edge: as near in the plane, where degrees of longitude are as short as
/// at the latitude of the point and a little nearer to the pole.
fn is_near(ring: &[[f64; 2]], [x, y]: [f64; 2], metres: f64) -> bool {
    let shortest = (y.abs() + 0.1).min(89.999).to_radians().cos();
    let degrees = (metres / 6_371_008.8 / shortest).to_degrees();
    ring.windows(2).any(|edge| {
        let ([x1, y1], [x2, y2]) = (edge[0], edge[1]);
        let (along_x, along_y) = (x2 - x1, y2 - y1);
        let part = ((x - x1) * along_x + (y - y1) * along_y) / (along_x * along_x + along_y * along_y);
        let part = part.clamp(0.0, 1.0);
        (x1 + along_x * part - x).hypot(y1 + along_y * part - y) < degrees
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(80))]

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
            if is_near(&ring, point, 1.1) {
                continue;
            }
            let place = position([wrap(point[0]), point[1]]).vector();
            prop_assert_eq!(checked.shape().contains(place), is_inside(&ring, point), "{:?}", point);
        }
    }
}
