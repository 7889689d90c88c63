//! Sums and maxima along one dimension.

use super::{Check, Window};
use crate::op::operands;
use crate::{Cost, DType, Op, Result, View, ViewMut};

/// How a dimension is reduced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ReduceOp {
    /// Σx; 0 for none.
    Sum,
    /// Σx / n; NaN for none.
    Mean,
    /// The largest; NaN if any is NaN; −∞ for none.
    Max,
}

/// out[.., 0, ..] = reduction of x[.., i, ..] over i
///
/// | argument | shape | dtype |
/// |---|---|---|
/// | `x` | any, any strides | f32, bf16, f16 |
/// | `out` | as `x`, but 1 along `axis`; overwritten | as `x`, or f32 |
///
/// Precision: sums in f32 in a fixed order (γ_n·Σ|x|), one rounding on store. Cost: one flop per element of `x`.
///
/// # Errors
/// `Shape`, `DType`, `Layout`; `Value` if `axis` is not below the rank.
pub struct Reduce<'a> {
    /// How.
    pub op: ReduceOp,
    /// Argument.
    pub x: View<'a>,
    /// The dimension that becomes 1.
    pub axis: usize,
    /// Result.
    pub out: ViewMut<'a>,
}

impl Op for Reduce<'_> {
    const NAME: &'static str = "reduce";
    operands!(x, out);

    fn check(&self) -> Result<()> {
        let check = Check(Self::NAME);
        check.float("x", &self.x)?;
        check.value("axis", self.axis < self.x.shape().rank(), "below the rank of `x`", self.axis)?;
        check.shape("out", &self.out, &self.x.shape().with(self.axis, 1))?;
        check.dtype_among("out", &self.out, &[self.x.dtype(), DType::F32])?;
        check.writable("out", &self.out)
    }

    fn cost(&self) -> Cost {
        Cost { flop: self.x.numel() as u64, bytes: self.x.bytes() + self.out.bytes() }
    }

    fn dtype(&self) -> DType {
        self.x.dtype()
    }
}
