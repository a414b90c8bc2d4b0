//! A position: latitude and longitude in degrees, known to be on the earth.

use crate::invalid::Reason;
use crate::sphere::Vector;

/// A position on the earth (WGS 84, in degrees). Two are equal when they are the same place: 180° is −180°, and at a pole
/// no longitude matters.
#[derive(Clone, Copy, Debug)]
pub struct Position {
    lat: f64,
    lon: f64,
}

impl Position {
    /// A position.
    ///
    /// # Errors
    /// A latitude beyond 90, a longitude beyond 180, or what is no number.
    pub fn new(lat: f64, lon: f64) -> Result<Self, Reason> {
        check_latitude(lat)?;
        check_longitude(lon, 180.0)?;
        Ok(Self { lat, lon })
    }

    /// The latitude, −90 to 90.
    #[must_use]
    pub fn lat(self) -> f64 {
        self.lat
    }

    /// The longitude, −180 to 180, as it was given.
    #[must_use]
    pub fn lon(self) -> f64 {
        self.lon
    }

    /// Its unit vector.
    #[must_use]
    pub fn vector(self) -> Vector {
        Vector::from_degrees(self.lat, self.lon)
    }

    /// How far away another is, in metres along the great circle.
    #[must_use]
    pub fn distance(self, other: Self) -> f64 {
        self.vector().distance(other.vector())
    }
}

impl PartialEq for Position {
    fn eq(&self, other: &Self) -> bool {
        self.vector() == other.vector()
    }
}

pub(crate) fn check_latitude(lat: f64) -> Result<(), Reason> {
    if !lat.is_finite() {
        return Err(Reason::NotANumber);
    }
    if lat.abs() > 90.0 { Err(Reason::Latitude(lat)) } else { Ok(()) }
}

pub(crate) fn check_longitude(lon: f64, bound: f64) -> Result<(), Reason> {
    if !lon.is_finite() {
        return Err(Reason::NotANumber);
    }
    if lon.abs() > bound { Err(Reason::Longitude { lon, bound }) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_on_the_earth_is_no_position() {
        assert_eq!(Position::new(90.5, 0.0), Err(Reason::Latitude(90.5)));
        assert_eq!(Position::new(0.0, -180.5), Err(Reason::Longitude { lon: -180.5, bound: 180.0 }));
        for (lat, lon) in [(f64::NAN, 0.0), (0.0, f64::NAN), (f64::INFINITY, 0.0)] {
            assert_eq!(Position::new(lat, lon), Err(Reason::NotANumber));
        }
    }

    #[test]
    fn a_place_equals_itself_however_it_is_written() {
        assert_eq!(Position::new(10.0, 180.0), Position::new(10.0, -180.0));
        assert_eq!(Position::new(-90.0, 180.0), Position::new(-90.0, 7.0));
        assert_ne!(Position::new(10.0, 180.0), Position::new(10.0, 179.0));
    }
}
