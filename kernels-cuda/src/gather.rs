//! Rows of a table by index.

use crate::CudaBackend;
use crate::lattice::{ROWS_THREADS, Team, count, floats, row_kernel};
use crate::params::GatherParams;
use crate::queue::Dispatch;
use crate::source::{Source, source};
use kernels::ops::Gather;
use kernels::{Checked, DType, Launch, Op, Result, Support};

pub(crate) static SOURCE: Source = source!("gather");

impl Launch<Gather<'_>> for CudaBackend {
    fn support(&self, dtype: DType) -> Support {
        floats(dtype)
    }

    fn launch(&self, args: Checked<Gather<'_>>) -> Result<()> {
        const OP: &str = Gather::NAME;
        self.queue.faults().enter(OP)?;
        let out = args.out.as_view();
        if out.numel() == 0 {
            return Ok(());
        }
        let params = GatherParams {
            table: self.operand(OP, "table", &args.table)?,
            index: self.operand(OP, "index", &args.index)?,
            out: self.operand(OP, "out", &out)?,
            report: self.queue.report_address(),
            table_row: args.table.layout().strides()[0] as u64,
            index_step: args.index.layout().strides()[0] as u64,
            out_row: out.layout().strides()[0] as u64,
            rows: count(OP, "M", out.shape()[0])?,
            width: count(OP, "D", out.shape()[1])?,
            limit: count(OP, "V", args.table.shape()[0])?,
            unused: 0,
        };
        let team = Team::reading(params.width);
        self.queue.dispatch(&Dispatch {
            op: OP,
            source: &SOURCE,
            kernel: row_kernel!("gather", team, out.dtype()),
            threads: ROWS_THREADS,
            blocks: team.blocks(params.rows),
            params: bytemuck::bytes_of(&params),
        })
    }
}
