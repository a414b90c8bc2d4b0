//! Places for Tidings: what fences enclose, which of a million hold a place, and where those are who share it. The parts that
//! the geofence plugin stands on; they know neither the engine nor the log.
//!
//! ```
//! use serde_json::json;
//! use tidings_geofence::Position;
//! use tidings_geofence::geojson::Feature;
//! use tidings_geofence::index::{Change, Fence, FenceId, FenceIndex, OwnerId, Query};
//!
//! let ring = json!([[179.0, -1.0], [181.0, -1.0], [181.0, 1.0], [179.0, 1.0], [179.0, -1.0]]);
//! let drawn = Feature::read(&json!({"type": "Polygon", "coordinates": [ring]}))?;
//! let id = FenceId { owner: OwnerId(42), number: 0 };
//! let index = FenceIndex::new([]);
//! index.apply([Change::Put(Fence { id, shape: drawn.area.shape(), conditions: None })]);
//!
//! let job = Query::at(Position::new(0.5, -179.5)?);
//! let nearest = index.version().nearest_owners(&job, 5);
//! assert_eq!(nearest[0].fence, id);
//! assert!((nearest[0].distance() - 78_600.0).abs() < 100.0); // metres to the centre
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What is inside
//!
//! The earth is a sphere of radius 6,371,008.8 m, so distances differ from those on the ellipsoid by up to half a per cent.
//!
//! - A [circle](geometry::Circle) holds what is no farther from its centre than its radius, 1 m to 5,000 km.
//! - [Polygons](geometry::Polygons) hold what is inside their first ring and not inside a hole; the boundaries of both belong
//!   to them. Every position lies within 5,000 km of the centroid. Edges are great circles, or straight in latitude and
//!   longitude ([`geometry::Edges`]), which is the default: then they are taken as great circles that are nowhere farther
//!   than 1 m away.
//! - Neither the poles nor the antimeridian are special: 180° is −180°, at a pole no longitude matters, and how a
//!   ring may cross the antimeridian says [`geojson`].
//! - Rounding decides what lies within some nanometres of a boundary.
//!
//! Coordinates are WGS 84 as positioning systems give them. What is refused says where it is ([`Invalid`]); how much there may be
//! is in [`limits`].
//!
//! # Who is near
//!
//! The distance of a fence is that to its centre: a circle's own, the centroid of polygons. Of an owner with several fences the
//! nearest counts. Conditions narrow it: [tags](conditions::Tags) and [active hours](conditions::ActiveHours).
//!
//! [`index`] finds fences, which change seldom, and [`live`] finds positions, which change all the time; `crossing` tells what a
//! position that moves enters and leaves.
//!
//! # Sources
//!
//! Containment by the gnomonic projection, the packed tree, the grid, and how they compare with other designs, Tile38 and
//! PostGIS, was measured before this was written. The tests compare with brute force on the sphere, and with ten thousand answers of
//! GeographicLib, S2 and GEOS (`oracle/record.py`).

pub mod conditions;
pub mod crossing;
pub mod geojson;
pub mod geometry;
pub mod index;
pub mod invalid;
pub mod limits;
pub mod live;
mod position;
pub mod sphere;

pub use invalid::{Invalid, Reason};
pub use position::Position;
