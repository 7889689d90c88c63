//! Counter-based random numbers.

use super::{Check, Window};
use crate::op::operands;
use crate::{Cost, DType, Op, Result, ViewMut};

/// What is drawn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Distribution {
    /// low + u·(high − low), u = (word >> 8)·2⁻²⁴ in [0, 1). Computed in f32 as written.
    Uniform {
        /// Smallest value.
        low: f32,
        /// Bound, not reached before rounding.
        high: f32,
    },
    /// mean + std·z by Box–Muller: words (w₀, w₁) give z₀ = r·cos φ, z₁ = r·sin φ with r = √(−2·ln(((w₀ >> 8) + 1)·2⁻²⁴)),
    /// φ = 2π·(w₁ >> 8)·2⁻²⁴; words (w₂, w₃) give z₂, z₃ likewise.
    Normal {
        /// Mean.
        mean: f32,
        /// Standard deviation.
        std: f32,
    },
}

/// Random numbers that depend on seed, stream and place alone: the same on every backend and thread count.
///
/// Element i (row-major) uses word i mod 4 of Philox-4×32-10 with counter (i/4 low, i/4 high, stream low, stream high) and key
/// (seed low, seed high).
///
/// `out`: any shape and strides, f32, bf16 or f16; overwritten. Uniform words are exact on every backend; normal values agree
/// within 8 ULP of f32 at the scale of `std`.
///
/// # Errors
/// `DType`, `Layout`; `Value` if a parameter is not finite, `high` < `low` or `std` < 0.
///
/// # Source
/// Salmon et al., *Parallel Random Numbers: As Easy as 1, 2, 3* (2011); Box, Muller (1958).
pub struct Random<'a> {
    /// Key.
    pub seed: u64,
    /// Independent sequence of the same seed, e.g. a number per parameter or per step.
    pub stream: u64,
    /// What is drawn.
    pub distribution: Distribution,
    /// Result.
    pub out: ViewMut<'a>,
}

impl Op for Random<'_> {
    const NAME: &'static str = "random";
    operands!(out);

    fn check(&self) -> Result<()> {
        let check = Check(Self::NAME);
        match self.distribution {
            Distribution::Uniform { low, high } => {
                check.finite("low", low)?;
                check.finite("high", high)?;
                check.value("high", low <= high, "at least `low`", high)?;
            }
            Distribution::Normal { mean, std } => {
                check.finite("mean", mean)?;
                check.value("std", std.is_finite() && std >= 0.0, "finite and not negative", std)?;
            }
        }
        check.float("out", &self.out)?;
        check.writable("out", &self.out)
    }

    fn cost(&self) -> Cost {
        Cost { flop: 0, bytes: self.out.bytes() }
    }

    fn dtype(&self) -> DType {
        self.out.dtype()
    }
}
