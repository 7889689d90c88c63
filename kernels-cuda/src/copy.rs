//! Strided copy.

use crate::CudaBackend;
use crate::driver::Address;
use crate::lattice::Operand;
use crate::params::Lattice;
use crate::source::{Source, source};
use kernels::ops::Copy;
use kernels::{Checked, DType, Launch, Layout, Op, Result, Support};

pub(crate) static SOURCE: Source = source!("copy");

impl CudaBackend {
    /// Queues a copy of elements from one layout to another of the same shape, on behalf of an op.
    pub(crate) fn queue_copy(
        &self,
        op: &'static str,
        dtype: DType,
        (from, from_layout): (Address, &Layout),
        (to, to_layout): (Address, &Layout),
    ) -> Result<()> {
        let operand = |address, layout| Some(Operand { address, layout, dtype });
        let lattice = Lattice::new(op, to_layout.shape(), &[operand(from, from_layout), operand(to, to_layout)])?;
        let kernel = match dtype.size_bytes() {
            1 => "copy_1",
            2 => "copy_2",
            _ => "copy_4",
        };
        self.elementwise(op, (&SOURCE, kernel), &lattice, &lattice)
    }
}

impl Launch<Copy<'_>> for CudaBackend {
    fn support(&self, _: DType) -> Support {
        Support::Native
    }

    fn launch(&self, args: Checked<Copy<'_>>) -> Result<()> {
        const OP: &str = Copy::NAME;
        self.queue.faults().enter(OP)?;
        let out = args.out.as_view();
        let (from, to) = (self.operand(OP, "x", &args.x)?, self.operand(OP, "out", &out)?);
        self.queue_copy(OP, out.dtype(), (from, args.x.layout()), (to, out.layout()))
    }
}
