//! Polygons with holes, as they were given, and how they are checked.

use geo::coordinate_position::CoordPos;
use geo::dimensions::Dimensions;
use geo::{Area as _, BoundingRect, Centroid, Coord, Intersects, LineString, MultiPolygon, Relate};

use super::bounds::{farthest, mean};
use super::densify::{Step, densify};
use super::plane::Plane;
use super::ring::{Ring, corners};
use super::simple::{Fault, fault};
use super::{Outline, Shape};
use crate::invalid::{Invalid, Reason};
use crate::limits::{MAX_RADIUS, MAX_RINGS, MAX_VERTICES, MIN_AREA};
use crate::sphere::{EARTH_RADIUS, Vector, chord_of_metres};

/// What the edges of polygons are between two positions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Edges {
    /// Straight in latitude and longitude, as RFC 7946 has it: an edge between two positions of the same latitude is the
    /// parallel. Taken as great circles that are nowhere farther away than a metre.
    #[default]
    Straight,
    /// Great circles: the shortest way.
    GreatCircles,
}

/// A polygon: its first ring, and holes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Polygon {
    /// The first ring is what the polygon fills, the others are holes.
    pub rings: Vec<Ring>,
}

/// Polygons that are known to be valid. What is inside one of them is inside; they may overlap or touch, as two halves do
/// that were cut at the antimeridian.
#[derive(Clone, Debug, PartialEq)]
pub struct Polygons {
    polygons: Vec<Polygon>,
    edges: Edges,
    shape: Shape,
}

impl Polygons {
    /// Checks polygons. Rings may wind either way; afterwards, the first ring of each winds to the left and holes to the
    /// right, as RFC 7946 wants it. `place` says where polygon and ring are in the input, given their indexes.
    ///
    /// # Errors
    /// What is wrong with them, and where.
    pub fn new(
        polygons: Vec<Polygon>,
        edges: Edges,
        place: impl Fn(usize, usize) -> String,
    ) -> Result<Self, Invalid> {
        check_size(&polygons, &place)?;
        let steps = steps(&polygons, edges, &place)?;
        let first = middle(&steps).ok_or(Invalid::at("", Reason::TooLarge))?;
        let drawn = draw(&steps, &Plane::at(first));
        let mut polygons = polygons;
        for (polygon, rings) in drawn.iter().enumerate() {
            check_rings(rings, &steps[polygon], |ring| place(polygon, ring))?;
            wind(&mut polygons[polygon], rings);
        }
        let shape = shape(&steps, &drawn, &Plane::at(first)).ok_or(Invalid::at("", Reason::TooLarge))?;
        Ok(Self { polygons, edges, shape })
    }

    /// The polygons as they were given, but for the winding of their rings.
    #[must_use]
    pub fn polygons(&self) -> &[Polygon] {
        &self.polygons
    }

    /// What their edges are.
    #[must_use]
    pub fn edges(&self) -> Edges {
        self.edges
    }

    /// What answers whether a place is inside.
    #[must_use]
    pub fn shape(&self) -> &Shape {
        &self.shape
    }
}

/// The places of every ring of every polygon.
type Steps = Vec<Vec<Vec<Step>>>;

fn check_size(polygons: &[Polygon], place: &impl Fn(usize, usize) -> String) -> Result<(), Invalid> {
    if polygons.is_empty() {
        return Err(Invalid::at("", Reason::Empty));
    }
    if let Some(empty) = polygons.iter().position(|polygon| polygon.rings.is_empty()) {
        return Err(Invalid::at(place(empty, 0), Reason::Empty));
    }
    let rings = || polygons.iter().flat_map(|polygon| &polygon.rings);
    let (count, vertices) = (rings().count(), rings().map(Vec::len).sum());
    if count > MAX_RINGS {
        return Err(Invalid::at("", Reason::TooManyRings(count)));
    }
    if vertices > MAX_VERTICES {
        return Err(Invalid::at("", Reason::TooManyPositions(vertices)));
    }
    Ok(())
}

fn steps(
    polygons: &[Polygon],
    edges: Edges,
    place: &impl Fn(usize, usize) -> String,
) -> Result<Steps, Invalid> {
    let mut count = 0;
    let mut steps = Vec::with_capacity(polygons.len());
    for (at, polygon) in polygons.iter().enumerate() {
        let mut rings = Vec::with_capacity(polygon.rings.len());
        for (index, ring) in polygon.rings.iter().enumerate() {
            let place = || place(at, index);
            let corners = corners(ring, edges, &place())?;
            let mut dense = Vec::with_capacity(corners.len());
            let too_many = || Invalid::at(place(), Reason::TooManyDensePositions);
            densify(&corners, edges, count, &mut dense).ok_or_else(too_many)?;
            count += dense.len();
            rings.push(dense);
        }
        steps.push(rings);
    }
    Ok(steps)
}

fn places(steps: &Steps) -> impl Iterator<Item = Vector> {
    steps.iter().flatten().flatten().map(|step| step.place)
}

/// A middle from which all can be seen well enough to be judged.
fn middle(steps: &Steps) -> Option<Vector> {
    let middle = mean(places(steps))?;
    // The mean may be off the centre by more than half of the reach; beyond 80° nothing is judged.
    (farthest(middle, places(steps)) < (2.0 * 40f64.to_radians().sin()).powi(2)).then_some(middle)
}

/// The rings of each polygon in a plane, each closed.
fn draw(steps: &Steps, plane: &Plane) -> Vec<Vec<LineString<f64>>> {
    let ring = |ring: &Vec<Step>| {
        let mut points: Vec<Coord<f64>> = ring.iter().map(|step| plane.project(step.place)).collect();
        points.extend(points.first().copied());
        LineString(points)
    };
    steps.iter().map(|rings| rings.iter().map(ring).collect()).collect()
}

fn check_rings(
    rings: &[LineString<f64>],
    steps: &[Vec<Step>],
    place: impl Fn(usize) -> String,
) -> Result<(), Invalid> {
    for (index, ring) in rings.iter().enumerate() {
        let points = &ring.0[..ring.0.len() - 1];
        let input = |edge: usize| steps[index][edge].index;
        match fault(points) {
            Some(Fault::Spike(edge)) => {
                return Err(Invalid::at(format!("{}[{}]", place(index), input(edge)), Reason::Spike));
            }
            Some(Fault::Crossing(one, other)) => {
                let at = format!("{}[{}]", place(index), input(one));
                return Err(Invalid::at(at, Reason::SelfCrossing(input(other))));
            }
            None => {}
        }
        let area = geo::Polygon::new(ring.clone(), Vec::new()).unsigned_area();
        if area * EARTH_RADIUS * EARTH_RADIUS < MIN_AREA {
            return Err(Invalid::at(place(index), Reason::NoArea));
        }
    }
    check_holes(rings, place)
}

/// Whether holes are inside the first ring and apart from each other. They may touch in positions that they share.
fn check_holes(rings: &[LineString<f64>], place: impl Fn(usize) -> String) -> Result<(), Invalid> {
    let filled: Vec<geo::Polygon<f64>> =
        rings.iter().map(|ring| geo::Polygon::new(ring.clone(), Vec::new())).collect();
    let bounds: Vec<_> = filled.iter().map(|ring| ring.bounding_rect()).collect();
    for (index, hole) in filled.iter().enumerate().skip(1) {
        let relation = filled[0].relate(hole);
        if !relation.is_contains() {
            return Err(Invalid::at(place(index), Reason::HoleOutside));
        }
        if relation.get(CoordPos::OnBoundary, CoordPos::OnBoundary) == Dimensions::OneDimensional {
            return Err(Invalid::at(place(index), Reason::HoleOnEdge));
        }
        for (other, earlier) in filled.iter().enumerate().take(index).skip(1) {
            // Most are far apart, which is seen at once.
            if let (Some(one), Some(other)) = (bounds[index], bounds[other])
                && !one.intersects(&other)
            {
                continue;
            }
            let relation = earlier.relate(hole);
            let is_on_edge =
                relation.get(CoordPos::OnBoundary, CoordPos::OnBoundary) == Dimensions::OneDimensional;
            if is_on_edge || relation.get(CoordPos::Inside, CoordPos::Inside) != Dimensions::Empty {
                return Err(Invalid::at(place(index), Reason::HolesOverlap(other)));
            }
        }
    }
    Ok(())
}

/// Turns rings round that wind the wrong way.
fn wind(polygon: &mut Polygon, drawn: &[LineString<f64>]) {
    for (index, (ring, drawn)) in polygon.rings.iter_mut().zip(drawn).enumerate() {
        let is_left = geo::Polygon::new(drawn.clone(), Vec::new()).signed_area() > 0.0;
        if is_left != (index == 0) {
            ring.reverse();
        }
    }
}

/// The shape around the centroid; `None` if it reaches too far.
fn shape(steps: &Steps, drawn: &[Vec<LineString<f64>>], plane: &Plane) -> Option<Shape> {
    let polygon = |rings: &Vec<LineString<f64>>| geo::Polygon::new(rings[0].clone(), rings[1..].to_vec());
    let centroid = MultiPolygon(drawn.iter().map(polygon).collect()).centroid()?;
    let centre = plane.unproject(centroid.0);
    let reach = farthest(centre, places(steps));
    if reach > chord_of_metres(MAX_RADIUS).powi(2) {
        return None;
    }
    let plane = Plane::at(centre);
    let ring = |ring: &Vec<Step>| ring.iter().map(|step| plane.project(step.place)).collect::<Vec<_>>();
    let outline: Vec<(bool, Vec<Coord<f64>>)> = steps
        .iter()
        .flat_map(|rings| rings.iter().enumerate().map(|(index, steps)| (index > 0, ring(steps))))
        .collect();
    Some(Shape::outlined(centre, reach, Outline::new(&outline)))
}

#[cfg(test)]
mod tests {
    use super::super::ring::Vertex;
    use super::*;

    fn ring(positions: &[[f64; 2]]) -> Ring {
        positions.iter().map(|&[lon, lat]| Vertex { lon, lat }).collect()
    }

    fn square(west: f64, south: f64, side: f64) -> Ring {
        let (east, north) = (west + side, south + side);
        ring(&[[west, south], [east, south], [east, north], [west, north], [west, south]])
    }

    fn polygons(polygons: Vec<Vec<Ring>>) -> Result<Polygons, Invalid> {
        let polygons = polygons.into_iter().map(|rings| Polygon { rings }).collect();
        Polygons::new(polygons, Edges::Straight, |polygon, ring| format!("[{polygon}][{ring}]"))
    }

    fn contains(polygons: &Polygons, lat: f64, lon: f64) -> bool {
        polygons.shape().contains(Vector::from_degrees(lat, lon))
    }

    fn refused(rings: Vec<Ring>) -> String {
        polygons(vec![rings]).unwrap_err().to_string()
    }

    #[test]
    fn a_polygon_is_the_same_however_it_crosses_the_antimeridian() {
        let beyond = polygons(vec![vec![square(179.0, -1.0, 2.0)]]).unwrap();
        let jumping = [[179.0, -1.0], [-179.0, -1.0], [-179.0, 1.0], [179.0, 1.0], [179.0, -1.0]];
        let jumping = polygons(vec![vec![ring(&jumping)]]).unwrap();
        let half =
            |from: f64, to: f64| ring(&[[from, -1.0], [to, -1.0], [to, 1.0], [from, 1.0], [from, -1.0]]);
        let cut = polygons(vec![vec![half(179.0, 180.0)], vec![half(-180.0, -179.0)]]).unwrap();
        for (lat, lon, expected) in [
            (0.0, 180.0, true),
            (0.5, -179.5, true),
            (0.5, 179.5, true),
            (0.0, 178.9, false),
            (0.0, -178.9, false),
            (1.0, 179.0, true),
            (1.1, 180.0, false),
            (0.0, 0.0, false),
        ] {
            for shape in [&beyond, &jumping, &cut] {
                assert_eq!(contains(shape, lat, lon), expected, "{lat} {lon}");
            }
        }
        assert!((cut.shape().centre() - Vector::from_degrees(0.0, 180.0)).length() < 1e-6);
    }

    #[test]
    fn a_cap_around_a_pole_holds_the_pole() {
        let flat = ring(&[
            [-180.0, 80.0],
            [-60.0, 80.0],
            [60.0, 80.0],
            [180.0, 80.0],
            [180.0, 90.0],
            [-180.0, 90.0],
            [-180.0, 80.0],
        ]);
        let round = ring(&[[0.0, 80.0], [120.0, 80.0], [-120.0, 80.0], [0.0, 80.0]]);
        for cap in [polygons(vec![vec![flat]]).unwrap(), polygons(vec![vec![round]]).unwrap()] {
            assert!(contains(&cap, 90.0, 0.0) && contains(&cap, 80.1, 60.0) && contains(&cap, 80.1, 180.0));
            assert!(
                !contains(&cap, 79.9, 60.0) && !contains(&cap, -90.0, 0.0) && !contains(&cap, -80.1, 60.0)
            );
        }
    }

    #[test]
    fn an_edge_of_a_flat_cap_may_go_once_round_and_otherwise_not_beyond_a_half() {
        let mut once_round =
            ring(&[[-180.0, 80.0], [180.0, 80.0], [180.0, 90.0], [-180.0, 90.0], [-180.0, 80.0]]);
        let points_between = ring(&[
            [180.0, 80.0],
            [180.0, 85.0],
            [180.0, 90.0],
            [-180.0, 90.0],
            [-180.0, 85.0],
            [-180.0, 80.0],
            [180.0, 80.0],
        ]);
        let mut all = vec![once_round.clone(), points_between];
        once_round.reverse();
        all.push(once_round.clone());
        for cap in all {
            let cap = polygons(vec![vec![cap]]).unwrap();
            for lon in [-180.0, -120.0, -60.0, 0.0, 60.0, 120.0] {
                assert!(contains(&cap, 80.001, lon) && !contains(&cap, 79.999, lon), "{lon}");
            }
            assert!(contains(&cap, 90.0, 0.0) && !contains(&cap, -85.0, 0.0));
        }
        let great = vec![Polygon { rings: vec![once_round] }];
        let great = Polygons::new(great, Edges::GreatCircles, |_, _| "[0]".to_owned()).unwrap_err();
        assert!(great.to_string().starts_with("[0][3]: the edge from here goes 360° round"), "{great}");
        let far = ring(&[
            [-180.0, 80.0],
            [-120.0, 80.0],
            [120.0, 80.0],
            [180.0, 80.0],
            [180.0, 90.0],
            [-180.0, 90.0],
            [-180.0, 80.0],
        ]);
        assert_eq!(
            refused(vec![far]),
            "[0][0][1]: the edge from here goes 240° round: expected at most 180° in a ring that goes to a pole and back \
             where a map ends, or 360° along a straight edge"
        );
        // Where its longitudes are the same on both sides of the way, it does not end there, and edges go the short way.
        let jumping =
            ring(&[[0.0, 80.0], [120.0, 80.0], [-120.0, 80.0], [0.0, 80.0], [0.0, 90.0], [0.0, 80.0]]);
        assert!(contains(&polygons(vec![vec![jumping]]).unwrap(), 80.1, 180.0));
    }

    #[test]
    fn a_slit_with_uneven_ends_is_no_edge_and_its_ends_are_corners() {
        let uneven = ring(&[
            [-120.0, -85.0],
            [-180.0, -84.0],
            [-180.0, -90.0],
            [180.0, -90.0],
            [180.0, -80.0],
            [60.0, -80.0],
            [-120.0, -85.0],
        ]);
        let shape = polygons(vec![vec![uneven]]).unwrap();
        assert!(contains(&shape, -90.0, 0.0) && contains(&shape, -84.6, -150.0));
        assert!(!contains(&shape, -84.4, -150.0) && !contains(&shape, -83.0, -179.0));
        assert!(contains(&shape, -80.1, 179.0) && contains(&shape, -83.0, 180.0));
        let points_between = ring(&[
            [180.0, 80.0],
            [180.0, 85.0],
            [180.0, 90.0],
            [-180.0, 90.0],
            [-180.0, 85.0],
            [-180.0, 80.0],
            [-60.0, 80.0],
            [60.0, 80.0],
            [180.0, 80.0],
        ]);
        let shape = polygons(vec![vec![points_between]]).unwrap();
        assert!(
            contains(&shape, 80.1, 180.0) && contains(&shape, 90.0, 0.0) && !contains(&shape, 79.9, 180.0)
        );
    }

    #[test]
    fn straight_edges_follow_the_parallel_and_great_circles_do_not() {
        let rings = vec![ring(&[[0.0, 60.0], [30.0, 60.0], [30.0, 50.0], [0.0, 50.0], [0.0, 60.0]])];
        let straight = polygons(vec![rings.clone()]).unwrap();
        let great =
            Polygons::new(vec![Polygon { rings }], Edges::GreatCircles, |_, _| String::new()).unwrap();
        // The great circle between the upper corners passes 60.88° in the middle, and that between the lower ones 50.97°.
        assert!(!contains(&straight, 60.001, 15.0) && contains(&straight, 59.999, 15.0));
        assert!(contains(&straight, 50.001, 15.0) && !contains(&straight, 49.999, 15.0));
        assert!(contains(&great, 60.8, 15.0) && !contains(&great, 50.5, 15.0));
    }

    #[test]
    fn rings_wind_as_the_standard_wants_whatever_was_given() {
        let mut clockwise = square(10.0, 50.0, 1.0);
        clockwise.reverse();
        let checked = polygons(vec![vec![clockwise, square(10.2, 50.2, 0.2)]]).unwrap();
        let rings = &checked.polygons()[0].rings;
        assert_eq!(rings[0], square(10.0, 50.0, 1.0));
        let mut hole = square(10.2, 50.2, 0.2);
        hole.reverse();
        assert_eq!(rings[1], hole);
        assert!(
            contains(&checked, 50.9, 10.9)
                && !contains(&checked, 50.3, 10.3)
                && contains(&checked, 50.2, 10.2)
        );
    }

    #[test]
    fn what_is_no_polygon_is_refused_with_reason_and_place() {
        let crossing = ring(&[[0.0, 0.0], [1.0, 1.0], [1.0, 0.0], [0.0, 1.0], [0.0, 0.0]]);
        assert_eq!(
            refused(vec![crossing]),
            "[0][0][0]: the edge from here meets the edge from position 2 of the same ring"
        );
        let spike = ring(&[[0.0, 0.0], [2.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 0.0]]);
        assert_eq!(refused(vec![spike]), "[0][0][1]: the ring turns back on itself here");
        assert_eq!(refused(vec![square(0.0, 0.0, 1e-6)]), "[0][0]: encloses less than 1 square metre");
        let outer = || square(0.0, 0.0, 1.0);
        let outside = "[0][1]: the hole is not inside the polygon's first ring";
        assert_eq!(refused(vec![outer(), square(2.0, 0.0, 0.5)]), outside);
        assert_eq!(refused(vec![outer(), square(0.8, 0.2, 0.5)]), outside);
        assert_eq!(
            refused(vec![outer(), square(0.2, 0.2, 0.5), square(0.4, 0.4, 0.2)]),
            "[0][2]: the hole overlaps hole 1"
        );
        let on_edge = ring(&[[0.0, 0.0], [1.0, 0.0], [0.5, 0.5], [0.0, 0.0]]);
        assert!(refused(vec![outer(), on_edge]).contains("shares a part of an edge"));
        let at_corner = ring(&[[0.0, 0.0], [0.7, 0.2], [0.2, 0.7], [0.0, 0.0]]);
        assert!(polygons(vec![vec![outer(), at_corner]]).is_ok());
        assert_eq!(refused(vec![]), "[0][0]: expected at least one ring");
        assert_eq!(polygons(vec![]).unwrap_err().reason, Reason::Empty);
    }

    #[test]
    fn what_is_too_large_is_refused() {
        assert!(polygons(vec![vec![square(-30.0, -30.0, 60.0)]]).is_ok());
        assert!(refused(vec![square(-40.0, -40.0, 80.0)]).contains("reaches farther than 5000 km"));
        let round = ring(&[[0.0, 0.0], [120.0, 0.0], [-120.0, 0.0], [0.0, 0.0]]);
        assert!(refused(vec![round]).contains("reaches farther"));
        let apart = polygons(vec![vec![square(0.0, 0.0, 1.0)], vec![square(179.0, 0.0, 1.0)]]);
        assert_eq!(apart.unwrap_err().reason, Reason::TooLarge);
    }

    #[test]
    fn limits_hold() {
        let circle = |count: usize, radius: f64| {
            let vertex = |at: usize| {
                let angle = at as f64 / count as f64 * std::f64::consts::TAU;
                [angle.cos() * radius, angle.sin() * radius]
            };
            ring(&(0..count).chain([0]).map(vertex).collect::<Vec<_>>())
        };
        assert!(polygons(vec![vec![circle(MAX_VERTICES - 1, 1.0)]]).is_ok());
        assert_eq!(
            polygons(vec![vec![circle(MAX_VERTICES, 1.0)]]).unwrap_err().reason,
            Reason::TooManyPositions(MAX_VERTICES + 1)
        );
        let many = (0..=MAX_RINGS).map(|at| vec![square(at as f64 / 10.0, 0.0, 0.05)]).collect();
        assert_eq!(polygons(many).unwrap_err().reason, Reason::TooManyRings(MAX_RINGS + 1));
        let zigzag: Ring = (0..1_000)
            .map(|at| Vertex { lon: if at % 2 == 0 { 0.0 } else { 40.0 }, lat: 50.0 + f64::from(at) / 100.0 })
            .chain([Vertex { lon: 0.0, lat: 50.0 }])
            .collect();
        assert_eq!(polygons(vec![vec![zigzag]]).unwrap_err().reason, Reason::TooManyDensePositions);
    }
}
