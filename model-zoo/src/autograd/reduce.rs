//! Sums and means along one dimension: the gradient is repeated along it.

use super::var::with_dim;
use super::{Result, Tape, Var};
use kernels::ops::{Reduce, ReduceOp, Unary, UnaryOp};
use kernels::{DType, Op};

impl Tape {
    /// Reduces `axis`, which becomes 1; the other dimensions stay.
    ///
    /// # Errors
    /// As [`Reduce`]; `NotDifferentiable` for `Max` of an argument that needs a gradient.
    pub fn reduce(&mut self, op: ReduceOp, x: &Var, axis: usize) -> Result<Var> {
        let len = x.shape().get(axis).copied().unwrap_or(0);
        let mut out = self.output(x.dtype(), with_dim(x.shape(), axis, 1))?;
        Reduce { op, x: x.view()?, axis, out: out.view_mut()? }.run(&**self.on())?;
        let (out, input) = (self.share(out), x.input());
        let scale = match op {
            ReduceOp::Sum => 1.0,
            ReduceOp::Mean => 1.0 / len as f32,
            ReduceOp::Max => {
                return self.record_without_gradient(Reduce::NAME, "the place of the maximum is not kept", &[x], out);
            }
        };
        self.record(Reduce::NAME, &[x], out, move |back, dout| {
            let mut dout = dout.clone();
            if len > 0 && scale != 1.0 {
                let mut scaled = back.output(dout.dtype(), *dout.shape())?;
                let op = UnaryOp::Affine { scale, shift: 0.0 };
                Unary { op, x: dout.view()?, out: scaled.view_mut()? }.run(back.on())?;
                dout = back.share(scaled);
            }
            back.pass(&input, dout.window(dout.layout.broadcast_to(input.shape)?)?)
        })
    }

    /// Mean of all elements of a vector \[M\]: \[1\], in f32.
    ///
    /// # Errors
    /// As [`Reduce`].
    pub fn mean(&mut self, x: &Var) -> Result<Var> {
        let x = if x.dtype() == DType::F32 { x.clone() } else { self.cast(x, DType::F32)? };
        self.reduce(ReduceOp::Mean, &x, 0)
    }
}
