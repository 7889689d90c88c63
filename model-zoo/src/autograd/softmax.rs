//! Softmax of each row; its result is all the gradient needs.

use super::{Result, Tape, Var};
use kernels::Op;
use kernels::ops::{Softmax, SoftmaxBackward};

impl Tape {
    /// Softmax along the last dimension, which has stride 1.
    ///
    /// # Errors
    /// As [`Softmax`].
    pub fn softmax(&mut self, x: &Var) -> Result<Var> {
        let mut out = self.output(x.dtype(), *x.shape())?;
        Softmax { x: x.view()?, out: out.view_mut()? }.run(&**self.on())?;
        let out = self.share(out);
        let (y, input) = (out.clone(), x.input());
        self.record(Softmax::NAME, &[x], out, move |back, dout| {
            let dout = back.last_dense(dout)?;
            let mut dx = back.output_for(&input)?;
            SoftmaxBackward { y: y.view()?, dout: dout.view()?, dx: dx.view_mut()? }.run(back.on())?;
            back.give(&input, dx)
        })
    }
}
