//! Rotary position embedding.

use super::{Check, Window};
use crate::op::operands;
use crate::{Cost, DType, Op, Result, View, ViewMut};

/// Which elements of a head form the pairs that are rotated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Pairing {
    /// (x₀, x₁), (x₂, x₃), …: the paper and the original Llama weights.
    Interleaved,
    /// (xᵢ, xᵢ₊D/₂): GPT-NeoX and Llama weights as Hugging Face stores them.
    Halves,
}

/// Sense of the rotation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// By +angle.
    Forward,
    /// By −angle: the gradient of the forward rotation, and its inverse.
    Backward,
}

/// Rotates each pair of a head by an angle that grows with its position.
///
/// (y_a, y_b) = (x_a·cos φ − x_b·sin φ, x_a·sin φ + x_b·cos φ),   φ = (position + t) · theta^(−2i/D),   i = 0..D/2
///
/// | argument | shape | dtype |
/// |---|---|---|
/// | `x` | [B, T, H, D], last stride 1, D even | f32, bf16, f16 |
/// | `out` | [B, T, H, D], last stride 1; overwritten | as `x` |
///
/// Precision: φ is computed in f64, its sine and cosine rounded to f32. Cost: 3·B·T·H·D flop.
///
/// # Errors
/// `Shape`, `DType`, `Layout`; `Value` if `theta` is not finite and positive, or a position exceeds 2³².
///
/// # Source
/// Su et al., *RoFormer* (2021), equation 34.
pub struct Rope<'a> {
    /// Queries or keys.
    pub x: View<'a>,
    /// Position of the first row, t = 0.
    pub position: usize,
    /// Base of the angles, usually 10,000.
    pub theta: f32,
    /// Which elements form pairs.
    pub pairing: Pairing,
    /// Sense of the rotation.
    pub direction: Direction,
    /// Result.
    pub out: ViewMut<'a>,
}

impl Op for Rope<'_> {
    const NAME: &'static str = "rope";
    operands!(x, out);

    fn check(&self) -> Result<()> {
        let check = Check(Self::NAME);
        let [b, t, h, d] = check.dims("x", &self.x, "[B, T, H, D]")?;
        if d % 2 != 0 {
            return check.wrong_shape("x", &self.x, "[B, T, H, D] with D even");
        }
        check.float("x", &self.x)?;
        check.last_dense("x", &self.x)?;
        check.shape("out", &self.out, &[b, t, h, d])?;
        check.dtype("out", &self.out, self.x.dtype())?;
        check.last_dense("out", &self.out)?;
        check.writable("out", &self.out)?;
        check.value("theta", self.theta.is_finite() && self.theta > 0.0, "finite and positive", self.theta)?;
        let last = self.position.checked_add(t).filter(|&last| last <= 1 << 32);
        check.value("position", last.is_some(), "such that the last position is at most 2³²", self.position)
    }

    fn cost(&self) -> Cost {
        Cost { flop: 3 * self.x.numel() as u64, bytes: self.x.bytes() + self.out.bytes() }
    }

    fn dtype(&self) -> DType {
        self.x.dtype()
    }
}
