//! Functions of one element.

use super::{Check, Window};
use crate::op::operands;
use crate::{Cost, DType, Op, Result, View, ViewMut};

/// A function of one element.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum UnaryOp {
    /// −x.
    Neg,
    /// |x|.
    Abs,
    /// x².
    Square,
    /// √x; NaN below −0.
    Sqrt,
    /// 1/√x.
    Rsqrt,
    /// 1/x.
    Recip,
    /// eˣ.
    Exp,
    /// ln x.
    Log,
    /// tanh x.
    Tanh,
    /// 1 / (1 + e⁻ˣ).
    Sigmoid,
    /// max(x, 0); NaN stays NaN, −0 gives +0.
    Relu,
    /// 0.5·x·(1 + tanh(√(2/π)·(x + 0.044715·x³))).
    Gelu,
    /// 0.5·x·(1 + erf(x/√2)).
    GeluErf,
    /// x / (1 + e⁻ˣ).
    Silu,
    /// scale·x + shift, fused or not.
    Affine {
        /// Factor.
        scale: f32,
        /// Term.
        shift: f32,
    },
}

/// out\[i\] = f(x\[i\])
///
/// | argument | shape | dtype |
/// |---|---|---|
/// | `x` | any, any strides | f32, bf16, f16 |
/// | `out` | as `x`; overwritten | as `x` |
///
/// Precision in f32: neg, abs, square, sqrt, recip, relu correctly rounded; affine within 2 roundings; the others within 4 ULP where
/// |f| is normal; gelu, gelu_erf within 2⁻²³·max(1, |x|) absolutely beside that, as 1 + tanh and 1 + erf cancel. At −∞ gelu,
/// gelu_erf and silu are 0 or NaN.
///
/// # Errors
/// `Shape`, `DType`, `Layout`; `Value` if a parameter of `Affine` is not finite.
pub struct Unary<'a> {
    /// The function.
    pub op: UnaryOp,
    /// Argument.
    pub x: View<'a>,
    /// Result.
    pub out: ViewMut<'a>,
}

/// Parameters of `Affine` are finite.
pub(super) fn check_unary(check: Check, op: UnaryOp) -> Result<()> {
    if let UnaryOp::Affine { scale, shift } = op {
        check.finite("scale", scale)?;
        check.finite("shift", shift)?;
    }
    Ok(())
}

impl Op for Unary<'_> {
    const NAME: &'static str = "unary";
    operands!(x, out);

    fn check(&self) -> Result<()> {
        let check = Check(Self::NAME);
        check_unary(check, self.op)?;
        check.float("x", &self.x)?;
        check.shape("out", &self.out, self.x.shape())?;
        check.dtype("out", &self.out, self.x.dtype())?;
        check.writable("out", &self.out)
    }

    fn cost(&self) -> Cost {
        Cost { flop: self.x.numel() as u64, bytes: self.x.bytes() + self.out.bytes() }
    }

    fn dtype(&self) -> DType {
        self.x.dtype()
    }
}
