//! What comes to mind first: an R-tree of boxes in degrees, the haversine distance, and geo's `Contains` in the plane of
//! latitude and longitude. Wrong at the antimeridian and the poles.

use geo::{BoundingRect, Contains, Coord, Distance, Haversine, LineString, Point, Polygon};
use rstar::{AABB, RTree, RTreeObject};

use super::Sample;

/// A box in degrees, and which fence it is of.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Leaf {
    bounds: AABB<[f64; 2]>,
    number: u32,
}

impl RTreeObject for Leaf {
    type Envelope = AABB<[f64; 2]>;

    fn envelope(&self) -> Self::Envelope {
        self.bounds
    }
}

/// Fences by their boxes in degrees.
pub struct InDegrees {
    tree: RTree<Leaf>,
    areas: Vec<Area>,
}

/// What a fence encloses.
pub struct Area {
    centre: Point<f64>,
    radius: f64,
    polygon: Option<Polygon<f64>>,
}

impl Area {
    /// That of a sample.
    #[must_use]
    pub fn new(sample: &Sample) -> Self {
        let ring = |ring: &Vec<[f64; 2]>| LineString(ring.iter().map(|&[x, y]| Coord { x, y }).collect());
        let mut rings = sample.rings.iter().map(ring);
        let polygon = rings.next().map(|exterior| Polygon::new(exterior, rings.collect()));
        let [lon, lat] = sample.middle;
        Self { centre: Point::new(lon, lat), radius: sample.radius, polygon }
    }

    fn holds(&self, at: Point<f64>) -> bool {
        match &self.polygon {
            Some(polygon) => polygon.contains(&at),
            None => Haversine.distance(self.centre, at) <= self.radius,
        }
    }

    fn leaf(&self, number: usize) -> Leaf {
        Leaf { bounds: self.bounds(), number: number as u32 }
    }

    fn bounds(&self) -> AABB<[f64; 2]> {
        if let Some(ring) = self.polygon.as_ref().and_then(|polygon| polygon.bounding_rect()) {
            return AABB::from_corners(ring.min().into(), ring.max().into());
        }
        let height = self.radius / 111_195.0;
        let width = (height / self.centre.y().to_radians().cos().max(1e-3)).min(180.0);
        let low = [self.centre.x() - width, self.centre.y() - height];
        let high = [self.centre.x() + width, self.centre.y() + height];
        AABB::from_corners(low, high)
    }
}

impl InDegrees {
    /// All at once.
    #[must_use]
    pub fn new(areas: Vec<Area>) -> Self {
        let leaves = areas.iter().enumerate().map(|(number, area)| area.leaf(number)).collect();
        Self { tree: RTree::bulk_load(leaves), areas }
    }

    /// How many hold a place.
    #[must_use]
    pub fn count(&self, [lon, lat]: [f64; 2]) -> usize {
        let at = Point::new(lon, lat);
        let near = self.tree.locate_in_envelope_intersecting(AABB::from_point([lon, lat]));
        near.filter(|leaf| self.areas[leaf.number as usize].holds(at)).count()
    }

    /// The same, of a list of all.
    #[must_use]
    pub fn count_in_list(&self, [lon, lat]: [f64; 2]) -> usize {
        let at = Point::new(lon, lat);
        self.areas.iter().filter(|area| area.holds(at)).count()
    }

    /// Moves one.
    ///
    /// # Panics
    /// When it is not there.
    pub fn replace(&mut self, number: usize, area: Area) {
        let old = self.areas[number].leaf(number);
        self.tree.remove(&old).expect("it is there");
        self.tree.insert(area.leaf(number));
        self.areas[number] = area;
    }
}
