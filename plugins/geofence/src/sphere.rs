//! The sphere: unit vectors, and how far they are apart. Knows no fence.
//!
//! The earth is a sphere of its mean radius here. Against the ellipsoid, distances are wrong by up to half a per cent.
//! Everything is compared by the square of the chord, which has the order of the great-circle distance and costs three
//! multiplications; metres are for people.

use std::ops::{Add, Mul, Sub};

/// The earth's mean radius in metres (IUGG; R₁ of GRS 80).
pub const EARTH_RADIUS: f64 = 6_371_008.8;

/// A vector; of length 1 when it is a place on the sphere.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Vector {
    /// Towards 0° N 0° E.
    pub x: f64,
    /// Towards 0° N 90° E.
    pub y: f64,
    /// Towards the north pole.
    pub z: f64,
}

impl Vector {
    /// The unit vector of a latitude and a longitude in degrees. The same bits for the same place: 180° is −180°, and
    /// at a pole no longitude matters.
    #[must_use]
    pub fn from_degrees(lat: f64, lon: f64) -> Self {
        let (sin_lat, cos_lat) = sin_cos_degrees(lat);
        let (sin_lon, cos_lon) = sin_cos_degrees(lon);
        // Adding zero makes -0 to 0.
        Self { x: cos_lat * cos_lon + 0.0, y: cos_lat * sin_lon + 0.0, z: sin_lat + 0.0 }
    }

    /// Its latitude and longitude in degrees.
    #[must_use]
    pub fn to_degrees(self) -> (f64, f64) {
        let lat = self.z.atan2(self.x.hypot(self.y)).to_degrees();
        (lat, self.y.atan2(self.x).to_degrees())
    }

    /// The scalar product.
    #[must_use]
    pub fn dot(self, other: Self) -> f64 {
        self.x * other.x + self.y * other.y + self.z * other.z
    }

    /// The vector product.
    #[must_use]
    pub fn cross(self, other: Self) -> Self {
        Self {
            x: self.y * other.z - self.z * other.y,
            y: self.z * other.x - self.x * other.z,
            z: self.x * other.y - self.y * other.x,
        }
    }

    /// Its length.
    #[must_use]
    pub fn length(self) -> f64 {
        self.dot(self).sqrt()
    }

    /// The same direction with length 1; `None` if it has none.
    #[must_use]
    pub fn normalized(self) -> Option<Self> {
        let length = self.length();
        (length > 1e-9).then(|| self * length.recip())
    }

    /// The square of the straight line between two places on the sphere.
    #[must_use]
    pub fn chord2(self, other: Self) -> f64 {
        let between = self - other;
        between.dot(between)
    }

    /// How far two places are apart, in metres along the great circle.
    #[must_use]
    pub fn distance(self, other: Self) -> f64 {
        metres_of_chord2(self.chord2(other))
    }
}

impl Add for Vector {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { x: self.x + other.x, y: self.y + other.y, z: self.z + other.z }
    }
}

impl Sub for Vector {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self { x: self.x - other.x, y: self.y - other.y, z: self.z - other.z }
    }
}

impl Mul<f64> for Vector {
    type Output = Self;

    fn mul(self, by: f64) -> Self {
        Self { x: self.x * by, y: self.y * by, z: self.z * by }
    }
}

/// The length of a great-circle arc, in metres, of the square of its chord.
#[must_use]
pub fn metres_of_chord2(chord2: f64) -> f64 {
    2.0 * EARTH_RADIUS * (chord2.sqrt() / 2.0).min(1.0).asin()
}

/// The chord, on the sphere of radius 1, of an arc in metres.
#[must_use]
pub fn chord_of_metres(metres: f64) -> f64 {
    2.0 * (metres / (2.0 * EARTH_RADIUS)).sin()
}

/// Sine and cosine of degrees; exact at multiples of 90°.
fn sin_cos_degrees(degrees: f64) -> (f64, f64) {
    let quarters = (degrees / 90.0).round();
    // Exact: both are small multiples of the same power of two.
    let (sin, cos) = (degrees - 90.0 * quarters).to_radians().sin_cos();
    match quarters.rem_euclid(4.0) as u8 {
        0 => (sin, cos),
        1 => (cos, -sin),
        2 => (-sin, -cos),
        _ => (-cos, sin),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_place_has_one_vector() {
        assert_eq!(Vector::from_degrees(12.5, 180.0), Vector::from_degrees(12.5, -180.0));
        assert_eq!(Vector::from_degrees(12.5, 190.0), Vector::from_degrees(12.5, -170.0));
        for pole in [90.0, -90.0] {
            assert_eq!(Vector::from_degrees(pole, 37.0), Vector { x: 0.0, y: 0.0, z: pole / 90.0 });
        }
        assert_eq!(Vector::from_degrees(0.0, 90.0), Vector { x: 0.0, y: 1.0, z: 0.0 });
    }

    #[test]
    fn a_degree_of_a_great_circle_is_111_195_metres() {
        let degree = EARTH_RADIUS.to_radians();
        let from = |lat, lon| Vector::from_degrees(lat, lon);
        assert!((from(0.0, 179.5).distance(from(0.0, -179.5)) - degree).abs() < 1e-6);
        assert!((from(89.5, 20.0).distance(from(89.5, -160.0)) - degree).abs() < 1e-6);
        assert!((from(0.0, 0.0).distance(from(0.0, 180.0)) - 180.0 * degree).abs() < 1e-6);
        assert!((chord_of_metres(degree).powi(2) - from(3.0, 7.0).chord2(from(4.0, 7.0))).abs() < 1e-15);
    }

    #[test]
    fn degrees_come_back() {
        for (lat, lon) in [(12.25, 99.75), (-89.0, -179.0), (0.0, 0.0), (45.0, 135.0)] {
            let (again_lat, again_lon) = Vector::from_degrees(lat, lon).to_degrees();
            assert!((lat - again_lat).abs() < 1e-12 && (lon - again_lon).abs() < 1e-12);
        }
    }
}
