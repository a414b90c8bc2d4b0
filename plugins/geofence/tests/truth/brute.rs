//! Containment by brute force on the sphere, in a way of its own: no plane, no unit of the crate's, no shared arithmetic.
//! A place is inside a ring when the ring winds around it: the angles at which its edges are seen from there add up to a
//! full turn.

/// What lies within so many radians (6 mm) of a boundary is left out of a comparison: there, rounding decides, and
/// differently for each way of counting.
pub(crate) const TOO_CLOSE: f64 = 1e-9;

pub(crate) type Vector = [f64; 3];

pub(crate) fn vector([lon, lat]: [f64; 2]) -> Vector {
    let (lat, lon) = (lat.to_radians(), lon.to_radians());
    [lat.cos() * lon.cos(), lat.cos() * lon.sin(), lat.sin()]
}

pub(crate) fn dot(a: Vector, b: Vector) -> f64 {
    a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
}

pub(crate) fn cross(a: Vector, b: Vector) -> Vector {
    [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]]
}

pub(crate) fn length(a: Vector) -> f64 {
    dot(a, a).sqrt()
}

/// The angle between two places, in radians.
pub(crate) fn angle(a: Vector, b: Vector) -> f64 {
    length(cross(a, b)).atan2(dot(a, b))
}

/// Whether a place is inside rings whose edges are great circles: in the first and in none of the others. `None` if it is too
/// close to a boundary.
pub(crate) fn holds(rings: &[Vec<[f64; 2]>], place: [f64; 2]) -> Option<bool> {
    let place = vector(place);
    let mut is_inside = false;
    for (index, ring) in rings.iter().enumerate() {
        let ring: Vec<Vector> = ring.iter().map(|&position| vector(position)).collect();
        if to_ring(&ring, place) < TOO_CLOSE {
            return None;
        }
        let winds = is_on_the_side_of(&ring, place) && turns(&ring, place) != 0;
        is_inside = if index == 0 { winds } else { is_inside && !winds };
    }
    Some(is_inside)
}

/// How often a ring, the last of which is the first again, goes around a place (less how often around the opposite one).
fn turns(ring: &[Vector], place: Vector) -> i32 {
    let seen = |edge: &[Vector]| {
        let (a, b) = (edge[0], edge[1]);
        let across = dot(place, cross(a, b));
        let along = dot(a, b) - dot(place, a) * dot(place, b);
        across.atan2(along)
    };
    (ring.windows(2).map(seen).sum::<f64>() / std::f64::consts::TAU).round() as i32
}

/// Whether a place is within a quarter of the way round from the middle of a ring, as all of its inside is.
fn is_on_the_side_of(ring: &[Vector], place: Vector) -> bool {
    let middle = ring[1..].iter().fold([0.0; 3], |sum, at| [sum[0] + at[0], sum[1] + at[1], sum[2] + at[2]]);
    dot(middle, place) > 0.0
}

/// The angle from a place to the nearest of a ring.
pub(crate) fn to_ring(ring: &[Vector], place: Vector) -> f64 {
    ring.windows(2).map(|edge| to_edge(edge[0], edge[1], place)).fold(f64::INFINITY, f64::min)
}

fn to_edge(a: Vector, b: Vector, place: Vector) -> f64 {
    let ends = angle(a, place).min(angle(b, place));
    let normal = cross(a, b);
    let is_beside = dot(cross(normal, a), place) > 0.0 && dot(cross(b, normal), place) > 0.0;
    if length(normal) == 0.0 || !is_beside {
        return ends;
    }
    ends.min((dot(normal, place).abs() / length(normal)).min(1.0).asin())
}

/// The place at an angle and in a direction from another: degrees in, degrees out.
pub(crate) fn away(from: [f64; 2], bearing: f64, angle: f64) -> [f64; 2] {
    let at = vector(from);
    // At a pole, any direction is as good as another.
    let east = if at[0].hypot(at[1]) < 1e-12 { [0.0, 1.0, 0.0] } else { [-at[1], at[0], 0.0] };
    let east = east.map(|axis| axis / length(east));
    let north = cross(at, east);
    let (sin, cos) = bearing.sin_cos();
    let to: [f64; 3] = std::array::from_fn(|axis| {
        at[axis] * angle.cos() + (east[axis] * sin + north[axis] * cos) * angle.sin()
    });
    [to[1].atan2(to[0]).to_degrees(), to[2].atan2(to[0].hypot(to[1])).to_degrees()]
}
