//! The tape: runs ops, and records those that a gradient will flow through.

use super::backward::{Backward, Slot};
use super::pool::Pool;
use super::var::Node;
use super::{Error, Gradients, Output, Result, Var};
use kernels::ops::{Download, Fill, Upload};
use kernels::{Backend, Buffer, DType, Element, Layout, Op, Shape};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Turns the gradient of a result into those of the arguments.
type Step = Box<dyn FnOnce(&mut Backward<'_>, &Var) -> Result<()> + Send>;

/// Runs ops on one backend and records their gradients, one step at a time.
///
/// A step ends with [`Tape::backward`] or [`Tape::clear`]; variables recorded in it are then stale. Device memory stays with the
/// tape and is used again by the next step.
pub struct Tape {
    on: Arc<dyn Backend>,
    pool: Pool,
    records: bool,
    step: u64,
    /// What each recorded variable does with its gradient; `None` for leaves.
    nodes: Vec<Option<Step>>,
}

/// A number no other step of this process has.
fn next_step() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

impl Tape {
    /// A tape that records.
    pub fn new(on: Arc<dyn Backend>) -> Self {
        Tape { on, pool: Pool::default(), records: true, step: next_step(), nodes: Vec::new() }
    }

    /// A tape that only runs ops: leaves need no gradient, and intermediate results are freed as soon as nobody holds them.
    pub fn inference(on: Arc<dyn Backend>) -> Self {
        Tape { records: false, ..Tape::new(on) }
    }

    /// The backend everything runs on.
    pub fn on(&self) -> &Arc<dyn Backend> {
        &self.on
    }

    /// Whether gradients are recorded.
    pub fn records(&self) -> bool {
        self.records
    }

    /// A parameter: a contiguous tensor of `shape` that gets a gradient. The buffer cannot be written while the variable lives.
    ///
    /// # Errors
    /// `Shape` if the buffer is too small.
    pub fn leaf(&mut self, buffer: &Arc<Buffer>, shape: impl Into<Shape>) -> Result<Var> {
        let mut var = self.constant(buffer, shape)?;
        if self.records {
            var.node = Some(self.push(None));
        }
        Ok(var)
    }

    /// A contiguous tensor of `shape` that gets no gradient.
    ///
    /// # Errors
    /// `Shape` if the buffer is too small.
    pub fn constant(&self, buffer: &Arc<Buffer>, shape: impl Into<Shape>) -> Result<Var> {
        let layout = *buffer.view(shape)?.layout();
        Ok(Var { buffer: Arc::clone(buffer), layout, node: None })
    }

    /// Host elements, row-major, as a tensor that gets no gradient.
    ///
    /// # Errors
    /// `Shape` if `data` has another number of elements; `OutOfMemory`.
    pub fn upload<T: Element>(&mut self, data: &[T], shape: impl Into<Shape>) -> Result<Var> {
        let mut out = self.output(T::DTYPE, shape)?;
        Upload::new(data, out.view_mut()?).run(&*self.on)?;
        Ok(self.share(out))
    }

    /// A tensor filled with one value, that gets no gradient.
    ///
    /// # Errors
    /// `Limit`, `OutOfMemory`.
    pub fn full(&mut self, value: f64, dtype: DType, shape: impl Into<Shape>) -> Result<Var> {
        let mut out = self.output(dtype, shape)?;
        Fill { value, out: out.view_mut()? }.run(&*self.on)?;
        Ok(self.share(out))
    }

    /// Waits for the device and copies a variable, row-major, into host memory.
    ///
    /// # Errors
    /// `DType` if `T` is not the element type; the fault of any op queued before.
    pub fn download<T: Element>(&self, x: &Var) -> Result<Vec<T>> {
        let mut host = vec![T::from_f64(0.0); x.layout.numel()];
        self.download_into(x, &mut host)?;
        Ok(host)
    }

    /// As [`Tape::download`], into memory of the caller.
    ///
    /// # Errors
    /// `Shape` if `host` has another length; as [`Tape::download`].
    pub fn download_into<T: Element>(&self, x: &Var, host: &mut [T]) -> Result<()> {
        Ok(Download::new(x.view()?, host).run(&*self.on)?)
    }

    /// Memory for a result, from the pool. For implementors of ops.
    ///
    /// # Errors
    /// `Limit`, `OutOfMemory`.
    pub fn output(&mut self, dtype: DType, shape: impl Into<Shape>) -> Result<Output> {
        output(&*self.on, &mut self.pool, dtype, shape)
    }

    /// A finished result, to read. For implementors of ops: it gets no gradient until it is given to [`Tape::record`].
    pub fn share(&mut self, out: Output) -> Var {
        share(&mut self.pool, out)
    }

    /// The result of an op, with what turns its gradient into those of `inputs`: kept if one of them needs a gradient.
    ///
    /// `backward` gets the gradient of the result, shaped and typed as the result but with any strides, and hands on what it
    /// computes by [`Backward::give`] or [`Backward::pass`].
    ///
    /// # Errors
    /// `Stale` if an input was recorded elsewhere.
    pub fn record<F>(&mut self, op: &'static str, inputs: &[&Var], out: Var, backward: F) -> Result<Var>
    where
        F: FnOnce(&mut Backward<'_>, &Var) -> Result<()> + Send + 'static,
    {
        let node = match self.will_record(op, inputs)? {
            true => Some(self.push(Some(Box::new(backward)))),
            false => None,
        };
        Ok(Var { node, ..out })
    }

    /// A result of an op that has no gradient.
    ///
    /// # Errors
    /// `NotDifferentiable` if one of `inputs` needs a gradient; `Stale` if one was recorded elsewhere.
    pub fn record_without_gradient(&mut self, op: &'static str, reason: &'static str, inputs: &[&Var], out: Var) -> Result<Var> {
        match self.will_record(op, inputs)? {
            true => Err(Error::NotDifferentiable { op, reason }),
            false => Ok(out),
        }
    }

    /// Whether a result of `inputs` will be recorded: then the op must save what its gradient needs.
    ///
    /// # Errors
    /// `Stale` if an input was recorded elsewhere.
    pub fn will_record(&self, op: &'static str, inputs: &[&Var]) -> Result<bool> {
        let mut nodes = inputs.iter().filter_map(|input| input.node).peekable();
        let needed = nodes.peek().is_some();
        match nodes.all(|node| node.step == self.step) {
            true => Ok(needed),
            false => Err(Error::Stale { op }),
        }
    }

    /// Plays the tape back from `loss`, one element, and ends the step. Leaves that `loss` does not depend on get no gradient.
    ///
    /// # Errors
    /// `Loss` if `loss` has not one element or depends on no leaf; `Stale`; what the kernels report. The step has then ended too.
    pub fn backward(&mut self, loss: &Var) -> Result<Gradients> {
        let recorded = self.will_record("backward", &[loss])?;
        let mut nodes = std::mem::take(&mut self.nodes);
        let step = std::mem::replace(&mut self.step, next_step());
        if !recorded || loss.layout.numel() != 1 {
            return Err(Error::Loss { got: *loss.shape() });
        }
        let mut slots: Vec<Slot> = Vec::new();
        slots.resize_with(nodes.len(), Slot::default);
        let mut back = Backward::new(&*self.on, &mut self.pool, step, slots);
        let mut seed = back.output(loss.dtype(), *loss.shape())?;
        Fill { value: 1.0, out: seed.view_mut()? }.run(&*self.on)?;
        back.give(&loss.input(), seed)?;
        let mut leaves = Vec::new();
        while let Some(run) = nodes.pop() {
            let index = nodes.len();
            match run {
                Some(run) => {
                    if let Some(gradient) = back.take(index) {
                        run(&mut back, &gradient)?;
                    }
                }
                None => leaves.extend(back.take_owned(index)?.map(|gradient| (index, gradient))),
            }
        }
        leaves.reverse();
        Ok(Gradients::new(step, leaves))
    }

    /// Ends the step without gradients.
    pub fn clear(&mut self) {
        self.nodes.clear();
        self.step = next_step();
    }

    /// Takes the memory of gradients back, for the next step.
    pub fn recycle(&mut self, gradients: Gradients) {
        for gradient in gradients.into_outputs() {
            self.pool.give(gradient.buffer);
        }
    }

    fn push(&mut self, run: Option<Step>) -> Node {
        self.nodes.push(run);
        Node { step: self.step, index: self.nodes.len() - 1 }
    }
}

pub(super) fn output(on: &dyn Backend, pool: &mut Pool, dtype: DType, shape: impl Into<Shape>) -> Result<Output> {
    let layout = Layout::contiguous(shape)?;
    let buffer = pool.take(on, dtype, layout.numel())?;
    Ok(Output { buffer, layout })
}

pub(super) fn share(pool: &mut Pool, out: Output) -> Var {
    pool.lend(&out.buffer);
    Var { buffer: out.buffer, layout: out.layout, node: None }
}
