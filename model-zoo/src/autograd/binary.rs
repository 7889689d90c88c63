//! Functions of two elements, broadcast: the gradient of a repeated argument is summed over its repetitions.

use super::var::with_dim;
use super::{Backward, Input, Result, Tape, Var};
use kernels::ops::{Binary, BinaryOp, Reduce, ReduceOp, Unary, UnaryBackward, UnaryOp};
use kernels::{Error, Op, Shape};

/// The shape both broadcast to: dimensions align at the end, and match or are 1.
fn common(a: &Shape, b: &Shape) -> Result<Shape> {
    let (long, short) = if a.rank() >= b.rank() { (a, b) } else { (b, a) };
    let lead = long.rank() - short.rank();
    let mut shape = *long;
    for (axis, &dim) in short.iter().enumerate() {
        match (long[lead + axis], dim) {
            (x, y) if x == y || y == 1 => {}
            (1, y) => shape = with_dim(&shape, lead + axis, y),
            _ => {
                let wanted = format!("broadcastable with {a}").into();
                return Err(Error::Shape { op: Binary::NAME, arg: "b", wanted, got: *b }.into());
            }
        }
    }
    Ok(shape)
}

impl Tape {
    /// f of each pair of elements; shapes are broadcast, aligned at the end.
    ///
    /// The gradient of `Max` and `Min` goes to the argument that won; where both are equal, to `b`.
    ///
    /// # Errors
    /// `Shape` if the shapes cannot be broadcast to one; as [`Binary`].
    pub fn binary(&mut self, op: BinaryOp, a: &Var, b: &Var) -> Result<Var> {
        let shape = common(a.shape(), b.shape())?;
        let mut out = self.output(a.dtype(), shape)?;
        let (a_view, b_view) = (a.view()?.broadcast_to(shape)?, b.view()?.broadcast_to(shape)?);
        Binary { op, a: a_view, b: b_view, out: out.view_mut()? }.run(&**self.on())?;
        let (out, a_saved, b_saved) = (self.share(out), a.clone(), b.clone());
        self.record(Binary::NAME, &[a, b], out, move |back, dout| {
            let (a, b) =
                (a_saved.window(a_saved.layout.broadcast_to(shape)?)?, b_saved.window(b_saved.layout.broadcast_to(shape)?)?);
            let (to_a, to_b) = (a_saved.input(), b_saved.input());
            match op {
                BinaryOp::Add => {
                    back.pass_reduced(&to_a, dout)?;
                    back.pass_reduced(&to_b, dout)
                }
                BinaryOp::Sub => {
                    back.pass_reduced(&to_a, dout)?;
                    back.scaled(&to_b, -1.0, dout)
                }
                BinaryOp::Mul => {
                    back.combined(&to_a, BinaryOp::Mul, dout, &b)?;
                    back.combined(&to_b, BinaryOp::Mul, dout, &a)
                }
                BinaryOp::Div => {
                    let da = back.elementwise(BinaryOp::Div, dout, &b)?; // dout / b
                    back.pass_reduced(&to_a, &da)?;
                    let ratio = back.elementwise(BinaryOp::Div, &a, &b)?;
                    let db = back.elementwise(BinaryOp::Mul, &da, &ratio)?; // dout · a / b²
                    back.scaled(&to_b, -1.0, &db)
                }
                // max(a, b) = b + relu(a − b), min(a, b) = a − relu(a − b)
                BinaryOp::Max | BinaryOp::Min => {
                    let difference = back.elementwise(BinaryOp::Sub, &a, &b)?;
                    let mut above = back.output(dout.dtype(), shape)?;
                    let (x, relu) = (difference.view()?, UnaryOp::Relu);
                    UnaryBackward { op: relu, x, dout: dout.view()?, dx: above.view_mut()? }.run(back.on())?;
                    let above = back.share(above);
                    let rest = back.elementwise(BinaryOp::Sub, dout, &above)?;
                    let (da, db) = if op == BinaryOp::Max { (above, rest) } else { (rest, above) };
                    back.pass_reduced(&to_a, &da)?;
                    back.pass_reduced(&to_b, &db)
                }
            }
        })
    }

    /// `a + b`, broadcast.
    ///
    /// # Errors
    /// As [`Tape::binary`].
    pub fn add(&mut self, a: &Var, b: &Var) -> Result<Var> {
        self.binary(BinaryOp::Add, a, b)
    }

    /// `a · b` element by element, broadcast.
    ///
    /// # Errors
    /// As [`Tape::binary`].
    pub fn mul(&mut self, a: &Var, b: &Var) -> Result<Var> {
        self.binary(BinaryOp::Mul, a, b)
    }
}

impl Backward<'_> {
    /// f of two gradients of one shape.
    fn elementwise(&mut self, op: BinaryOp, a: &Var, b: &Var) -> Result<Var> {
        let mut out = self.output(a.dtype(), *a.shape())?;
        Binary { op, a: a.view()?, b: b.view()?, out: out.view_mut()? }.run(self.on())?;
        Ok(self.share(out))
    }

    /// As [`Backward::pass_reduced`], of f of two gradients; computes nothing if none is wanted.
    fn combined(&mut self, input: &Input, op: BinaryOp, a: &Var, b: &Var) -> Result<()> {
        if !input.needs_gradient() {
            return Ok(());
        }
        let gradient = self.elementwise(op, a, b)?;
        self.pass_reduced(input, &gradient)
    }

    /// As [`Backward::pass_reduced`], of `factor` times a gradient; computes nothing if none is wanted.
    fn scaled(&mut self, input: &Input, factor: f32, gradient: &Var) -> Result<()> {
        if !input.needs_gradient() {
            return Ok(());
        }
        let mut out = self.output(gradient.dtype(), *gradient.shape())?;
        let op = UnaryOp::Affine { scale: factor, shift: 0.0 };
        Unary { op, x: gradient.view()?, out: out.view_mut()? }.run(self.on())?;
        let scaled = self.share(out);
        self.pass_reduced(input, &scaled)
    }

    /// Adds a gradient to that of an argument which was broadcast: summed over the dimensions in which it was repeated.
    ///
    /// # Errors
    /// As [`Backward::give`].
    pub fn pass_reduced(&mut self, input: &Input, gradient: &Var) -> Result<()> {
        if !input.needs_gradient() {
            return Ok(());
        }
        let mut sum = gradient.clone();
        let extra = gradient.shape().rank() - input.shape().rank().min(gradient.shape().rank());
        for axis in 0..gradient.shape().rank() {
            let wanted = axis.checked_sub(extra).map_or(1, |axis| input.shape()[axis]);
            if wanted != 1 || sum.shape()[axis] == 1 {
                continue;
            }
            let mut out = self.output(sum.dtype(), with_dim(sum.shape(), axis, 1))?;
            Reduce { op: ReduceOp::Sum, x: sum.view()?, axis, out: out.view_mut()? }.run(self.on())?;
            sum = self.share(out);
        }
        if sum.shape() != input.shape() {
            sum = sum.window(sum.layout.reshape(*input.shape())?)?;
        }
        self.pass(input, sum)
    }
}
