//! Functions of one element: dx = f′(x)·dout.

use super::{Result, Tape, Var};
use kernels::Op;
use kernels::ops::{Unary, UnaryBackward, UnaryOp};

impl Tape {
    /// f of each element of `x`, any strides.
    ///
    /// # Errors
    /// As [`Unary`].
    pub fn unary(&mut self, op: UnaryOp, x: &Var) -> Result<Var> {
        let mut out = self.output(x.dtype(), *x.shape())?;
        Unary { op, x: x.view()?, out: out.view_mut()? }.run(&**self.on())?;
        let (out, x_saved) = (self.share(out), x.clone());
        self.record(Unary::NAME, &[x], out, move |back, dout| {
            let input = x_saved.input();
            let mut dx = back.output_for(&input)?;
            UnaryBackward { op, x: x_saved.view()?, dout: dout.view()?, dx: dx.view_mut()? }.run(back.on())?;
            back.give(&input, dx)
        })
    }

    /// `factor` times each element.
    ///
    /// # Errors
    /// `Value` if `factor` is not finite; what the kernels report.
    pub fn scale(&mut self, x: &Var, factor: f32) -> Result<Var> {
        self.unary(UnaryOp::Affine { scale: factor, shift: 0.0 }, x)
    }
}
