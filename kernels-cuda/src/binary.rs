//! Functions of two elements.

use crate::CudaBackend;
use crate::lattice::floats;
use crate::params::{ElementwiseParams, Lattice};
use crate::source::{Source, by_float, source};
use kernels::ops::{Binary, BinaryOp};
use kernels::{Checked, DType, Launch, Op, Result, Support};

pub(crate) static SOURCE: Source = source!("binary");

/// Code of a function in `binary.cu`.
fn function(op: BinaryOp) -> u32 {
    match op {
        BinaryOp::Add => 0,
        BinaryOp::Sub => 1,
        BinaryOp::Mul => 2,
        BinaryOp::Div => 3,
        BinaryOp::Max => 4,
        BinaryOp::Min => 5,
    }
}

impl Launch<Binary<'_>> for CudaBackend {
    fn support(&self, dtype: DType) -> Support {
        floats(dtype)
    }

    fn launch(&self, args: Checked<Binary<'_>>) -> Result<()> {
        const OP: &str = Binary::NAME;
        self.queue.faults().enter(OP)?;
        let out = args.out.as_view();
        let operands = [self.part(OP, "a", &args.a)?, self.part(OP, "b", &args.b)?, self.part(OP, "out", &out)?];
        let lattice = Lattice::new(OP, out.shape(), &operands)?;
        let params = ElementwiseParams { lattice, function: function(args.op), ..ElementwiseParams::default() };
        self.elementwise(OP, (&SOURCE, by_float!("binary", out.dtype())), &lattice, &params)
    }
}
