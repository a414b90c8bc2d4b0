//! The gnomonic projection: the sphere seen from its middle, onto the plane that touches it at a centre. Great circles are
//! straight lines in it.

use geo::Coord;

use crate::sphere::Vector;

/// A plane that touches the sphere.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plane {
    centre: Vector,
    right: Vector,
    up: Vector,
}

impl Plane {
    /// The plane that touches the sphere at a centre. Its axes depend on nothing else; seen from outside, they turn to the
    /// left.
    pub(super) fn at(centre: Vector) -> Self {
        // Duff et al., "Building an Orthonormal Basis, Revisited", JCGT 6 (1), 2017: no branch and no square root.
        let sign = 1f64.copysign(centre.z);
        let a = -1.0 / (sign + centre.z);
        let b = centre.x * centre.y * a;
        let right = Vector { x: 1.0 + sign * centre.x * centre.x * a, y: sign * b, z: -sign * centre.x };
        let up = Vector { x: b, y: sign + centre.y * centre.y * a, z: -centre.y };
        Self { centre, right, up }
    }

    /// Where a place less than 90° from the centre is in the plane.
    pub(super) fn project(&self, place: Vector) -> Coord<f64> {
        let scale = place.dot(self.centre).recip();
        Coord { x: place.dot(self.right) * scale, y: place.dot(self.up) * scale }
    }

    /// The place that is projected to a point of the plane.
    pub(super) fn unproject(&self, point: Coord<f64>) -> Vector {
        let place = self.centre + self.right * point.x + self.up * point.y;
        place * place.length().recip()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_come_back_and_axes_turn_to_the_left() {
        for (lat, lon) in
            [(0.0, 0.0), (90.0, 0.0), (-90.0, 0.0), (-0.0, 180.0), (48.0, 11.0), (-48.0, -120.0)]
        {
            let centre = Vector::from_degrees(lat, lon);
            let plane = Plane::at(centre);
            let turn = plane.right.cross(plane.up) - centre;
            assert!(turn.length() < 1e-15, "{lat} {lon}");
            for (dlat, dlon) in [(1.0, 2.0), (-30.0, 40.0), (0.0, 0.0)] {
                let place = Vector::from_degrees((lat + dlat).clamp(-90.0, 90.0), lon + dlon);
                assert!((plane.unproject(plane.project(place)) - place).length() < 1e-15);
            }
        }
    }
}
