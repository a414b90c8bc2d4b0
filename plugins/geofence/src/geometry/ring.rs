//! Rings as they are given: positions whose last is the first, in degrees.
//!
//! A longitude may go on beyond 180°, or jump from one side to the other: an edge goes the way its longitudes say, and the
//! short way round if they are more than 180° apart. But a ring that goes to a pole and back where a flat map ends, at 180°
//! and −180° or the like, is as the map shows it: there a straight edge may go 360°, once round, and none between.

use super::polygon::Edges;
use crate::invalid::{Invalid, Reason};
use crate::position::{check_latitude, check_longitude};
use crate::sphere::Vector;

/// How far a longitude of a ring may go on: once round and no more.
const MAX_LONGITUDE: f64 = 360.0;

/// A position of a ring.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Vertex {
    /// The longitude in degrees, −360 to 360.
    pub lon: f64,
    /// The latitude in degrees, −90 to 90.
    pub lat: f64,
}

impl Vertex {
    /// Its unit vector.
    pub(super) fn vector(self) -> Vector {
        Vector::from_degrees(self.lat, self.lon)
    }

    /// How many degrees of longitude an edge from here goes.
    pub(super) fn eastward(self, to: Self) -> f64 {
        let mut degrees = to.lon - self.lon;
        while degrees > 180.0 {
            degrees -= 360.0;
        }
        while degrees < -180.0 {
            degrees += 360.0;
        }
        degrees
    }

    fn is_pole(self) -> bool {
        self.lat.abs() == 90.0
    }
}

/// The positions of a ring, the first again at the end.
pub type Ring = Vec<Vertex>;

/// A corner of a ring: a position that differs from the one before it, and its index in the input.
#[derive(Clone, Copy, Debug)]
pub(super) struct Corner {
    pub(super) vertex: Vertex,
    pub(super) index: usize,
}

/// The corners of a ring, the last of which is not the first again. Leaves out what stays where it was, and the way to a
/// pole and back along one meridian, which a flat map needs and the sphere does not.
///
/// # Errors
/// A position that is none, a ring that is not closed or has too few corners, an edge that goes too far round a pole.
pub(super) fn corners(ring: &[Vertex], edges: Edges, place: &str) -> Result<Vec<Corner>, Invalid> {
    for (index, vertex) in ring.iter().enumerate() {
        let at = |axis: u8, reason| Invalid::at(format!("{place}[{index}][{axis}]"), reason);
        check_longitude(vertex.lon, MAX_LONGITUDE).map_err(|reason| at(0, reason))?;
        check_latitude(vertex.lat).map_err(|reason| at(1, reason))?;
    }
    let different = |count| Invalid::at(place, Reason::TooFewPositions(count));
    let (Some(first), Some(last)) = (ring.first(), ring.last()) else { return Err(different(0)) };
    if first.vector() != last.vector() {
        return Err(Invalid::at(place, Reason::NotClosed));
    }
    let mut corners: Vec<Corner> =
        ring.iter().enumerate().map(|(index, &vertex)| Corner { vertex, index }).collect();
    if is_cut_at_a_pole(ring) {
        corners = with_ways_round(&corners, edges).map_err(|(index, degrees)| {
            Invalid::at(format!("{place}[{index}]"), Reason::FarRound(degrees))
        })?;
    }
    remove_what_stays(&mut corners);
    remove_way_to_a_pole_and_back(&mut corners);
    remove_what_stays(&mut corners);
    if corners.len() < 3 || ring.len() < 4 {
        return Err(different(corners.len()));
    }
    Ok(corners)
}

/// Whether a ring goes to a pole at the one end of a flat map and comes back at the other.
fn is_cut_at_a_pole(ring: &[Vertex]) -> bool {
    let ring = &ring[..ring.len() - 1];
    let Some(start) = ring.iter().position(|vertex| !vertex.is_pole()) else { return false };
    let (mut before, mut was_pole) = (ring[start], false);
    // Once round, from what is not at a pole to itself.
    for &vertex in ring[start..].iter().chain(&ring[..=start]) {
        if vertex.is_pole() {
            was_pole = true;
            continue;
        }
        if was_pole && before.lon != vertex.lon && are_on_a_meridian(before, vertex) {
            return true;
        }
        (before, was_pole) = (vertex, false);
    }
    false
}

/// The corners of a ring that is as a flat map shows it, with corners between those that are once round apart: on the
/// sphere, they are on one meridian. Or else the index of an edge that goes too far, and how many degrees that is.
fn with_ways_round(corners: &[Corner], edges: Edges) -> Result<Vec<Corner>, (usize, f64)> {
    let mut all = Vec::with_capacity(corners.len() + 2);
    for pair in corners.windows(2) {
        let (start, end) = (pair[0].vertex, pair[1].vertex);
        all.push(pair[0]);
        let degrees = end.lon - start.lon;
        if start.is_pole() || end.is_pole() || degrees.abs() <= 180.0 {
            continue;
        }
        if degrees.abs() != 360.0 || edges == Edges::GreatCircles {
            return Err((pair[0].index, degrees.abs()));
        }
        for part in [1.0 / 3.0, 2.0 / 3.0] {
            let lat = start.lat + (end.lat - start.lat) * part;
            all.push(Corner {
                vertex: Vertex { lon: start.lon + degrees * part, lat },
                index: pair[0].index,
            });
        }
    }
    all.extend(corners.last());
    Ok(all)
}

/// Leaves one of neighbours that are at the same place; the last and the first are neighbours.
fn remove_what_stays(corners: &mut Vec<Corner>) {
    let is_same = |one: &Corner, other: &Corner| one.vertex.vector() == other.vertex.vector();
    corners.dedup_by(|next, last| is_same(next, last));
    while let [first, .., last] = corners.as_slice()
        && is_same(first, last)
    {
        corners.pop();
    }
}

fn remove_way_to_a_pole_and_back(corners: &mut Vec<Corner>) {
    let count = corners.len();
    let is_way_back = |at: usize| {
        let (before, after) = (&corners[(at + count - 1) % count], &corners[(at + 1) % count]);
        corners[at].vertex.is_pole() && are_on_a_meridian(before.vertex, after.vertex)
    };
    let Some(pole) = (0..count).find(|&at| count > 3 && is_way_back(at)) else { return };
    // The ends of the way are then the last corner and the first.
    corners.rotate_left((pole + 1) % count);
    corners.pop();
    while let [first, second, .., before_last, last] = corners.as_slice()
        && are_on_a_meridian(first.vertex, last.vertex)
    {
        let from_pole = |corner: &Corner| 90.0 - corner.vertex.lat.abs();
        if first.vertex.vector() == last.vertex.vector() {
            corners.remove(0);
        // An end is a true corner if the ring comes to it from elsewhere; else it is a point on the way.
        } else if from_pole(first) < from_pole(last) && are_on_a_meridian(first.vertex, second.vertex) {
            corners.remove(0);
        } else if from_pole(last) < from_pole(first) && are_on_a_meridian(last.vertex, before_last.vertex) {
            corners.pop();
        } else {
            return;
        }
    }
}

fn are_on_a_meridian(one: Vertex, other: Vertex) -> bool {
    one.lon.rem_euclid(360.0) == other.lon.rem_euclid(360.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ring(positions: &[[f64; 2]]) -> Ring {
        positions.iter().map(|&[lon, lat]| Vertex { lon, lat }).collect()
    }

    #[test]
    fn an_edge_goes_the_way_its_longitudes_say_and_the_short_way_beyond_a_half() {
        let eastward = |from, to| Vertex { lon: from, lat: 0.0 }.eastward(Vertex { lon: to, lat: 0.0 });
        assert_eq!(eastward(179.0, 181.0), 2.0);
        assert_eq!(eastward(179.0, -179.0), 2.0);
        assert_eq!(eastward(-179.0, 179.0), -2.0);
        assert_eq!(eastward(-180.0, 0.0), 180.0);
        assert_eq!(eastward(0.0, -180.0), -180.0);
        assert_eq!(eastward(-360.0, 360.0), 0.0);
    }

    #[test]
    fn the_slit_of_a_polar_cap_is_left_out() {
        let cap = ring(&[
            [-180.0, 80.0],
            [-60.0, 80.0],
            [60.0, 80.0],
            [180.0, 80.0],
            [180.0, 90.0],
            [-180.0, 90.0],
            [-180.0, 80.0],
        ]);
        let indexes: Vec<usize> =
            corners(&cap, Edges::Straight, "").unwrap().iter().map(|corner| corner.index).collect();
        assert_eq!(indexes, [1, 2, 3]);
        let uneven = ring(&[
            [-180.0, -84.0],
            [-180.0, -90.0],
            [180.0, -90.0],
            [180.0, -80.0],
            [60.0, -80.0],
            [-60.0, -80.0],
            [-180.0, -80.0],
            [-180.0, -84.0],
        ]);
        assert_eq!(corners(&uneven, Edges::Straight, "").unwrap().len(), 3);
    }

    #[test]
    fn of_the_ends_of_a_slit_the_true_corners_stay() {
        let kept = |positions: &[[f64; 2]]| -> Vec<[f64; 2]> {
            let kept = corners(&ring(positions), Edges::Straight, "").unwrap();
            kept.iter().map(|corner| [corner.vertex.lon, corner.vertex.lat]).collect()
        };
        let uneven = [
            [-120.0, -85.0],
            [-180.0, -84.0],
            [-180.0, -90.0],
            [180.0, -90.0],
            [180.0, -80.0],
            [60.0, -80.0],
            [-120.0, -85.0],
        ];
        let mut turned = uneven;
        turned.reverse();
        for positions in [uneven, turned] {
            let mut kept = kept(&positions);
            kept.sort_by(|one, other| one[0].total_cmp(&other[0]));
            assert_eq!(kept, [[-180.0, -84.0], [-120.0, -85.0], [60.0, -80.0], [180.0, -80.0]]);
        }
        let points_between = [
            [180.0, 80.0],
            [180.0, 85.0],
            [180.0, 90.0],
            [-180.0, 90.0],
            [-180.0, 85.0],
            [-180.0, 80.0],
            [-60.0, 80.0],
            [60.0, 80.0],
            [180.0, 80.0],
        ];
        let mut kept = kept(&points_between);
        kept.sort_by(|one, other| one[0].total_cmp(&other[0]));
        assert_eq!(kept, [[-60.0, 80.0], [60.0, 80.0], [180.0, 80.0]]);
    }

    #[test]
    fn rings_that_are_none_are_refused_with_the_place() {
        let refused = |positions: &[[f64; 2]]| {
            corners(&ring(positions), Edges::Straight, "coordinates[0]").unwrap_err().to_string()
        };
        assert_eq!(
            refused(&[[0.0, 0.0], [1.0, 0.0], [1.0, 95.0], [0.0, 0.0]]),
            "coordinates[0][2][1]: latitude 95 is beyond 90"
        );
        assert_eq!(
            refused(&[[0.0, 0.0], [400.0, 0.0], [1.0, 1.0], [0.0, 0.0]]),
            "coordinates[0][1][0]: longitude 400 is beyond 360"
        );
        assert!(refused(&[[0.0, 0.0], [1.0, 0.0], [1.0, 1.0]]).contains("not closed"));
        assert!(refused(&[[0.0, 0.0], [1.0, 0.0], [0.0, 0.0]]).contains("three different"));
        assert!(refused(&[[0.0, 0.0], [0.0, 0.0], [1.0, 0.0], [0.0, 0.0]]).ends_with("got 2"));
        assert!(refused(&[]).ends_with("got 0"));
        assert!(refused(&[[f64::NAN, 0.0]]).contains("not finite"));
    }
}
