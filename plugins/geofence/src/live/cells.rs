//! Which cells of space a place is in, and which may hold what reaches it.

use crate::sphere::Vector;

/// How many sizes of cells there are.
pub(super) const LEVELS: usize = 9;

/// The size of the smallest cells, as a power of two: 24 m. A place has 20 bits an axis in them.
const SMALLEST: i32 = -18;

/// The name of a cell: its level and its place in the grid of that level.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Cell(u64);

impl Cell {
    /// The cell of a place for a chord of a radius: of the smallest size that is at least twice the chord.
    pub(super) fn of(place: Vector, chord: f64) -> Self {
        let fits = |level: &usize| size(*level) >= 2.0 * chord;
        let level = (0..LEVELS).find(fits).unwrap_or(LEVELS - 1);
        let at = |axis: f64| index(axis, size(level));
        Self::at(level, at(place.x), at(place.y), at(place.z))
    }

    fn at(level: usize, x: u64, y: u64, z: u64) -> Self {
        Self((level as u64) << 60 | x << 40 | y << 20 | z)
    }

    /// Its level.
    pub(super) fn level(self) -> usize {
        (self.0 >> 60) as usize
    }

    /// A number that spreads over all bits.
    pub(super) fn spread(self) -> u64 {
        let product = u128::from(self.0).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
        (product as u64) ^ ((product >> 64) as u64)
    }
}

/// The cells of a level with what may reach a place, at most eight: those within half a cell on each axis that meet the
/// sphere.
pub(super) fn reaching(place: Vector, level: usize, mut found: impl FnMut(Cell)) {
    let size = size(level);
    // A little more than half, for what rounding takes.
    let half = size * 0.500_000_1;
    let range = |axis: f64| index(axis - half, size)..=index(axis + half, size);
    for x in range(place.x) {
        for y in range(place.y) {
            for z in range(place.z) {
                if meets_sphere([x, y, z], size) {
                    found(Cell::at(level, x, y, z));
                }
            }
        }
    }
}

fn size(level: usize) -> f64 {
    f64::from(SMALLEST + 2 * level as i32).exp2()
}

fn index(axis: f64, size: f64) -> u64 {
    ((axis.clamp(-1.0, 1.0) + 1.0) / size) as u64
}

fn meets_sphere(cell: [u64; 3], size: f64) -> bool {
    let (mut nearest, mut farthest) = (0.0, 0.0);
    for index in cell {
        let low = index as f64 * size - 1.0;
        let high = low + size;
        let near = if low > 0.0 { low } else { high.min(0.0) };
        nearest += near * near;
        farthest += low.abs().max(high.abs()).powi(2);
    }
    nearest <= 1.0 + 1e-9 && farthest >= 1.0 - 1e-9
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::limits::MAX_LIVE_RADIUS;
    use crate::sphere::{chord_of_metres, metres_of_chord2};

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn whoever_reaches_a_place_is_in_one_of_its_cells(
            lat in -90.0..90.0, lon in -180.0..180.0,
            bearing in 0.0..360.0f64,
            magnitude in 0.0..1.0f64,
            just_fits in prop::option::of((0..LEVELS - 1, 0.98..1.0f64)),
        ) {
            let metres = match just_fits {
                Some((level, part)) => metres_of_chord2((size(level) / 2.0 * part).powi(2)),
                None => MAX_LIVE_RADIUS.powf(magnitude),
            };
            let centre = Vector::from_degrees(lat, lon);
            // As far away as the radius, in some direction.
            let east = Vector { x: -centre.y, y: centre.x, z: 0.0 }.normalized();
            prop_assume!(east.is_some());
            let east = east.unwrap();
            let north = centre.cross(east);
            let angle = metres / crate::sphere::EARTH_RADIUS;
            let (sin, cos) = bearing.to_radians().sin_cos();
            let place = centre * angle.cos() + (east * cos + north * sin) * angle.sin();
            let cell = Cell::of(centre, chord_of_metres(metres));
            let mut cells = Vec::new();
            reaching(place, cell.level(), |cell| cells.push(cell));
            prop_assert!(cells.contains(&cell));
            prop_assert!(cells.len() <= 8);
        }
    }

    #[test]
    fn the_largest_radius_fits() {
        assert!(size(LEVELS - 1) >= 2.0 * chord_of_metres(MAX_LIVE_RADIUS));
        assert_eq!(Cell::of(Vector { x: 1.0, y: 0.0, z: 0.0 }, 0.0).level(), 0);
    }
}
