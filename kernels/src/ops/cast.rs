//! Conversion between dtypes.

use super::{Check, Window};
use crate::op::operands;
use crate::{Cost, DType, Op, Result, View, ViewMut};

/// `out = x` converted: float to float to nearest, ties to even (overflow to infinity, NaN stays NaN); integers to f32 to nearest.
///
/// | argument | shape | dtype |
/// |---|---|---|
/// | `x` | any, any strides | any |
/// | `out` | as `x`; overwritten | f32, bf16, f16; only f32 if `x` is an integer |
///
/// # Errors
/// `Shape`, `DType`, `Layout`.
pub struct Cast<'a> {
    /// Source.
    pub x: View<'a>,
    /// Destination.
    pub out: ViewMut<'a>,
}

impl Op for Cast<'_> {
    const NAME: &'static str = "cast";
    operands!(x, out);

    fn check(&self) -> Result<()> {
        let check = Check(Self::NAME);
        check.shape("out", &self.out, self.x.shape())?;
        match self.x.dtype().is_float() {
            true => check.float("out", &self.out)?,
            false => check.dtype("out", &self.out, DType::F32)?,
        }
        check.writable("out", &self.out)
    }

    fn cost(&self) -> Cost {
        Cost { flop: 0, bytes: self.x.bytes() + self.out.bytes() }
    }

    fn dtype(&self) -> DType {
        self.x.dtype()
    }
}
