//! A constant.

use super::{Check, Window};
use crate::op::operands;
use crate::{Cost, DType, Op, Result, ViewMut};

/// `out[i] = value`, rounded to the dtype of `out` (integers: nearest, saturating, NaN to 0).
///
/// `out`: any shape, strides and dtype; overwritten.
///
/// # Errors
/// `Layout`.
pub struct Fill<'a> {
    /// The constant; NaN and infinities are allowed.
    pub value: f64,
    /// Destination.
    pub out: ViewMut<'a>,
}

impl Op for Fill<'_> {
    const NAME: &'static str = "fill";
    operands!(out);

    fn check(&self) -> Result<()> {
        Check(Self::NAME).writable("out", &self.out)
    }

    fn cost(&self) -> Cost {
        Cost { flop: 0, bytes: self.out.bytes() }
    }

    fn dtype(&self) -> DType {
        self.out.dtype()
    }
}
