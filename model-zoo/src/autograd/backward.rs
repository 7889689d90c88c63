//! Playing a tape back: where gradients wait until everything that contributes to them has.

use super::pool::Pool;
use super::tape::{output, share};
use super::{Error, Input, Output, Result, Var};
use kernels::ops::{Axpy, Binary, BinaryOp, Copy, Fill};
use kernels::{Backend, DType, Op, Shape};

/// The gradient of one recorded variable so far.
#[derive(Debug, Default)]
pub(super) enum Slot {
    /// Nothing has arrived.
    #[default]
    Empty,
    /// A gradient others hold too; must not be written.
    Shared(Var),
    /// A gradient only this slot holds.
    Owned(Output),
}

/// What a recorded closure works with: the backend, memory, and the gradients of the arguments.
pub struct Backward<'a> {
    on: &'a (dyn Backend + 'static),
    pool: &'a mut Pool,
    step: u64,
    slots: Vec<Slot>,
}

impl<'a> Backward<'a> {
    pub(super) fn new(on: &'a (dyn Backend + 'static), pool: &'a mut Pool, step: u64, slots: Vec<Slot>) -> Self {
        Backward { on, pool, step, slots }
    }

    /// The backend to run on.
    pub fn on(&self) -> &'a (dyn Backend + 'static) {
        self.on
    }

    /// Memory for a gradient, from the pool; its content is unspecified.
    ///
    /// # Errors
    /// `Limit`, `OutOfMemory`.
    pub fn output(&mut self, dtype: DType, shape: impl Into<Shape>) -> Result<Output> {
        output(self.on, self.pool, dtype, shape)
    }

    /// Memory shaped and typed as an argument.
    ///
    /// # Errors
    /// `Limit`, `OutOfMemory`.
    pub fn output_for(&mut self, input: &Input) -> Result<Output> {
        self.output(input.dtype, input.shape)
    }

    /// A finished intermediate result, to read.
    pub fn share(&mut self, out: Output) -> Var {
        share(self.pool, out)
    }

    /// `x` with stride 1 in its last dimension: itself, or a contiguous copy.
    ///
    /// # Errors
    /// What the kernels report.
    pub fn last_dense(&mut self, x: &Var) -> Result<Var> {
        match x.layout.is_last_dense() {
            true => Ok(x.clone()),
            false => self.copied(x),
        }
    }

    /// `x` row-major without gaps: itself, or a copy.
    ///
    /// # Errors
    /// What the kernels report.
    pub fn contiguous(&mut self, x: &Var) -> Result<Var> {
        match x.layout.is_contiguous() {
            true => Ok(x.clone()),
            false => self.copied(x),
        }
    }

    fn copied(&mut self, x: &Var) -> Result<Var> {
        let out = self.copy(x)?;
        Ok(self.share(out))
    }

    fn copy(&mut self, x: &Var) -> Result<Output> {
        let mut out = self.output(x.dtype(), *x.shape())?;
        Copy { x: x.view()?, out: out.view_mut()? }.run(self.on)?;
        Ok(out)
    }

    /// Adds `gradient` to the gradient of an argument; drops it if none is wanted.
    ///
    /// # Errors
    /// `Gradient` if it is not shaped and typed as the argument; what the kernels report.
    pub fn give(&mut self, input: &Input, mut gradient: Output) -> Result<()> {
        let Some(index) = self.expect(input, gradient.shape(), gradient.dtype())? else {
            self.pool.give(gradient.buffer);
            return Ok(());
        };
        let sum = match std::mem::take(&mut self.slots[index]) {
            Slot::Empty => gradient,
            Slot::Shared(var) => {
                Axpy { alpha: 1.0, x: var.view()?, out: gradient.view_mut()? }.run(self.on)?;
                gradient
            }
            Slot::Owned(mut sum) => {
                Axpy { alpha: 1.0, x: gradient.view()?, out: sum.view_mut()? }.run(self.on)?;
                self.pool.give(gradient.buffer);
                sum
            }
        };
        self.slots[index] = Slot::Owned(sum);
        Ok(())
    }

    /// As [`Backward::give`], for a gradient that shares its elements with another variable (any strides, also 0).
    ///
    /// # Errors
    /// As [`Backward::give`].
    pub fn pass(&mut self, input: &Input, gradient: Var) -> Result<()> {
        let Some(index) = self.expect(input, gradient.shape(), gradient.dtype())? else {
            return Ok(());
        };
        self.slots[index] = match std::mem::take(&mut self.slots[index]) {
            Slot::Empty => Slot::Shared(gradient.detach()),
            Slot::Shared(var) => {
                let mut sum = self.output_for(input)?;
                Binary { op: BinaryOp::Add, a: var.view()?, b: gradient.view()?, out: sum.view_mut()? }.run(self.on)?;
                Slot::Owned(sum)
            }
            Slot::Owned(mut sum) => {
                Axpy { alpha: 1.0, x: gradient.view()?, out: sum.view_mut()? }.run(self.on)?;
                Slot::Owned(sum)
            }
        };
        Ok(())
    }

    /// Adds `gradient` to the part `start..` of dimension `axis` of an argument's gradient.
    ///
    /// # Errors
    /// `Value` if the part leaves the dimension; what the kernels report.
    pub fn pass_part(&mut self, input: &Input, axis: usize, start: usize, gradient: &Var) -> Result<()> {
        let Some(index) = self.expect(input, &input.shape, gradient.dtype())? else {
            return Ok(());
        };
        let mut sum = match std::mem::take(&mut self.slots[index]) {
            Slot::Empty => {
                let mut sum = self.output_for(input)?;
                Fill { value: 0.0, out: sum.view_mut()? }.run(self.on)?;
                sum
            }
            Slot::Shared(var) => self.copy(&var)?,
            Slot::Owned(sum) => sum,
        };
        let len = gradient.shape().get(axis).copied().unwrap_or(0);
        Axpy { alpha: 1.0, x: gradient.view()?, out: sum.view_mut()?.narrow(axis, start, len)? }.run(self.on)?;
        self.slots[index] = Slot::Owned(sum);
        Ok(())
    }

    /// The slot of an argument that wants a gradient of this shape and type.
    fn expect(&self, input: &Input, shape: &Shape, dtype: DType) -> Result<Option<usize>> {
        let Some(node) = input.node else {
            return Ok(None);
        };
        if node.step != self.step || node.index >= self.slots.len() {
            return Err(Error::Stale { op: "backward" });
        }
        if *shape != input.shape || dtype != input.dtype {
            let (wanted, wanted_dtype) = (input.shape, input.dtype);
            return Err(Error::Gradient { wanted, wanted_dtype, got: *shape, got_dtype: dtype });
        }
        Ok(Some(node.index))
    }

    /// The gradient of node `index`, to read.
    pub(super) fn take(&mut self, index: usize) -> Option<Var> {
        match std::mem::take(&mut self.slots[index]) {
            Slot::Empty => None,
            Slot::Shared(var) => Some(var),
            Slot::Owned(out) => Some(self.share(out)),
        }
    }

    /// The gradient of node `index`, contiguous and held by nobody else.
    pub(super) fn take_owned(&mut self, index: usize) -> Result<Option<Output>> {
        match std::mem::take(&mut self.slots[index]) {
            Slot::Empty => Ok(None),
            Slot::Shared(var) => self.copy(&var).map(Some),
            Slot::Owned(out) => Ok(Some(out)),
        }
    }
}
