//! Gradient of softmax.

use crate::CudaBackend;
use crate::lattice::{Team, count, floats, row_kernel};
use crate::params::{Lattice, RowsParams};
use crate::source::{Source, source};
use kernels::ops::SoftmaxBackward;
use kernels::{Checked, DType, Launch, Op, Result, Support};

pub(crate) static SOURCE: Source = source!("softmax_backward");

impl Launch<SoftmaxBackward<'_>> for CudaBackend {
    fn support(&self, dtype: DType) -> Support {
        floats(dtype)
    }

    fn launch(&self, args: Checked<SoftmaxBackward<'_>>) -> Result<()> {
        const OP: &str = SoftmaxBackward::NAME;
        self.queue.faults().enter(OP)?;
        let dx = args.dx.as_view();
        if dx.numel() == 0 {
            return Ok(());
        }
        let (lead, width) = dx.shape().split_at(dx.shape().rank() - 1);
        let width = count(OP, "elements of a row", width[0])?;
        let operands = [self.part(OP, "y", &args.y)?, self.part(OP, "dout", &args.dout)?, self.part(OP, "dx", &dx)?];
        let rows = Lattice::new(OP, lead, &operands)?;
        let team = Team::holding(width, dx.dtype());
        let kernel = row_kernel!("softmax_backward", team, dx.dtype());
        self.rowwise(OP, (&SOURCE, kernel), (&rows, team), &RowsParams { rows, width, eps: 0.0 })
    }
}
