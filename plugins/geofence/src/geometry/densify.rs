//! Edges of rings as great circles: those that are straight in latitude and longitude get more positions, so that the
//! great circles between them are never farther away than the tolerance.

use super::polygon::Edges;
use super::ring::{Corner, Vertex};
use crate::limits::{EDGE_TOLERANCE, MAX_DENSE_VERTICES};
use crate::sphere::{EARTH_RADIUS, Vector};

/// A place of a ring, and the index in the input of the position that its edge begins at.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step {
    pub(super) place: Vector,
    pub(super) index: usize,
}

/// The places of a ring whose edges are great circles, added to `steps`; `None` if they are too many with those there are
/// `already` in other rings.
pub(super) fn densify(corners: &[Corner], edges: Edges, already: usize, steps: &mut Vec<Step>) -> Option<()> {
    for (at, corner) in corners.iter().enumerate() {
        let start = corner.vertex;
        let next = corners[(at + 1) % corners.len()].vertex;
        let mut add = |place| {
            steps.push(Step { place, index: corner.index });
            (already + steps.len() <= MAX_DENSE_VERTICES).then_some(())
        };
        add(start.vector())?;
        if edges == Edges::Straight {
            let end = Vertex { lon: start.lon + start.eastward(next), lat: next.lat };
            split(start, end, &mut add)?;
        }
    }
    Some(())
}

/// Adds what must lie between two positions, in order.
fn split(start: Vertex, end: Vertex, add: &mut impl FnMut(Vector) -> Option<()>) -> Option<()> {
    if is_near_great_circle(start, end) {
        return Some(());
    }
    let middle = between(start, end, 0.5);
    split(start, middle, add)?;
    add(middle.vector())?;
    split(middle, end, add)
}

fn is_near_great_circle(start: Vertex, end: Vertex) -> bool {
    // A meridian and the equator are great circles, if not too long to have one way only.
    if start.lon == end.lon || (start.lat == 0.0 && end.lat == 0.0 && (end.lon - start.lon).abs() < 90.0) {
        return true;
    }
    if (end.lon - start.lon).abs() > 45.0 {
        return false;
    }
    let Some(normal) = start.vector().cross(end.vector()).normalized() else {
        return true; // millimetres
    };
    // Not the middle alone: an edge across the equator is on its great circle there, and bends both ways. Then it is
    // farthest away at 0.21, by 3 % more than at a quarter.
    let tolerance = 0.95 * EDGE_TOLERANCE / EARTH_RADIUS;
    [0.25, 0.5, 0.75].iter().all(|&part| between(start, end, part).vector().dot(normal).abs() <= tolerance)
}

fn between(start: Vertex, end: Vertex, part: f64) -> Vertex {
    Vertex { lon: start.lon + (end.lon - start.lon) * part, lat: start.lat + (end.lat - start.lat) * part }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps_between(start: [f64; 2], end: [f64; 2]) -> Option<Vec<Vector>> {
        let mut steps = Vec::new();
        let vertex = |[lon, lat]: [f64; 2]| Vertex { lon, lat };
        split(vertex(start), vertex(end), &mut |place| {
            steps.push(place);
            (steps.len() < 100_000).then_some(())
        })?;
        Some(steps)
    }

    #[test]
    fn a_straight_edge_is_nowhere_farther_from_its_great_circles_than_the_tolerance() {
        let edges = [
            ([0.0, 60.0], [30.0, 60.0]),
            ([-10.0, -40.0], [10.0, 40.0]),
            ([0.0, 89.0], [170.0, 89.9]),
            ([179.0, -5.0], [181.0, 70.0]),
            ([13.0, 52.0], [13.4, 52.1]),
        ];
        for (start, end) in edges {
            let vertex = |[lon, lat]: [f64; 2]| Vertex { lon, lat };
            let (from, to) = (vertex(start), vertex(end));
            let mut places = vec![from.vector()];
            places.extend(steps_between(start, end).unwrap());
            places.push(to.vector());
            for tick in 0..=5_000 {
                let place = between(from, to, f64::from(tick) / 5_000.0).vector();
                let away = places.windows(2).map(|edge| super::super::shape::to_arc(place, edge[0], edge[1]));
                let away = away.fold(f64::INFINITY, f64::min);
                assert!(away <= EDGE_TOLERANCE, "{start:?} {end:?} {tick}: {away}");
            }
        }
    }

    #[test]
    fn what_is_a_great_circle_already_stays() {
        for (start, end) in
            [([5.0, -60.0], [5.0, 60.0]), ([0.0, 0.0], [40.0, 0.0]), ([9.0, 50.0], [9.01, 50.0])]
        {
            assert_eq!(steps_between(start, end).unwrap().len(), 0);
        }
    }
}
