//! Accumulation in place.

use super::{Check, Window};
use crate::op::operands;
use crate::{Cost, DType, Op, Result, View, ViewMut};

/// out\[i\] = alpha · x\[i\] + out\[i\]
///
/// | argument | shape | dtype |
/// |---|---|---|
/// | `x` | as `out`, any strides (broadcast by stride 0) | f32, bf16, f16 |
/// | `out` | any; read and written | as `x`, or f32 |
///
/// Computed in f32, fused or not, one rounding on store.
///
/// # Errors
/// `Shape`, `DType`, `Layout`; `Value` if `alpha` is not finite.
///
/// # Source
/// AXPY of the BLAS.
pub struct Axpy<'a> {
    /// Factor.
    pub alpha: f32,
    /// Term.
    pub x: View<'a>,
    /// Accumulator.
    pub out: ViewMut<'a>,
}

impl Op for Axpy<'_> {
    const NAME: &'static str = "axpy";
    operands!(x, out);

    fn check(&self) -> Result<()> {
        let check = Check(Self::NAME);
        check.finite("alpha", self.alpha)?;
        check.float("x", &self.x)?;
        check.shape("out", &self.out, self.x.shape())?;
        check.dtype_among("out", &self.out, &[self.x.dtype(), DType::F32])?;
        check.writable("out", &self.out)
    }

    fn cost(&self) -> Cost {
        Cost { flop: 2 * self.out.numel() as u64, bytes: self.x.bytes() + 2 * self.out.bytes() }
    }

    fn dtype(&self) -> DType {
        self.x.dtype()
    }
}
