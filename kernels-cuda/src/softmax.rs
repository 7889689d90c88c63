//! Softmax of rows.

use crate::CudaBackend;
use crate::lattice::{Team, count, floats, row_kernel};
use crate::params::{Lattice, RowsParams};
use crate::source::{Source, source};
use kernels::ops::Softmax;
use kernels::{Checked, DType, Launch, Op, Result, Support};

pub(crate) static SOURCE: Source = source!("softmax");

impl Launch<Softmax<'_>> for CudaBackend {
    fn support(&self, dtype: DType) -> Support {
        floats(dtype)
    }

    fn launch(&self, args: Checked<Softmax<'_>>) -> Result<()> {
        const OP: &str = Softmax::NAME;
        self.queue.faults().enter(OP)?;
        let out = args.out.as_view();
        if out.numel() == 0 {
            return Ok(());
        }
        let (lead, width) = out.shape().split_at(out.shape().rank() - 1);
        let width = count(OP, "elements of a row", width[0])?;
        let rows = Lattice::new(OP, lead, &[self.part(OP, "x", &args.x)?, self.part(OP, "out", &out)?])?;
        let team = Team::holding(width, out.dtype());
        self.rowwise(
            OP,
            (&SOURCE, row_kernel!("softmax", team, out.dtype())),
            (&rows, team),
            &RowsParams { rows, width, eps: 0.0 },
        )
    }
}
