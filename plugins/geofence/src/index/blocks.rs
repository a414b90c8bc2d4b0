//! Balls in blocks of sixteen, by axis, so that one comparison of four goes to the processor at a time.

use crate::sphere::Vector;

/// How many children a node has: four vectors of four, and one cache line an axis.
pub(super) const WIDTH: usize = 16;

/// What a place and a radius lose when they are rounded to `f32`, in chords: each axis half a unit in the last place of
/// what is at most 1, and as much again in the arithmetic. 2.5 m.
const ROUNDING: f64 = 4e-7;

/// A ball around a place.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ball {
    pub(super) centre: [f32; 3],
    pub(super) radius: f32,
}

impl Ball {
    /// The ball that holds all within a chord of a centre.
    pub(super) fn around(centre: Vector, chord: f64) -> Self {
        Self { centre: rounded(centre), radius: (chord + ROUNDING) as f32 }
    }

    /// A ball that holds all of others: around the middle of the box that they fill.
    pub(super) fn holding(balls: &[Self]) -> Self {
        let (mut low, mut high) = ([f32::MAX; 3], [f32::MIN; 3]);
        for ball in balls {
            for axis in 0..3 {
                low[axis] = low[axis].min(ball.centre[axis] - ball.radius);
                high[axis] = high[axis].max(ball.centre[axis] + ball.radius);
            }
        }
        let centre: [f32; 3] = std::array::from_fn(|axis| (low[axis] + high[axis]) / 2.0);
        let reach = |ball: &Self| {
            let between: f32 = (0..3).map(|axis| (ball.centre[axis] - centre[axis]).powi(2)).sum();
            between.sqrt() + ball.radius
        };
        // More than the rounding of the sum.
        let radius = balls.iter().map(reach).fold(0.0, f32::max) * 1.000_001;
        Self { centre, radius }
    }
}

/// A place as the blocks compare it.
pub(super) fn rounded(place: Vector) -> [f32; 3] {
    [place.x as f32, place.y as f32, place.z as f32]
}

/// Sixteen balls; what is not there holds nothing.
#[derive(Clone, Debug)]
#[repr(align(64))]
pub(super) struct Block {
    x: [f32; WIDTH],
    y: [f32; WIDTH],
    z: [f32; WIDTH],
    radius2: [f32; WIDTH],
}

impl Block {
    /// A block of at most sixteen balls.
    pub(super) fn new(balls: &[Ball]) -> Self {
        let mut block = Self { x: [0.0; WIDTH], y: [0.0; WIDTH], z: [0.0; WIDTH], radius2: [-1.0; WIDTH] };
        for (at, ball) in balls.iter().enumerate() {
            [block.x[at], block.y[at], block.z[at]] = ball.centre;
            // Squaring rounds, too.
            block.radius2[at] = ball.radius * ball.radius * 1.000_001;
        }
        block
    }

    /// Which of the balls hold a place: a bit for each.
    #[inline]
    pub(super) fn holding(&self, place: [f32; 3]) -> u32 {
        let is_near = std::array::from_fn(|at| {
            let (x, y, z) = (self.x[at] - place[0], self.y[at] - place[1], self.z[at] - place[2]);
            u8::from(x * x + y * y + z * z <= self.radius2[at])
        });
        bits(is_near)
    }
}

/// The lowest bit of each of sixteen bytes.
#[inline]
fn bits(bytes: [u8; WIDTH]) -> u32 {
    let word = u128::from_le_bytes(bytes);
    // Multiplied, the eight bits of a half come together in its highest byte.
    let half = |half: u64| (half.wrapping_mul(0x0102_0408_1020_4080) >> 56) as u32;
    half(word as u64) | half((word >> 64) as u64) << 8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_bit_is_that_of_its_byte() {
        for at in 0..WIDTH {
            let mut bytes = [0u8; WIDTH];
            bytes[at] = 1;
            assert_eq!(bits(bytes), 1 << at);
        }
        assert_eq!(bits([1; WIDTH]), 0xffff);
    }

    #[test]
    fn a_ball_holds_what_it_was_made_of() {
        let places: Vec<Vector> = (0..16)
            .map(|at| Vector::from_degrees(f64::from(at) * 7.0 - 50.0, f64::from(at) * 23.0))
            .collect();
        let balls: Vec<Ball> = places.iter().map(|&place| Ball::around(place, 0.001)).collect();
        let all = Block::new(&[Ball::holding(&balls)]);
        let each = Block::new(&balls);
        for (at, &place) in places.iter().enumerate() {
            assert_eq!(each.holding(rounded(place)), 1 << at);
            assert_eq!(all.holding(rounded(place)), 1);
        }
        assert_eq!(Block::new(&[]).holding([0.0; 3]), 0);
    }
}
