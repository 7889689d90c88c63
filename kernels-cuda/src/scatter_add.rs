//! Gradient of gather.

use crate::CudaBackend;
use crate::lattice::{ROWS_THREADS, count, floats};
use crate::params::ScatterAddParams;
use crate::queue::Dispatch;
use crate::source::{Source, by_float, source};
use kernels::ops::ScatterAdd;
use kernels::{Checked, DType, Launch, Op, Result, Support};

pub(crate) static SOURCE: Source = source!("scatter_add");

/// Threads of the kernels that make the lists, as in `scatter_add.cu`.
const LIST_THREADS: u32 = 256;
/// Columns of a block that adds.
const COLUMNS: u32 = 4 * ROWS_THREADS;

impl Launch<ScatterAdd<'_>> for CudaBackend {
    fn support(&self, dtype: DType) -> Support {
        floats(dtype)
    }

    fn launch(&self, args: Checked<ScatterAdd<'_>>) -> Result<()> {
        const OP: &str = ScatterAdd::NAME;
        self.queue.faults().enter(OP)?;
        let out = args.out.as_view();
        if args.x.numel() == 0 {
            return Ok(());
        }
        let (rows, width) = (count(OP, "M", args.x.shape()[0])?, count(OP, "D", args.x.shape()[1])?);
        let limit = count(OP, "V", out.shape()[0])?;
        let most_used = rows.min(limit);
        let words = [limit, limit, most_used, rows, 2];
        let scratch = self.zeroed_scratch(OP, 4 * words.iter().map(|&words| u64::from(words)).sum::<u64>())?;
        let mut next = scratch.address();
        let [counts, ends, used, list, totals] = words.map(|words| {
            let at = next;
            next += 4 * u64::from(words);
            at
        });
        let params = ScatterAddParams {
            index: self.operand(OP, "index", &args.index)?,
            x: self.operand(OP, "x", &args.x)?,
            out: self.operand(OP, "out", &out)?,
            report: self.queue.report_address(),
            counts,
            ends,
            used,
            list,
            totals,
            index_step: args.index.layout().strides()[0] as u64,
            x_row: args.x.layout().strides()[0] as u64,
            out_row: out.layout().strides()[0] as u64,
            rows,
            width,
            limit,
            column_blocks: width.div_ceil(COLUMNS),
        };
        let add = match out.dtype() == args.x.dtype() {
            true => by_float!("scatter_add", args.x.dtype()),
            false => by_float!("scatter_add_wide", args.x.dtype()),
        };
        let by_element = |count: u32| u64::from(count.div_ceil(LIST_THREADS));
        let adding = u64::from(most_used) * u64::from(params.column_blocks);
        for (kernel, threads, blocks) in [
            ("scatter_add_count", LIST_THREADS, by_element(rows)),
            ("scatter_add_divide", LIST_THREADS, by_element(limit)),
            ("scatter_add_place", LIST_THREADS, by_element(rows)),
            (add, ROWS_THREADS, adding),
        ] {
            let params = bytemuck::bytes_of(&params);
            self.queue.dispatch(&Dispatch { op: OP, source: &SOURCE, kernel, threads, blocks, params })?;
        }
        Ok(())
    }
}
