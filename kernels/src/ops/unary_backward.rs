//! Gradients of functions of one element.

use super::unary::check_unary;
use super::{Check, UnaryOp, Window};
use crate::op::operands;
use crate::{Cost, DType, Op, Result, View, ViewMut};

/// dx\[i\] = f′(x\[i\]) · dout\[i\]
///
/// | argument | shape | dtype |
/// |---|---|---|
/// | `x` | any, any strides: argument of [`Unary`](super::Unary) | f32, bf16, f16 |
/// | `dout` | as `x`, any strides | as `x` |
/// | `dx` | as `x`; overwritten | as `x` |
///
/// At kinks: relu′(0) = 0, abs′(0) = 0.
///
/// # Errors
/// `Shape`, `DType`, `Layout`; `Value` if a parameter of `Affine` is not finite.
pub struct UnaryBackward<'a> {
    /// The function.
    pub op: UnaryOp,
    /// Argument of the forward op.
    pub x: View<'a>,
    /// Gradient of its result.
    pub dout: View<'a>,
    /// Gradient of `x`.
    pub dx: ViewMut<'a>,
}

impl Op for UnaryBackward<'_> {
    const NAME: &'static str = "unary_backward";
    operands!(x, dout, dx);

    fn check(&self) -> Result<()> {
        let check = Check(Self::NAME);
        check_unary(check, self.op)?;
        check.float("x", &self.x)?;
        check.shape("dout", &self.dout, self.x.shape())?;
        check.dtype("dout", &self.dout, self.x.dtype())?;
        check.shape("dx", &self.dx, self.x.shape())?;
        check.dtype("dx", &self.dx, self.x.dtype())?;
        check.writable("dx", &self.dx)
    }

    fn cost(&self) -> Cost {
        Cost { flop: 2 * self.x.numel() as u64, bytes: 3 * self.x.bytes() }
    }

    fn dtype(&self) -> DType {
        self.x.dtype()
    }
}
