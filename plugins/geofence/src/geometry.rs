//! What a fence encloses: circles and polygons, valid by construction. Knows no index and no format.
//!
//! An [`Area`] keeps what was given, to be given back, and its [`Shape`], which answers whether a place is inside.
//! Validity, orientation and containment of polygons are all decided in one plane, the gnomonic projection at the middle of
//! the fence, in which great circles are straight lines: so neither the poles nor the antimeridian are special.

mod area;
mod bounds;
mod densify;
mod outline;
mod plane;
mod polygon;
mod ring;
mod shape;
mod simple;

pub(crate) use area::check_radius;
pub use area::{Area, Circle};
pub use polygon::{Edges, Polygon, Polygons};
pub use ring::{Ring, Vertex};
pub use shape::Shape;

pub(crate) use outline::Outline;
pub(crate) use shape::is_within;
