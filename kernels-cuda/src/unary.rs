//! Functions of one element.

use crate::CudaBackend;
use crate::lattice::floats;
use crate::params::{ElementwiseParams, Lattice};
use crate::source::{Source, by_float, source};
use kernels::ops::{Unary, UnaryOp};
use kernels::{Checked, DType, Launch, Op, Result, Support};

pub(crate) static SOURCE: Source = source!("unary");

/// Parameters of a function of one element, for `unary.cu` and `unary_backward.cu`.
pub(crate) fn params(lattice: Lattice, op: UnaryOp) -> ElementwiseParams {
    let (function, scale, shift) = match op {
        UnaryOp::Neg => (0, 0.0, 0.0),
        UnaryOp::Abs => (1, 0.0, 0.0),
        UnaryOp::Square => (2, 0.0, 0.0),
        UnaryOp::Sqrt => (3, 0.0, 0.0),
        UnaryOp::Rsqrt => (4, 0.0, 0.0),
        UnaryOp::Recip => (5, 0.0, 0.0),
        UnaryOp::Exp => (6, 0.0, 0.0),
        UnaryOp::Log => (7, 0.0, 0.0),
        UnaryOp::Tanh => (8, 0.0, 0.0),
        UnaryOp::Sigmoid => (9, 0.0, 0.0),
        UnaryOp::Relu => (10, 0.0, 0.0),
        UnaryOp::Gelu => (11, 0.0, 0.0),
        UnaryOp::GeluErf => (12, 0.0, 0.0),
        UnaryOp::Silu => (13, 0.0, 0.0),
        UnaryOp::Affine { scale, shift } => (14, scale, shift),
    };
    ElementwiseParams { lattice, function, unused: 0, scale, shift }
}

impl Launch<Unary<'_>> for CudaBackend {
    fn support(&self, dtype: DType) -> Support {
        floats(dtype)
    }

    fn launch(&self, args: Checked<Unary<'_>>) -> Result<()> {
        const OP: &str = Unary::NAME;
        self.queue.faults().enter(OP)?;
        let out = args.out.as_view();
        let lattice = Lattice::new(OP, out.shape(), &[self.part(OP, "x", &args.x)?, self.part(OP, "out", &out)?])?;
        self.elementwise(OP, (&SOURCE, by_float!("unary", out.dtype())), &lattice, &params(lattice, args.op))
    }
}
