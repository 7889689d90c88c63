//! Accumulation in place.

use crate::CudaBackend;
use crate::lattice::floats;
use crate::params::{ElementwiseParams, Lattice};
use crate::source::{Source, by_float, source};
use kernels::ops::Axpy;
use kernels::{Checked, DType, Launch, Op, Result, Support};

pub(crate) static SOURCE: Source = source!("axpy");

impl Launch<Axpy<'_>> for CudaBackend {
    fn support(&self, dtype: DType) -> Support {
        floats(dtype)
    }

    fn launch(&self, args: Checked<Axpy<'_>>) -> Result<()> {
        const OP: &str = Axpy::NAME;
        self.queue.faults().enter(OP)?;
        let out = args.out.as_view();
        let (x, out_part) = (self.part(OP, "x", &args.x)?, self.part(OP, "out", &out)?);
        let lattice = Lattice::new(OP, out.shape(), &[x, out_part, out_part])?;
        let kernel = match out.dtype() == args.x.dtype() {
            true => by_float!("axpy", out.dtype()),
            false => by_float!("axpy_wide", args.x.dtype()),
        };
        let params = ElementwiseParams { lattice, scale: args.alpha, ..ElementwiseParams::default() };
        self.elementwise(OP, (&SOURCE, kernel), &lattice, &params)
    }
}
