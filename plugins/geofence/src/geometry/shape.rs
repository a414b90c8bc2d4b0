//! What a fence encloses, as it is asked for every point: a centre, how far it reaches, and an outline if it is no circle.

use std::sync::Arc;

use super::Outline;
use super::plane::Plane;
use crate::sphere::{Vector, chord_of_metres, metres_of_chord2};

/// What rounding may take from a chord: 2 nm. So a circle includes what is as far away as its radius.
const ROUNDING: f64 = 3e-16;

/// What an area encloses. Cheap to clone.
#[derive(Clone, Debug, PartialEq)]
pub struct Shape {
    pub(crate) centre: Vector,
    /// The square of the longest chord from the centre to the boundary.
    pub(crate) reach: f64,
    /// None for a circle.
    pub(crate) outline: Option<Arc<Outline>>,
}

impl Shape {
    /// All within a distance of a centre, in metres.
    pub(crate) fn circle(centre: Vector, radius: f64) -> Self {
        Self { centre, reach: (chord_of_metres(radius) + ROUNDING).powi(2), outline: None }
    }

    /// All inside an outline, in the plane at the centre.
    pub(super) fn outlined(centre: Vector, reach: f64, outline: Outline) -> Self {
        Self { centre, reach: (reach.sqrt() + ROUNDING).powi(2), outline: Some(Arc::new(outline)) }
    }

    /// Its centre: a circle's own, or the centroid of polygons.
    #[must_use]
    pub fn centre(&self) -> Vector {
        self.centre
    }

    /// The square of the longest chord from the centre to the boundary.
    #[must_use]
    pub fn reach(&self) -> f64 {
        self.reach
    }

    /// Whether a place is inside or on the boundary.
    #[must_use]
    pub fn contains(&self, place: Vector) -> bool {
        let chord2 = self.centre.chord2(place);
        chord2 <= self.reach
            && self.outline.as_ref().is_none_or(|outline| is_within(outline, self.centre, place, chord2))
    }

    /// The distance to a place in metres along the great circle; 0 inside.
    #[must_use]
    pub fn distance(&self, place: Vector) -> f64 {
        if self.contains(place) {
            return 0.0;
        }
        let Some(outline) = &self.outline else {
            return self.centre.distance(place) - metres_of_chord2(self.reach);
        };
        let plane = Plane::at(self.centre);
        let edges = outline.edges();
        let distances = edges.map(|(start, end)| to_arc(place, plane.unproject(start), plane.unproject(end)));
        distances.fold(f64::INFINITY, f64::min)
    }
}

/// Whether a place within the reach of an outline, and so less than 90° from its centre, is inside it.
pub(crate) fn is_within(outline: &Outline, centre: Vector, place: Vector, chord2: f64) -> bool {
    chord2 < outline.surely_inside || outline.contains(Plane::at(centre).project(place))
}

/// The distance in metres from a place to an arc of a great circle.
pub(super) fn to_arc(place: Vector, start: Vector, end: Vector) -> f64 {
    let to_ends = start.distance(place).min(end.distance(place));
    // Twice the middle of the ends, crossed with what is between them: exact for short arcs, too.
    let Some(normal) = (start + end).cross(end - start).normalized() else { return to_ends };
    let is_beside = normal.cross(start).dot(place) > 0.0 && end.cross(normal).dot(place) > 0.0;
    if !is_beside {
        return to_ends;
    }
    // The chord to the nearest place of the great circle.
    let sine = place.dot(normal);
    metres_of_chord2(2.0 * sine * sine / (1.0 + (1.0 - sine * sine).max(0.0).sqrt())).min(to_ends)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_distance_to_an_arc_is_that_to_its_nearest_place() {
        let at = Vector::from_degrees;
        let (start, end) = (at(0.0, -10.0), at(0.0, 10.0));
        let degree = crate::sphere::EARTH_RADIUS.to_radians();
        assert!((to_arc(at(3.0, 5.0), start, end) - 3.0 * degree).abs() < 1e-6);
        assert!((to_arc(at(-3.0, 5.0), start, end) - 3.0 * degree).abs() < 1e-6);
        assert!((to_arc(at(0.0, 12.0), start, end) - 2.0 * degree).abs() < 1e-6);
        assert!((to_arc(at(0.0, 172.0), start, end) - 162.0 * degree).abs() < 1e-6);
        let (near, far) = (at(50.0, 8.0), at(50.000_000_1, 8.0));
        assert!((to_arc(at(50.0, 8.000_01), near, far) - near.distance(at(50.0, 8.000_01))).abs() < 1e-6);
        assert!(to_arc(start, start, end) < 1e-8);
    }
}
