//! Softmax of each row.

use super::layer_norm::check_rows;
use super::{Check, Window};
use crate::op::operands;
use crate::{Cost, DType, Op, Result, View, ViewMut};

/// out[.., i] = exp(x[.., i] − max) / Σⱼ exp(x[.., j] − max)
///
/// | argument | shape | dtype |
/// |---|---|---|
/// | `x` | [.., N], last stride 1 | f32, bf16, f16 |
/// | `out` | as `x`, last stride 1; overwritten | as `x` |
///
/// A row of −∞ (all masked) gives zeros. A row with NaN or +∞ gives NaN.
/// Precision: sums in f32; rows sum to 1 within 4u·√N before the store. Cost: 5 flop per element.
///
/// # Errors
/// `Shape`, `DType`, `Layout`.
pub struct Softmax<'a> {
    /// Scores.
    pub x: View<'a>,
    /// Probabilities.
    pub out: ViewMut<'a>,
}

impl Op for Softmax<'_> {
    const NAME: &'static str = "softmax";
    operands!(x, out);

    fn check(&self) -> Result<()> {
        let check = Check(Self::NAME);
        check.rank_at_least("x", &self.x, 1)?;
        check.float("x", &self.x)?;
        check.last_dense("x", &self.x)?;
        check_rows(check, "out", &self.out, &self.x)
    }

    fn cost(&self) -> Cost {
        Cost { flop: 5 * self.x.numel() as u64, bytes: self.x.bytes() + self.out.bytes() }
    }

    fn dtype(&self) -> DType {
        self.x.dtype()
    }
}
