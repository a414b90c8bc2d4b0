//! rstar with boxes in space around caps of the sphere, and the shapes of `tidings-geofence`: what a packed tree must be better
//! than to be worth its code.

use rstar::{AABB, RStarInsertionStrategy, RTree, RTreeObject, RTreeParams};
use tidings_geofence::geometry::Shape;
use tidings_geofence::sphere::Vector;

/// Larger nodes than rstar's own: measured to be faster here.
pub struct Params;

impl RTreeParams for Params {
    const MIN_SIZE: usize = 5;
    const MAX_SIZE: usize = 12;
    const REINSERTION_COUNT: usize = 3;
    type DefaultInsertionStrategy = RStarInsertionStrategy;
}

/// A cap as its box in space, and which fence it is of.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Leaf {
    centre: [f32; 3],
    chord: f32,
    number: u32,
}

impl RTreeObject for Leaf {
    type Envelope = AABB<[f32; 3]>;

    fn envelope(&self) -> Self::Envelope {
        let by = |sign: f32| self.centre.map(|axis| axis + sign * self.chord);
        AABB::from_corners(by(-1.0), by(1.0))
    }
}

fn leaf(shape: &Shape, number: usize) -> Leaf {
    let centre = shape.centre();
    // What rounding to f32 may take.
    let chord = (shape.reach().sqrt() + 4e-7) as f32;
    Leaf { centre: [centre.x as f32, centre.y as f32, centre.z as f32], chord, number: number as u32 }
}

/// Fences by their boxes in space.
pub struct InSpace {
    tree: RTree<Leaf, Params>,
    shapes: Vec<Shape>,
}

impl InSpace {
    /// All at once.
    #[must_use]
    pub fn new(shapes: Vec<Shape>) -> Self {
        let leaves = shapes.iter().enumerate().map(|(number, shape)| leaf(shape, number)).collect();
        Self { tree: RTree::bulk_load_with_params(leaves), shapes }
    }

    /// How many hold a place.
    #[must_use]
    pub fn count(&self, place: Vector) -> usize {
        let point = [place.x as f32, place.y as f32, place.z as f32];
        let near = self.tree.locate_in_envelope_intersecting(AABB::from_point(point));
        near.filter(|leaf| self.shapes[leaf.number as usize].contains(place)).count()
    }

    /// Moves one.
    ///
    /// # Panics
    /// When it is not there.
    pub fn replace(&mut self, number: usize, shape: Shape) {
        self.tree.remove(&leaf(&self.shapes[number], number)).expect("it is there");
        self.tree.insert(leaf(&shape, number));
        self.shapes[number] = shape;
    }
}
