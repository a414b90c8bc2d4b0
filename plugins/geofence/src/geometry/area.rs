//! An area as it was given: a circle, or polygons.

use super::Shape;
use super::polygon::Polygons;
use crate::invalid::Reason;
use crate::limits::{MAX_RADIUS, MIN_RADIUS};
use crate::position::Position;

/// What a fence encloses, its boundary included.
#[derive(Clone, Debug, PartialEq)]
pub enum Area {
    /// All within a distance of a position.
    Circle(Circle),
    /// One polygon or several, with holes.
    Polygons(Polygons),
}

impl Area {
    /// What answers whether a place is inside.
    #[must_use]
    pub fn shape(&self) -> Shape {
        match self {
            Self::Circle(circle) => circle.shape(),
            Self::Polygons(polygons) => polygons.shape().clone(),
        }
    }

    /// Whether a position is inside or on the boundary.
    #[must_use]
    pub fn contains(&self, position: Position) -> bool {
        self.shape().contains(position.vector())
    }

    /// The distance to a position in metres; 0 inside.
    #[must_use]
    pub fn distance(&self, position: Position) -> f64 {
        self.shape().distance(position.vector())
    }
}

/// All within a distance of a position.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Circle {
    centre: Position,
    radius: f64,
}

impl Circle {
    /// A circle with a radius in metres.
    ///
    /// # Errors
    /// A radius below [`MIN_RADIUS`] or above [`MAX_RADIUS`], or one that is no number.
    pub fn new(centre: Position, radius: f64) -> Result<Self, Reason> {
        check_radius(radius, MAX_RADIUS)?;
        Ok(Self { centre, radius })
    }

    /// Its centre.
    #[must_use]
    pub fn centre(&self) -> Position {
        self.centre
    }

    /// Its radius in metres.
    #[must_use]
    pub fn radius(&self) -> f64 {
        self.radius
    }

    /// What answers whether a place is inside.
    #[must_use]
    pub fn shape(&self) -> Shape {
        Shape::circle(self.centre.vector(), self.radius)
    }
}

pub(crate) fn check_radius(radius: f64, most: f64) -> Result<(), Reason> {
    if !radius.is_finite() {
        return Err(Reason::NotANumber);
    }
    if (MIN_RADIUS..=most).contains(&radius) { Ok(()) } else { Err(Reason::Radius { radius, most }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(lat: f64, lon: f64) -> Position {
        Position::new(lat, lon).unwrap()
    }

    #[test]
    fn a_circle_includes_its_edge_wherever_it_is() {
        for (lat, lon) in [(0.0, 0.0), (0.0, 180.0), (90.0, 0.0), (-89.99, 12.0), (52.5, 13.4)] {
            let (centre, other) = (at(lat, lon), at((lat + 0.05).min(89.97), -170.0));
            let away = centre.distance(other);
            if away > MAX_RADIUS {
                continue;
            }
            assert!(Area::Circle(Circle::new(centre, away).unwrap()).contains(other));
            assert!(!Area::Circle(Circle::new(centre, away - 0.001).unwrap()).contains(other));
        }
    }

    #[test]
    fn a_circle_reaches_over_the_antimeridian_and_the_pole() {
        let circle = |lat, lon, radius| Area::Circle(Circle::new(at(lat, lon), radius).unwrap());
        assert!(circle(0.0, 179.99, 5_000.0).contains(at(0.0, -179.99)));
        assert!(circle(89.99, 0.0, 5_000.0).contains(at(89.99, 180.0)));
        assert!(!circle(0.0, 179.99, 2_000.0).contains(at(0.0, -179.99)));
        assert!((circle(0.0, 179.0, 1_000.0).distance(at(0.0, -179.0)) - 221_390.0).abs() < 10.0);
    }

    #[test]
    fn a_radius_that_no_circle_may_have_is_refused() {
        for radius in [0.0, -5.0, 0.5, 5_000_001.0] {
            assert_eq!(Circle::new(at(0.0, 0.0), radius), Err(Reason::Radius { radius, most: MAX_RADIUS }));
        }
        assert_eq!(Circle::new(at(0.0, 0.0), f64::NAN), Err(Reason::NotANumber));
    }
}
