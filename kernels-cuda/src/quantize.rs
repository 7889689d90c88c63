//! Quantization of activations.

use crate::CudaBackend;
use crate::lattice::{Team, count, floats, row_kernel};
use crate::params::{Lattice, RowsParams};
use crate::source::{Source, source};
use kernels::ops::Quantize;
use kernels::{Checked, DType, Launch, Op, Result, Support};

pub(crate) static SOURCE: Source = source!("quantize");

impl Launch<Quantize<'_>> for CudaBackend {
    fn support(&self, dtype: DType) -> Support {
        floats(dtype)
    }

    fn launch(&self, args: Checked<Quantize<'_>>) -> Result<()> {
        const OP: &str = Quantize::NAME;
        self.queue.faults().enter(OP)?;
        let (q, scale) = (args.q.as_view(), args.scale.as_view());
        let (lead, width) = args.x.shape().split_at(1);
        let width = count(OP, "elements of a row", width[0])?;
        let operands = [self.part(OP, "x", &args.x)?, self.part(OP, "q", &q)?, self.part(OP, "scale", &scale)?];
        let rows = Lattice::new(OP, lead, &operands)?;
        let team = Team::reading(width);
        self.rowwise(
            OP,
            (&SOURCE, row_kernel!("quantize", team, args.x.dtype())),
            (&rows, team),
            &RowsParams { rows, width, eps: 0.0 },
        )
    }
}
