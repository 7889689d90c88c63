//! Reference of [`Rope`](crate::ops::Rope).

use crate::ops::{Direction, Pairing};

/// Where, by how much and in which sense rows are rotated.
#[derive(Clone, Copy, Debug)]
pub struct Rotation {
    /// Position of t = 0.
    pub position: usize,
    /// Base of the angles.
    pub theta: f64,
    /// Which elements form pairs.
    pub pairing: Pairing,
    /// Sense.
    pub direction: Direction,
}

/// Places of pair `i` in a head of `d` elements.
pub fn pair(pairing: Pairing, i: usize, d: usize) -> (usize, usize) {
    match pairing {
        Pairing::Interleaved => (2 * i, 2 * i + 1),
        Pairing::Halves => (i, i + d / 2),
    }
}

/// Rotates `x` `[B, T, H, D]` into `out`.
pub fn rope([batch, seq, heads, d]: [usize; 4], rotation: Rotation, x: &[f64], out: &mut [f64]) {
    for row in 0..batch * seq * heads {
        let t = row / heads % seq;
        for i in 0..d / 2 {
            let angle = (rotation.position + t) as f64 * rotation.theta.powf(-2.0 * i as f64 / d as f64);
            let (sin, cos) = match rotation.direction {
                Direction::Forward => angle.sin_cos(),
                Direction::Backward => (-angle).sin_cos(),
            };
            let (a, b) = pair(rotation.pairing, i, d);
            let (xa, xb) = (x[row * d + a], x[row * d + b]);
            out[row * d + a] = xa * cos - xb * sin;
            out[row * d + b] = xa * sin + xb * cos;
        }
    }
}
