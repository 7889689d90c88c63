//! Gradient of cross entropy.

use crate::CudaBackend;
use crate::cross_entropy::target;
use crate::lattice::{ROWS_THREADS, Team, count, floats, row_kernel};
use crate::params::CrossEntropyBackwardParams;
use crate::queue::Dispatch;
use crate::source::{Source, source};
use kernels::ops::CrossEntropyBackward;
use kernels::{Checked, DType, Launch, Op, Result, Support};

pub(crate) static SOURCE: Source = source!("cross_entropy_backward");

impl Launch<CrossEntropyBackward<'_>> for CudaBackend {
    fn support(&self, dtype: DType) -> Support {
        floats(dtype)
    }

    fn launch(&self, args: Checked<CrossEntropyBackward<'_>>) -> Result<()> {
        const OP: &str = CrossEntropyBackward::NAME;
        self.queue.faults().enter(OP)?;
        let dlogits = args.dlogits.as_view();
        if dlogits.numel() == 0 {
            return Ok(());
        }
        let (target, target_row, classes) = target(self, OP, &args.target)?;
        let params = CrossEntropyBackwardParams {
            logits: self.operand(OP, "logits", &args.logits)?,
            target,
            lse: self.operand(OP, "lse", &args.lse)?,
            dloss: self.operand(OP, "dloss", &args.dloss)?,
            dlogits: self.operand(OP, "dlogits", &dlogits)?,
            report: self.queue.report_address(),
            logits_row: args.logits.layout().strides()[0] as u64,
            target_row,
            lse_step: args.lse.layout().strides()[0] as u64,
            dloss_step: args.dloss.layout().strides()[0] as u64,
            dlogits_row: dlogits.layout().strides()[0] as u64,
            rows: count(OP, "M", dlogits.shape()[0])?,
            width: count(OP, "V", dlogits.shape()[1])?,
            classes,
            scale: args.scale,
        };
        let team = Team::reading(params.width);
        self.queue.dispatch(&Dispatch {
            op: OP,
            source: &SOURCE,
            kernel: row_kernel!("cross_entropy_backward", team, dlogits.dtype()),
            threads: ROWS_THREADS,
            blocks: team.blocks(params.rows),
            params: bytemuck::bytes_of(&params),
        })
    }
}
