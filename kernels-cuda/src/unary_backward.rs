//! Gradients of functions of one element.

use crate::CudaBackend;
use crate::lattice::floats;
use crate::params::Lattice;
use crate::source::{Source, by_float, source};
use crate::unary::params;
use kernels::ops::UnaryBackward;
use kernels::{Checked, DType, Launch, Op, Result, Support};

pub(crate) static SOURCE: Source = source!("unary_backward");

impl Launch<UnaryBackward<'_>> for CudaBackend {
    fn support(&self, dtype: DType) -> Support {
        floats(dtype)
    }

    fn launch(&self, args: Checked<UnaryBackward<'_>>) -> Result<()> {
        const OP: &str = UnaryBackward::NAME;
        self.queue.faults().enter(OP)?;
        let dx = args.dx.as_view();
        let operands = [self.part(OP, "x", &args.x)?, self.part(OP, "dout", &args.dout)?, self.part(OP, "dx", &dx)?];
        let lattice = Lattice::new(OP, dx.shape(), &operands)?;
        self.elementwise(OP, (&SOURCE, by_float!("unary_backward", dx.dtype())), &lattice, &params(lattice, args.op))
    }
}
