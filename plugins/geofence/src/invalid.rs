//! Why something is refused, and where in the input it is.

use std::fmt;

use thiserror::Error;

use crate::limits::{MAX_DENSE_VERTICES, MAX_RADIUS, MAX_RINGS, MAX_VERTICES, MIN_AREA, MIN_RADIUS};

/// What is wrong in an input, and where.
#[derive(Clone, Debug, PartialEq, Error)]
pub struct Invalid {
    /// Where, as in `geometry.coordinates[0][3][1]`; empty for all of it.
    pub place: String,
    /// What is wrong there.
    pub reason: Reason,
}

impl Invalid {
    /// Something wrong at a place.
    #[must_use]
    pub fn at(place: impl Into<String>, reason: Reason) -> Self {
        Self { place: place.into(), reason }
    }
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.place.is_empty() { self.reason.fmt(f) } else { write!(f, "{}: {}", self.place, self.reason) }
    }
}

/// What can be wrong.
#[derive(Clone, Debug, PartialEq, Error)]
#[non_exhaustive]
pub enum Reason {
    /// NaN, or infinite.
    #[error("expected a number, got one that is not finite")]
    NotANumber,
    /// Beyond a pole.
    #[error("latitude {0} is beyond 90")]
    Latitude(f64),
    /// Farther round than there is.
    #[error("longitude {lon} is beyond {bound}")]
    Longitude {
        /// What was given.
        lon: f64,
        /// The most it may be.
        bound: f64,
    },
    /// A radius that no circle may have.
    #[error("expected a radius from {MIN_RADIUS} to {most} metres, got {radius}")]
    Radius {
        /// What was given.
        radius: f64,
        /// The most it may be.
        most: f64,
    },
    /// A ring that does not end where it begins.
    #[error("the ring is not closed: its last position is not its first")]
    NotClosed,
    /// A ring with fewer than four positions, or fewer than three different ones.
    #[error("expected a ring of at least three different positions and the first again, got {0}")]
    TooFewPositions(usize),
    /// No position at all.
    #[error("expected at least one ring")]
    Empty,
    /// Too many positions.
    #[error("expected at most {MAX_VERTICES} positions, got {0}")]
    TooManyPositions(usize),
    /// Too many positions once straight edges have been made dense.
    #[error("needs more than {MAX_DENSE_VERTICES} positions when its straight edges are made dense")]
    TooManyDensePositions,
    /// Too many rings.
    #[error("expected at most {MAX_RINGS} rings, got {0}")]
    TooManyRings(usize),
    /// A ring that crosses or touches itself.
    #[error("the edge from here meets the edge from position {0} of the same ring")]
    SelfCrossing(usize),
    /// An edge that goes back over the one before it.
    #[error("the ring turns back on itself here")]
    Spike,
    /// An edge that could go either way round the pole.
    #[error(
        "the edge from here goes {0}° round: expected at most 180° in a ring that goes to a pole and back where a map ends, \
         or 360° along a straight edge"
    )]
    FarRound(f64),
    /// Nothing, or next to nothing, inside.
    #[error("encloses less than {MIN_AREA} square metre")]
    NoArea,
    /// A hole that is not within its polygon.
    #[error("the hole is not inside the polygon's first ring")]
    HoleOutside,
    /// A hole that shares an edge with the polygon.
    #[error("the hole shares a part of an edge with the polygon's first ring")]
    HoleOnEdge,
    /// Two holes that overlap.
    #[error("the hole overlaps hole {0}")]
    HolesOverlap(usize),
    /// Too large.
    #[error("reaches farther than {} km from its centre", MAX_RADIUS / 1000.0)]
    TooLarge,
    /// Something else than what was expected.
    #[error("expected {expected}, got {got}")]
    Expected {
        /// What was expected.
        expected: String,
        /// What came.
        got: String,
    },
}

impl Reason {
    pub(crate) fn expected(expected: impl Into<String>, got: impl Into<String>) -> Self {
        Self::Expected { expected: expected.into(), got: got.into() }
    }
}
