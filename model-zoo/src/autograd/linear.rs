//! Fully connected layer: out = act(x·Wᵀ + b), dx = dpre·W, dW = dpreᵀ·x, db = Σ_rows dpre with dpre = act′·dout.

use super::var::with_dim;
use super::{Result, Tape, Var};
use kernels::ops::{Act, Linear, Matmul, Reduce, ReduceOp, UnaryOp};
use kernels::{Error, Layout, Op, Packed, WeightRef};

/// The weight of a fully connected layer on a tape.
#[derive(Clone, Copy, Debug)]
pub enum Matrix<'a> {
    /// `[N, K]`, learned or not.
    Dense(&'a Var),
    /// Laid out by [`Memory::pack`](kernels::Memory::pack), in any format; not learned.
    Packed(&'a Packed),
}

impl<'a> From<&'a Var> for Matrix<'a> {
    fn from(var: &'a Var) -> Self {
        Matrix::Dense(var)
    }
}

impl<'a> From<&'a Packed> for Matrix<'a> {
    fn from(packed: &'a Packed) -> Self {
        Matrix::Packed(packed)
    }
}

/// The function an activation stands for, as an op with a gradient of its own.
fn function(act: Act) -> Option<UnaryOp> {
    match act {
        Act::None => None,
        Act::Relu => Some(UnaryOp::Relu),
        Act::Gelu => Some(UnaryOp::Gelu),
        Act::GeluErf => Some(UnaryOp::GeluErf),
        Act::Silu => Some(UnaryOp::Silu),
    }
}

/// All leading dimensions joined: [M, K].
fn rows(layout: &Layout) -> Result<Layout> {
    let Some((&width, lead)) = layout.shape().split_last() else {
        let wanted = "[.., K]".into();
        return Err(Error::Shape { op: Linear::NAME, arg: "x", wanted, got: *layout.shape() }.into());
    };
    Ok(layout.reshape([lead.iter().product(), width])?)
}

impl Tape {
    /// `x` [.., K] through a weight [N, K], an optional bias \[N\] and an activation: [.., N].
    ///
    /// Recording, the activation runs as an op of its own, so that its argument is kept for the gradient.
    ///
    /// # Errors
    /// As [`Linear`]; `Value` if the leading dimensions of `x` cannot be joined without a copy; `NotDifferentiable` for a packed
    /// weight while `x` or the bias needs a gradient.
    pub fn linear<'w>(&mut self, x: &Var, weight: impl Into<Matrix<'w>>, bias: Option<&Var>, act: Act) -> Result<Var> {
        let weight = weight.into();
        let x_rows = rows(&x.layout)?;
        let (weight_ref, n) = match weight {
            Matrix::Dense(var) => (WeightRef::Dense(var.view()?), var.shape().first().copied().unwrap_or(0)),
            Matrix::Packed(packed) => (WeightRef::Packed(packed), packed.n()),
        };
        let dense = if let Matrix::Dense(var) = weight { var } else { x };
        let inputs = [x, dense, bias.unwrap_or(x)];
        let recorded = self.will_record(Linear::NAME, &inputs)?;
        let fused = if recorded { Act::None } else { act };
        let mut out = self.output(x.dtype(), with_dim(x.shape(), x.shape().rank() - 1, n))?;
        Linear {
            x: x.buffer.view_as(x_rows)?,
            weight: weight_ref,
            bias: bias.map(Var::view).transpose()?,
            act: fused,
            out: out.view_mut()?.reshape([x_rows.shape()[0], n])?,
        }
        .run(&**self.on())?;
        let out = self.share(out);
        let Matrix::Dense(w) = weight else {
            return self.record_without_gradient(Linear::NAME, "the weight is packed", &inputs, out);
        };
        let (x_saved, w_saved, b) = (x.clone(), w.clone(), bias.map(Var::input));
        let pre = self.record(Linear::NAME, &inputs, out, move |back, dout| {
            let (x, w) = (x_saved, w_saved);
            let dpre = back.contiguous(dout)?;
            let dpre_rows = || -> Result<_> { Ok(dpre.buffer.view_as(rows(&dpre.layout)?)?) }; // [M, N]
            if let Some(b) = b.filter(|b| b.needs_gradient()) {
                let mut db = back.output_for(&b)?;
                Reduce { op: ReduceOp::Sum, x: dpre_rows()?, axis: 0, out: db.view_mut()?.reshape([1, n])? }.run(back.on())?;
                back.give(&b, db)?;
            }
            if w.needs_gradient() {
                let mut dw = back.output_for(&w.input())?;
                Matmul::new(dpre_rows()?.transpose(0, 1)?, x.buffer.view_as(x_rows)?, dw.view_mut()?).run(back.on())?;
                back.give(&w.input(), dw)?;
            }
            if x.needs_gradient() {
                let mut dx = back.output_for(&x.input())?;
                Matmul::new(dpre_rows()?, w.view()?, dx.view_mut()?.reshape(*x_rows.shape())?).run(back.on())?;
                back.give(&x.input(), dx)?;
            }
            Ok(())
        })?;
        match function(act).filter(|_| recorded) {
            Some(function) => self.unary(function, &pre),
            None => Ok(pre),
        }
    }
}
