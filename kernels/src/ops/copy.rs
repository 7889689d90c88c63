//! Strided copy.

use super::{Check, Window};
use crate::op::operands;
use crate::{Cost, DType, Op, Result, View, ViewMut};

/// `out = x`, bit for bit (NaN payloads and −0 included).
///
/// | argument | shape | dtype |
/// |---|---|---|
/// | `x` | any, any strides | any |
/// | `out` | as `x`; overwritten | as `x` |
///
/// # Errors
/// `Shape`, `DType`, `Layout`.
pub struct Copy<'a> {
    /// Source.
    pub x: View<'a>,
    /// Destination.
    pub out: ViewMut<'a>,
}

impl Op for Copy<'_> {
    const NAME: &'static str = "copy";
    operands!(x, out);

    fn check(&self) -> Result<()> {
        let check = Check(Self::NAME);
        check.shape("out", &self.out, self.x.shape())?;
        check.dtype("out", &self.out, self.x.dtype())?;
        check.writable("out", &self.out)
    }

    fn cost(&self) -> Cost {
        Cost { flop: 0, bytes: self.x.bytes() + self.out.bytes() }
    }

    fn dtype(&self) -> DType {
        self.x.dtype()
    }
}
