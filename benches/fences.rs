//! Fences as cities have them, and what they may be found with: a list, R-trees of rstar in degrees and in space, and the
//! index of `tidings-geofence`.

pub mod in_degrees;
pub mod in_space;
pub mod world;

pub use in_degrees::InDegrees;
pub use in_space::InSpace;
pub use world::{Sample, World};
