//! Circles and polygons of great circles against brute force on the sphere.

use proptest::prelude::*;
use tidings_geofence::geometry::{Area, Circle, Edges};

use crate::brute::{self, angle, away, vector};
use crate::world::{place, polygons, position, reach, rings};

/// Asked of every fence: places all around, on its corners, on both sides of its edges, and far away.
fn probes(middle: [f64; 2], reach: f64, rings: &[Vec<[f64; 2]>], random: &[(f64, f64)]) -> Vec<[f64; 2]> {
    let mut probes: Vec<[f64; 2]> =
        random.iter().map(|&(bearing, part)| away(middle, bearing, reach * part)).collect();
    for ring in rings {
        for edge in ring.windows(2) {
            let (a, b) = (vector(edge[0]), vector(edge[1]));
            let between: [f64; 3] = std::array::from_fn(|axis| a[axis] + b[axis]);
            let [x, y, z] = between;
            let half_way = [y.atan2(x).to_degrees(), z.atan2(x.hypot(y)).to_degrees()];
            // From 6 mm to the size of the fence.
            for beside in [2e-9, 1e-7, 1e-2] {
                probes.push(away(half_way, 1.0, beside * reach.max(1.0)));
                probes.push(away(half_way, 4.0, beside * reach));
            }
        }
    }
    probes.extend([[-middle[0], -middle[1]], [0.0, 90.0], [0.0, -90.0], [180.0, middle[1]], middle]);
    probes
}

fn random() -> impl Strategy<Value = Vec<(f64, f64)>> {
    prop::collection::vec((0.0..std::f64::consts::TAU, 0.0..1.3f64), 30)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn a_polygon_holds_what_its_great_circles_wind_around(
        (middle, reach, rings) in rings(),
        random in random(),
    ) {
        let shape = polygons(&rings, Edges::GreatCircles).shape().clone();
        for probe in probes(middle, reach, &rings, &random) {
            if let Some(expected) = brute::holds(&rings, probe) {
                prop_assert_eq!(shape.contains(position(probe).vector()), expected, "{:?}", probe);
            }
        }
    }

    #[test]
    fn the_distance_of_a_polygon_is_that_of_its_nearest_edge(
        (middle, reach, rings) in rings(),
        random in random(),
    ) {
        let shape = polygons(&rings, Edges::GreatCircles).shape().clone();
        for probe in probes(middle, reach, &rings, &random) {
            let Some(is_inside) = brute::holds(&rings, probe) else { continue };
            let place = vector(probe);
            let nearest = rings.iter().map(|ring| {
                brute::to_ring(&ring.iter().map(|&at| vector(at)).collect::<Vec<_>>(), place)
            });
            let expected = if is_inside { 0.0 } else { nearest.fold(f64::INFINITY, f64::min) * 6_371_008.8 };
            let distance = shape.distance(position(probe).vector());
            // Both are less exact near the opposite side of the earth.
            prop_assert!((distance - expected).abs() < 0.01 + expected * 1e-8, "{distance} {expected}");
        }
    }

    #[test]
    fn a_circle_holds_what_is_no_farther_than_its_radius(
        centre in place(),
        reach in reach(),
        random in random(),
    ) {
        let radius = reach * 6_371_008.8;
        let circle = Area::Circle(Circle::new(position(centre), radius).unwrap());
        let near = random.iter().flat_map(|&(bearing, part)| {
            [part, 1.0 - 2e-9 / reach, 1.0 + 2e-9 / reach].map(|part| away(centre, bearing, reach * part))
        });
        for probe in near.chain([[0.0, 90.0], [0.0, -90.0], [180.0, 0.0]]) {
            let away = angle(vector(centre), vector(probe));
            if (away - reach).abs() >= brute::TOO_CLOSE {
                prop_assert_eq!(circle.contains(position(probe)), away < reach, "{} of {}", away, reach);
            }
        }
    }
}
