//! The rings of polygons in the plane at their centre, packed, and whether a point is inside.
//!
//! geo decides the same by `coord_pos_relative_to_ring`, with the same exact predicate, for rings that are allocations of
//! their own (521 bytes for a polygon of 24 corners on the average, where this takes 430); the tests compare both.

use geo::Coord;
use geo::kernels::{Kernel, Orientation, RobustKernel};
use smallvec::SmallVec;

/// Where a ring ends, and what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RingEnd {
    /// The index after its last point.
    end: u32,
    is_hole: bool,
}

/// The rings of one polygon or several.
#[derive(Debug, PartialEq)]
pub(crate) struct Outline {
    /// The points of all rings, none of them twice.
    points: Box<[Coord<f64>]>,
    /// Each polygon's first ring is followed by its holes.
    rings: SmallVec<[RingEnd; 2]>,
    /// The square of a chord from the centre: what is nearer is inside.
    pub(super) surely_inside: f64,
}

/// Where a point is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Inside,
    Boundary,
    Outside,
}

impl Outline {
    /// An outline of rings, each with whether it is a hole.
    pub(super) fn new(rings: &[(bool, Vec<Coord<f64>>)]) -> Self {
        let mut points = Vec::with_capacity(rings.iter().map(|(_, ring)| ring.len()).sum());
        let mut ends = SmallVec::new();
        for (is_hole, ring) in rings {
            points.extend_from_slice(ring);
            ends.push(RingEnd { end: points.len() as u32, is_hole: *is_hole });
        }
        ends.shrink_to_fit();
        let mut outline = Self { points: points.into_boxed_slice(), rings: ends, surely_inside: 0.0 };
        let centre = Coord { x: 0.0, y: 0.0 };
        if outline.contains(centre) {
            let nearest = outline.edges().map(|(start, end)| distance2_of_segment(start, end));
            let angle = nearest.fold(f64::INFINITY, f64::min).sqrt().atan();
            // Less by much more than rounding.
            outline.surely_inside = (2.0 * (angle / 2.0).sin() * (1.0 - 1e-6)).powi(2);
        }
        outline
    }

    /// Whether a point is inside, or on the boundary of any ring.
    pub(super) fn contains(&self, point: Coord<f64>) -> bool {
        let mut is_inside = false;
        for (is_hole, ring) in self.rings() {
            if !is_hole {
                if is_inside {
                    return true;
                }
                is_inside = match side(ring, point) {
                    Side::Boundary => return true,
                    side => side == Side::Inside,
                };
            } else if is_inside {
                is_inside = match side(ring, point) {
                    Side::Boundary => return true,
                    side => side == Side::Outside,
                };
            }
        }
        is_inside
    }

    /// All edges.
    pub(super) fn edges(&self) -> impl Iterator<Item = (Coord<f64>, Coord<f64>)> {
        self.rings().flat_map(|(_, ring)| {
            (0..ring.len()).map(move |at| (ring[at], ring[if at + 1 == ring.len() { 0 } else { at + 1 }]))
        })
    }

    /// How many bytes it takes, without itself.
    pub(crate) fn heap_bytes(&self) -> usize {
        let rings = if self.rings.spilled() { self.rings.capacity() * size_of::<RingEnd>() } else { 0 };
        self.points.len() * size_of::<Coord<f64>>() + rings
    }

    fn rings(&self) -> impl Iterator<Item = (bool, &[Coord<f64>])> {
        let mut start = 0;
        self.rings.iter().map(move |ring| {
            let points = &self.points[start..ring.end as usize];
            start = ring.end as usize;
            (ring.is_hole, points)
        })
    }
}

/// On which side of a ring a point is: by the edges that cross the line to the right of it.
fn side(ring: &[Coord<f64>], point: Coord<f64>) -> Side {
    let Some(&last) = ring.last() else { return Side::Outside };
    let mut start = last;
    let mut is_inside = false;
    for &end in ring {
        let is_up = start.y <= point.y && end.y > point.y;
        let is_down = start.y > point.y && end.y <= point.y;
        if is_up || is_down {
            match turn(start, end, point) {
                0 => return Side::Boundary,
                turn => is_inside ^= (turn > 0) == is_up,
            }
        } else if start.y == point.y && end.y == point.y {
            if (start.x.min(end.x)..=start.x.max(end.x)).contains(&point.x) {
                return Side::Boundary;
            }
        } else if end == point || start == point {
            return Side::Boundary;
        }
        start = end;
    }
    if is_inside { Side::Inside } else { Side::Outside }
}

/// 1 if the point is to the left of an edge, −1 if it is to the right, 0 if it is on its line.
fn turn(start: Coord<f64>, end: Coord<f64>, point: Coord<f64>) -> i8 {
    match RobustKernel::orient2d(start, end, point) {
        Orientation::CounterClockwise => 1,
        Orientation::Clockwise => -1,
        Orientation::Collinear => 0,
    }
}

/// The square of the distance of a segment from the origin.
fn distance2_of_segment(start: Coord<f64>, end: Coord<f64>) -> f64 {
    let along = end - start;
    let length2 = along.x * along.x + along.y * along.y;
    let part = (-(start.x * along.x + start.y * along.y) / length2).clamp(0.0, 1.0);
    let nearest = start + along * part;
    nearest.x * nearest.x + nearest.y * nearest.y
}

#[cfg(test)]
mod tests {
    use geo::coordinate_position::{CoordPos, coord_pos_relative_to_ring};
    use geo::{LineString, coord};
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// On a grid of few points, so that corners, edges and lines through corners are met often.
        #[test]
        fn a_point_is_on_the_side_that_geo_says(
            ring in prop::collection::vec((-4i8..=4, -4i8..=4), 3..12),
            point in (-5i8..=5, -5i8..=5),
        ) {
            let mut points: Vec<Coord<f64>> =
                ring.iter().map(|&(x, y)| coord! { x: f64::from(x), y: f64::from(y) }).collect();
            // In the order of their directions, so that most do not cross themselves.
            let direction = |point: &Coord<f64>| (point.y - 0.2).atan2(point.x - 0.3);
            points.sort_by(|one, other| direction(one).total_cmp(&direction(other)));
            points.dedup();
            prop_assume!(points.len() > 2);
            let mut closed = points.clone();
            closed.push(points[0]);
            prop_assume!(super::super::simple::fault(&points).is_none());
            let point = coord! { x: f64::from(point.0), y: f64::from(point.1) };
            let expected = match coord_pos_relative_to_ring(point, &LineString(closed)) {
                CoordPos::Inside => Side::Inside,
                CoordPos::OnBoundary => Side::Boundary,
                CoordPos::Outside => Side::Outside,
            };
            prop_assert_eq!(side(&points, point), expected);
        }
    }

    #[test]
    fn a_hole_is_outside_and_its_boundary_is_not() {
        let square = |from: f64, to: f64| {
            vec![
                coord! { x: from, y: from },
                coord! { x: to, y: from },
                coord! { x: to, y: to },
                coord! { x: from, y: to },
            ]
        };
        let outline =
            Outline::new(&[(false, square(-4.0, 4.0)), (true, square(-1.0, 1.0)), (false, square(6.0, 8.0))]);
        let contains = |x, y| outline.contains(coord! { x: x, y: y });
        assert!(contains(2.0, 0.0) && contains(7.0, 7.0) && contains(1.0, 0.5) && contains(4.0, 4.0));
        assert!(!contains(0.0, 0.0) && !contains(5.0, 5.0));
        assert_eq!(outline.surely_inside, 0.0);
        let solid = Outline::new(&[(false, square(-0.1, 0.1))]);
        let expected = 2.0 * (0.1f64.atan() / 2.0).sin();
        assert!((solid.surely_inside.sqrt() - expected).abs() < 1e-6);
    }
}
