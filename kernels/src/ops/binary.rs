//! Functions of two elements.

use super::{Check, Window};
use crate::op::operands;
use crate::{Cost, DType, Op, Result, View, ViewMut};

/// A function of two elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BinaryOp {
    /// a + b.
    Add,
    /// a − b.
    Sub,
    /// a · b.
    Mul,
    /// a / b.
    Div,
    /// The larger; NaN if either is NaN.
    Max,
    /// The smaller; NaN if either is NaN.
    Min,
}

/// out\[i\] = f(a\[i\], b\[i\])
///
/// | argument | shape | dtype |
/// |---|---|---|
/// | `a`, `b` | as `out`, any strides (broadcast by stride 0) | f32, bf16, f16 |
/// | `out` | any; overwritten | as `a` |
///
/// Correctly rounded.
///
/// # Errors
/// `Shape`, `DType`, `Layout`.
pub struct Binary<'a> {
    /// The function.
    pub op: BinaryOp,
    /// First argument.
    pub a: View<'a>,
    /// Second argument.
    pub b: View<'a>,
    /// Result.
    pub out: ViewMut<'a>,
}

impl Op for Binary<'_> {
    const NAME: &'static str = "binary";
    operands!(a, b, out);

    fn check(&self) -> Result<()> {
        let check = Check(Self::NAME);
        check.float("a", &self.a)?;
        check.shape("b", &self.b, self.a.shape())?;
        check.dtype("b", &self.b, self.a.dtype())?;
        check.shape("out", &self.out, self.a.shape())?;
        check.dtype("out", &self.out, self.a.dtype())?;
        check.writable("out", &self.out)
    }

    fn cost(&self) -> Cost {
        Cost { flop: self.out.numel() as u64, bytes: 3 * self.out.bytes() }
    }

    fn dtype(&self) -> DType {
        self.a.dtype()
    }
}
