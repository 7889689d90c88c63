//! Handles of tensors on a tape.

use kernels::{Buffer, DType, Layout, MAX_RANK, Shape, View};
use std::sync::Arc;

/// Place of a variable among the recorded ones of one step of one tape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Node {
    pub step: u64,
    pub index: usize,
}

/// `shape` with the dimension `axis` set to `dim`; an axis beyond the rank changes nothing.
pub(super) fn with_dim(shape: &Shape, axis: usize, dim: usize) -> Shape {
    let mut dims = [0; MAX_RANK];
    for (at, (to, &from)) in dims.iter_mut().zip(shape.iter()).enumerate() {
        *to = if at == axis { dim } else { from };
    }
    // Never fails: the rank is that of a shape.
    Shape::new(&dims[..shape.rank()]).unwrap_or(*shape)
}

/// A tensor: a shared buffer, a window on it, and its place on the tape if it needs a gradient. Cloning shares the buffer.
#[derive(Clone, Debug)]
pub struct Var {
    pub(super) buffer: Arc<Buffer>,
    /// Always within `buffer`.
    pub(super) layout: Layout,
    pub(super) node: Option<Node>,
}

impl Var {
    /// Dimensions.
    pub fn shape(&self) -> &Shape {
        self.layout.shape()
    }

    /// Element type.
    pub fn dtype(&self) -> DType {
        self.buffer.dtype()
    }

    /// Shape, strides and offset.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Whether a gradient will flow through it.
    pub fn needs_gradient(&self) -> bool {
        self.node.is_some()
    }

    /// The elements, as an operand of a kernel.
    ///
    /// # Errors
    /// None: the layout is always within the buffer.
    pub fn view(&self) -> kernels::Result<View<'_>> {
        self.buffer.view_as(self.layout)
    }

    /// What a recorded closure needs to give this variable its gradient, without keeping the elements alive.
    pub fn input(&self) -> Input {
        Input { node: self.node, shape: *self.shape(), dtype: self.dtype() }
    }

    /// Another window on the same buffer, off the tape.
    ///
    /// # Errors
    /// `Shape` if `layout` leaves the buffer.
    pub fn window(&self, layout: Layout) -> kernels::Result<Var> {
        let layout = *self.buffer.view_as(layout)?.layout();
        Ok(Var { buffer: Arc::clone(&self.buffer), layout, node: None })
    }

    /// The same elements, off the tape: no gradient flows through it.
    pub fn detach(&self) -> Var {
        Var { node: None, ..self.clone() }
    }
}

/// Where the gradient of an argument goes.
#[derive(Clone, Copy, Debug)]
pub struct Input {
    pub(super) node: Option<Node>,
    pub(super) shape: Shape,
    pub(super) dtype: DType,
}

impl Input {
    /// Dimensions of the argument and of its gradient.
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// Element type of the argument and of its gradient.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// Whether a gradient is wanted.
    pub fn needs_gradient(&self) -> bool {
        self.node.is_some()
    }
}
