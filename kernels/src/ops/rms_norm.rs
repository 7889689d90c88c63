//! Root-mean-square normalization.

use super::layer_norm::{check_norm, check_rows, check_stat};
use super::{Check, Window, bytes_of};
use crate::op::operands;
use crate::{Cost, DType, Op, Result, View, ViewMut};

/// Divides each row by its root mean square, then scales it.
///
/// out = x · rstd · weight,   rstd = 1 / √(Σx² / D + eps)
///
/// | argument | shape | dtype |
/// |---|---|---|
/// | `x` | [.., D], last stride 1 | f32, bf16, f16 |
/// | `weight` | \[D\] | as `x` |
/// | `out` | as `x`, last stride 1; overwritten | as `x` |
/// | `rstd` | [..], optional; overwritten | f32, needed by `RmsNormBackward` |
///
/// Precision: sums in f32. Cost: 4 flop per element.
///
/// # Errors
/// `Shape`, `DType`, `Layout`; `Value` if `eps` is negative or not finite.
///
/// # Source
/// Zhang, Sennrich, *Root Mean Square Layer Normalization* (2019).
pub struct RmsNorm<'a> {
    /// Rows to normalize.
    pub x: View<'a>,
    /// Scale of each column.
    pub weight: View<'a>,
    /// Added to the mean square.
    pub eps: f32,
    /// Result.
    pub out: ViewMut<'a>,
    /// Reciprocal root mean square of each row.
    pub rstd: Option<ViewMut<'a>>,
}

impl Op for RmsNorm<'_> {
    const NAME: &'static str = "rms_norm";
    operands!(x, weight, out, rstd);

    fn check(&self) -> Result<()> {
        let check = Check(Self::NAME);
        let lead = check_norm(check, &self.x, &self.weight, self.eps)?;
        check_rows(check, "out", &self.out, &self.x)?;
        check_stat(check, "rstd", &self.rstd, &self.x.shape()[..lead])
    }

    fn cost(&self) -> Cost {
        let bytes = 2 * self.x.bytes() + self.weight.bytes() + bytes_of(&self.rstd);
        Cost { flop: 4 * self.x.numel() as u64, bytes }
    }

    fn dtype(&self) -> DType {
        self.x.dtype()
    }
}
