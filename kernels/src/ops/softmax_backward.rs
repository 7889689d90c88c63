//! Gradient of softmax.

use super::layer_norm::check_rows;
use super::{Check, Window};
use crate::op::operands;
use crate::{Cost, DType, Op, Result, View, ViewMut};

/// dx[.., i] = y[.., i] · (dout[.., i] − Σⱼ dout[.., j]·y[.., j])
///
/// | argument | shape | dtype |
/// |---|---|---|
/// | `y` | [.., N], last stride 1: output of [`Softmax`](super::Softmax) | f32, bf16, f16 |
/// | `dout` | as `y`, last stride 1 | as `y` |
/// | `dx` | as `y`, last stride 1; overwritten | as `y` |
///
/// Sums in f32. Cost: 4 flop per element.
///
/// # Errors
/// `Shape`, `DType`, `Layout`.
pub struct SoftmaxBackward<'a> {
    /// Probabilities.
    pub y: View<'a>,
    /// Gradient of `y`.
    pub dout: View<'a>,
    /// Gradient of the scores.
    pub dx: ViewMut<'a>,
}

impl Op for SoftmaxBackward<'_> {
    const NAME: &'static str = "softmax_backward";
    operands!(y, dout, dx);

    fn check(&self) -> Result<()> {
        let check = Check(Self::NAME);
        check.rank_at_least("y", &self.y, 1)?;
        check.float("y", &self.y)?;
        check.last_dense("y", &self.y)?;
        check.shape("dout", &self.dout, self.y.shape())?;
        check.dtype("dout", &self.dout, self.y.dtype())?;
        check.last_dense("dout", &self.dout)?;
        check_rows(check, "dx", &self.dx, &self.y)
    }

    fn cost(&self) -> Cost {
        Cost { flop: 4 * self.y.numel() as u64, bytes: 3 * self.y.bytes() }
    }

    fn dtype(&self) -> DType {
        self.y.dtype()
    }
}
