//! Gradient of root-mean-square normalization.

use super::layer_norm::{check_norm, check_rows};
use super::{Check, Window};
use crate::op::operands;
use crate::{Cost, DType, Op, Result, View, ViewMut};

/// Gradients of [`RmsNorm`](super::RmsNorm).
///
/// x̂ = x·rstd,  g = dout·weight,  dx = rstd·(g − x̂·Σ(g·x̂)/D),  dweight = Σ_rows dout·x̂
///
/// | argument | shape | dtype |
/// |---|---|---|
/// | `x`, `dout`, `dx` | [.., D], last stride 1 | f32, bf16, f16 |
/// | `weight`, `dweight` | \[D\] | as `x` |
/// | `rstd` | [..] from the forward op | f32 |
///
/// Outputs are overwritten. Sums in f32, in a fixed order. Cost: 10 flop per element.
///
/// # Errors
/// `Shape`, `DType`, `Layout`.
pub struct RmsNormBackward<'a> {
    /// Input of the forward op.
    pub x: View<'a>,
    /// Scale of each column.
    pub weight: View<'a>,
    /// Reciprocal root mean square of each row.
    pub rstd: View<'a>,
    /// Gradient of `out`.
    pub dout: View<'a>,
    /// Gradient of `x`.
    pub dx: ViewMut<'a>,
    /// Gradient of `weight`.
    pub dweight: ViewMut<'a>,
}

impl Op for RmsNormBackward<'_> {
    const NAME: &'static str = "rms_norm_backward";
    operands!(x, weight, rstd, dout, dx, dweight);

    fn check(&self) -> Result<()> {
        let check = Check(Self::NAME);
        let lead = check_norm(check, &self.x, &self.weight, 0.0)?;
        let (rows, width) = self.x.shape().split_at(lead);
        check.shape("rstd", &self.rstd, rows)?;
        check.dtype("rstd", &self.rstd, DType::F32)?;
        check.shape("dout", &self.dout, self.x.shape())?;
        check.dtype("dout", &self.dout, self.x.dtype())?;
        check.last_dense("dout", &self.dout)?;
        check_rows(check, "dx", &self.dx, &self.x)?;
        check.shape("dweight", &self.dweight, width)?;
        check.dtype("dweight", &self.dweight, self.x.dtype())?;
        check.writable("dweight", &self.dweight)
    }

    fn cost(&self) -> Cost {
        let bytes = 3 * self.x.bytes() + self.rstd.bytes() + 2 * self.weight.bytes();
        Cost { flop: 10 * self.x.numel() as u64, bytes }
    }

    fn dtype(&self) -> DType {
        self.x.dtype()
    }
}
