//! Layer normalization.

use super::{Check, Window, bytes_of};
use crate::op::operands;
use crate::{Cost, DType, Op, Result, View, ViewMut};

/// Normalizes each row to mean 0 and variance 1, then scales and shifts it.
///
/// out = (x − mean) · rstd · weight + bias,   mean = Σx / D,   rstd = 1 / √(Σ(x − mean)² / D + eps)
///
/// | argument | shape | dtype |
/// |---|---|---|
/// | `x` | [.., D], last stride 1 | f32, bf16, f16 |
/// | `weight`, `bias` | \[D\], bias optional | as `x` |
/// | `out` | as `x`, last stride 1; overwritten | as `x` |
/// | `mean`, `rstd` | [..], optional; overwritten | f32, needed by `LayerNormBackward` |
///
/// Precision: two passes in f32 (the variance is never a difference of squares). Cost: 8 flop per element.
///
/// # Errors
/// `Shape`, `DType`, `Layout`; `Value` if `eps` is negative or not finite.
///
/// # Source
/// Ba, Kiros, Hinton, *Layer Normalization* (2016).
pub struct LayerNorm<'a> {
    /// Rows to normalize.
    pub x: View<'a>,
    /// Scale of each column.
    pub weight: View<'a>,
    /// Shift of each column.
    pub bias: Option<View<'a>>,
    /// Added to the variance.
    pub eps: f32,
    /// Result.
    pub out: ViewMut<'a>,
    /// Mean of each row.
    pub mean: Option<ViewMut<'a>>,
    /// Reciprocal standard deviation of each row.
    pub rstd: Option<ViewMut<'a>>,
}

/// What norms have in common. Returns the leading dimensions' count.
pub(super) fn check_norm(check: Check, x: &View<'_>, weight: &View<'_>, eps: f32) -> Result<usize> {
    check.rank_at_least("x", x, 1)?;
    check.float("x", x)?;
    check.last_dense("x", x)?;
    let lead = x.shape().rank() - 1;
    check.shape("weight", weight, &x.shape()[lead..])?;
    check.dtype("weight", weight, x.dtype())?;
    check.value("eps", eps.is_finite() && eps >= 0.0, "finite and not negative", eps)?;
    Ok(lead)
}

/// A row-wise output shaped and typed as `x`.
pub(super) fn check_rows(check: Check, arg: &'static str, out: &ViewMut<'_>, x: &View<'_>) -> Result<()> {
    check.shape(arg, out, x.shape())?;
    check.dtype(arg, out, x.dtype())?;
    check.last_dense(arg, out)?;
    check.writable(arg, out)
}

/// An optional statistic per row.
pub(super) fn check_stat(check: Check, arg: &'static str, stat: &Option<ViewMut<'_>>, rows: &[usize]) -> Result<()> {
    if let Some(stat) = stat {
        check.shape(arg, stat, rows)?;
        check.dtype(arg, stat, DType::F32)?;
        check.writable(arg, stat)?;
    }
    Ok(())
}

impl Op for LayerNorm<'_> {
    const NAME: &'static str = "layer_norm";
    operands!(x, weight, bias, out, mean, rstd);

    fn check(&self) -> Result<()> {
        let check = Check(Self::NAME);
        let lead = check_norm(check, &self.x, &self.weight, self.eps)?;
        let (rows, width) = self.x.shape().split_at(lead);
        if let Some(bias) = &self.bias {
            check.shape("bias", bias, width)?;
            check.dtype("bias", bias, self.x.dtype())?;
        }
        check_rows(check, "out", &self.out, &self.x)?;
        check_stat(check, "mean", &self.mean, rows)?;
        check_stat(check, "rstd", &self.rstd, rows)
    }

    fn cost(&self) -> Cost {
        let stats = bytes_of(&self.mean) + bytes_of(&self.rstd);
        let bytes = 2 * self.x.bytes() + self.weight.bytes() + bytes_of(&self.bias) + stats;
        Cost { flop: 8 * self.x.numel() as u64, bytes }
    }

    fn dtype(&self) -> DType {
        self.x.dtype()
    }
}
