//! Cross entropy of softmax.

use crate::CudaBackend;
use crate::driver::Address;
use crate::lattice::{ROWS_THREADS, Team, count, floats, row_kernel};
use crate::params::CrossEntropyParams;
use crate::queue::Dispatch;
use crate::source::{Source, source};
use kernels::ops::{CrossEntropy, Target};
use kernels::{Checked, DType, Launch, Op, Result, Support};

pub(crate) static SOURCE: Source = source!("cross_entropy");

/// A target: its address, its elements from row to row, and whether it is of classes.
pub(crate) fn target(on: &CudaBackend, op: &'static str, of: &Target<'_>) -> Result<(Address, u64, u32)> {
    let (view, classes) = match of {
        Target::Class(view) => (view, 1),
        Target::Distribution(view) => (view, 0),
    };
    Ok((on.operand(op, "target", view)?, view.layout().strides()[0] as u64, classes))
}

impl Launch<CrossEntropy<'_>> for CudaBackend {
    fn support(&self, dtype: DType) -> Support {
        floats(dtype)
    }

    fn launch(&self, args: Checked<CrossEntropy<'_>>) -> Result<()> {
        const OP: &str = CrossEntropy::NAME;
        self.queue.faults().enter(OP)?;
        let (loss, lse) = (args.loss.as_view(), args.lse.as_view());
        let (target, target_row, classes) = target(self, OP, &args.target)?;
        let params = CrossEntropyParams {
            logits: self.operand(OP, "logits", &args.logits)?,
            target,
            loss: self.operand(OP, "loss", &loss)?,
            lse: self.operand(OP, "lse", &lse)?,
            report: self.queue.report_address(),
            logits_row: args.logits.layout().strides()[0] as u64,
            target_row,
            loss_step: loss.layout().strides()[0] as u64,
            lse_step: lse.layout().strides()[0] as u64,
            rows: count(OP, "M", args.logits.shape()[0])?,
            width: count(OP, "V", args.logits.shape()[1])?,
            classes,
            scale: args.scale,
        };
        let team = Team::reading(params.width);
        self.queue.dispatch(&Dispatch {
            op: OP,
            source: &SOURCE,
            kernel: row_kernel!("cross_entropy", team, args.logits.dtype()),
            threads: ROWS_THREADS,
            blocks: team.blocks(params.rows),
            params: bytemuck::bytes_of(&params),
        })
    }
}
