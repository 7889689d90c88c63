//! Gradient of softmax.

use crate::CudaBackend;
use crate::lattice::{ROWS_THREADS, count, floats, row_kernel};
use crate::params::{Lattice, RowsParams};
use crate::queue::Dispatch;
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
        self.queue.dispatch(&Dispatch {
            op: OP,
            source: &SOURCE,
            kernel: row_kernel!("softmax_backward", width, dx.dtype()),
            threads: ROWS_THREADS,
            blocks: rows.row_blocks(width),
            params: bytemuck::bytes_of(&RowsParams { rows, width, eps: 0.0 }),
        })
    }
}
