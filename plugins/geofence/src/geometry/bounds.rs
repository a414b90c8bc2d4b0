//! How far vectors are from a centre.

use crate::sphere::Vector;

/// The normalised mean of places; `None` if they balance.
pub(super) fn mean(places: impl Iterator<Item = Vector>) -> Option<Vector> {
    let (mut sum, mut count) = (Vector { x: 0.0, y: 0.0, z: 0.0 }, 0.0);
    for place in places {
        sum = sum + place;
        count += 1.0;
    }
    (sum * f64::recip(count)).normalized()
}

/// The square of the longest chord from a centre to places.
pub(super) fn farthest(centre: Vector, places: impl Iterator<Item = Vector>) -> f64 {
    places.map(|place| centre.chord2(place)).fold(0.0, f64::max)
}
