//! What a fence and a live position may be at most, each with its reason.

/// The smallest radius of a circle in metres: below it, no positioning system can tell inside from outside.
pub const MIN_RADIUS: f64 = 1.0;

/// The largest radius of a circle, and the farthest a polygon may reach from its centre, in metres. An eighth of the way
/// round the earth: far enough for a country of any size, and near enough for the gnomonic projection, which has no
/// picture of what is 90° away, to lose no more than one binary digit.
pub const MAX_RADIUS: f64 = 5_000_000.0;

/// The smallest area of a polygon in square metres: the square of the smallest radius.
pub const MIN_AREA: f64 = 1.0;

/// How far, in metres, an edge that is straight in latitude and longitude may be from the great circles that stand for
/// it. Less than positioning systems can tell.
pub const EDGE_TOLERANCE: f64 = 1.0;

/// How many positions the rings of a fence may have. A fence is compared position by position for every point near it.
pub const MAX_VERTICES: usize = 2_000;

/// How many positions there may be once straight edges have been made dense.
pub const MAX_DENSE_VERTICES: usize = 10_000;

/// How many rings a fence may have. Holes are compared with each other in pairs.
pub const MAX_RINGS: usize = 100;

/// How many tags a fence or a question may have: they are compared one by one.
pub const MAX_TAGS: usize = 32;

/// How long a tag may be, in bytes.
pub const MAX_TAG_LENGTH: usize = 64;

/// How many windows active hours may have: two a day and some exceptions.
pub const MAX_WINDOWS: usize = 28;

/// The largest radius of a live position in metres: whoever shares one travels to what is there.
pub const MAX_LIVE_RADIUS: f64 = 500_000.0;
