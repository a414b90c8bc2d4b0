//! GeoJSON (RFC 7946) in and out.
//!
//! Taken are a `Polygon`, a `MultiPolygon`, a `Feature` of one of them, and a `Feature` of a `Point` with the property
//! `radius` in metres, which is a circle: GeoJSON has none. The property `edges` of a feature says what the edges of its
//! polygons are: `straight` in latitude and longitude (as in the RFC, and the default), or `great-circle`.
//!
//! Rings may wind either way, as the RFC asks of readers, and come out with the first ring to the left and holes to the
//! right. Across the antimeridian, a ring may be cut in two polygons, as the RFC prefers, go on beyond 180°, or jump from
//! one side to the other; but for the winding, it comes out as it came in. Around a pole, it may go round, or to the pole
//! and back where a flat map ends; there a straight edge may go from −180° to 180° at once, and none more than 180° else.
//!
//! What comes out is always a `Feature`. A third number of a position, its height, is taken and left out, and so are `id`,
//! `bbox` and what else is beside geometry and properties. A `crs` is refused: coordinates are WGS 84.
//!
//! Written by hand over `serde_json`: the `geojson` crate does not say where in the input something is wrong.

mod read;
mod write;

use serde_json::{Map, Value};

use crate::geometry::Area;
use crate::invalid::Invalid;

/// An area, and what else is known of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Feature {
    /// What it encloses.
    pub area: Area,
    /// Its properties, without those that say what it encloses.
    pub properties: Map<String, Value>,
}

impl Feature {
    /// Reads GeoJSON.
    ///
    /// # Errors
    /// What is wrong with it, and where.
    pub fn read(json: &Value) -> Result<Self, Invalid> {
        read::feature(json)
    }

    /// Writes GeoJSON: a `Feature`.
    #[must_use]
    pub fn write(&self) -> Value {
        write::feature(self)
    }
}
