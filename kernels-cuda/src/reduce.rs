//! Sums and maxima along one dimension.

use crate::CudaBackend;
use crate::lattice::{Operand, Team, count, floats};
use crate::params::{Lattice, ReduceParams};
use crate::queue::Dispatch;
use crate::source::{Source, by_float, source};
use kernels::ops::{Reduce, ReduceOp};
use kernels::{Checked, DType, Launch, Layout, Op, Result, Support};

pub(crate) static SOURCE: Source = source!("reduce");

/// Terms of a chunk: along a row, and across columns.
const ROW_CHUNK: u32 = 16384;
const COLUMN_CHUNK: u32 = 1024;

/// Threads of a block, as in `cu/team.cuh` and `cu/columns.cuh`.
const THREADS: u32 = 256;

/// Name of a kernel from elements of one dtype to outputs of another.
macro_rules! kernel {
    ($name:literal, $from:expr, $to:expr) => {
        match ($from, $to) {
            (DType::F32, DType::Bf16) => concat!($name, "_narrow_bf16"),
            (DType::F32, DType::F16) => concat!($name, "_narrow_f16"),
            (DType::Bf16, DType::F32) => concat!($name, "_wide_bf16"),
            (DType::F16, DType::F32) => concat!($name, "_wide_f16"),
            (_, to) => by_float!($name, to),
        }
    };
}

/// Name of the kernel, blocks, and terms of a chunk for `outputs` sums of `length` terms that lie `step` apart.
fn way(outputs: u32, length: u32, step: u64, from: DType, to: DType) -> (&'static str, u64, u32) {
    let outputs = u64::from(outputs);
    if step == 1 || length <= 1 {
        let width = length.min(ROW_CHUNK);
        let rows = outputs * u64::from(length.div_ceil(ROW_CHUNK).max(1));
        return match Team::reading(width) {
            Team::Warp => (kernel!("reduce_warp", from, to), rows.div_ceil(8), ROW_CHUNK),
            _ => (kernel!("reduce_block", from, to), rows, ROW_CHUNK),
        };
    }
    let chunks = u64::from(length.div_ceil(COLUMN_CHUNK));
    (kernel!("reduce_columns", from, to), outputs.div_ceil(32) * chunks, COLUMN_CHUNK)
}

impl Launch<Reduce<'_>> for CudaBackend {
    fn support(&self, dtype: DType) -> Support {
        floats(dtype)
    }

    fn launch(&self, args: Checked<Reduce<'_>>) -> Result<()> {
        const OP: &str = Reduce::NAME;
        self.queue.faults().enter(OP)?;
        let out = args.out.as_view();
        let (from, to) = (args.x.dtype(), out.dtype());
        let length = count(OP, "terms", args.x.shape()[args.axis])?;
        let step = args.x.layout().strides()[args.axis] as u64;
        // The dimension is 1 among the outputs: x at its start.
        let outputs = Lattice::new(OP, out.shape(), &[self.part(OP, "x", &args.x)?, self.part(OP, "out", &out)?])?;
        let function = u32::from(args.op == ReduceOp::Max) * 2;
        let mean = u32::from(args.op == ReduceOp::Mean);
        let (kernel, blocks, chunk) = way(outputs.count, length, step, from, to);
        let chunks = length.div_ceil(chunk).max(1);
        let whole = ReduceParams { outputs, step, partial: 0, length, chunk, chunks, function, terms: length, mean };
        let run = |kernel, blocks, params: &ReduceParams| {
            let params = bytemuck::bytes_of(params);
            self.queue.dispatch(&Dispatch { op: OP, source: &SOURCE, kernel, threads: THREADS, blocks, params })
        };
        if chunks == 1 || outputs.count == 0 {
            return run(kernel, if outputs.count == 0 { 0 } else { blocks }, &whole);
        }
        let scratch = self.scratch(OP, u64::from(chunks) * u64::from(outputs.count) * 4)?;
        let (kernel, blocks, _) = way(outputs.count, length, step, from, DType::F32);
        run(kernel, blocks, &ReduceParams { partial: scratch.address(), ..whole })?;
        // [chunks, outputs] is reduced across columns, in one chunk.
        let flat = Layout::contiguous(*out.shape())?;
        let partial = Operand { address: scratch.address(), layout: &flat, dtype: DType::F32 };
        let outputs = Lattice::new(OP, out.shape(), &[Some(partial), self.part(OP, "out", &out)?])?;
        let step = outputs.count.into();
        let joined = ReduceParams { outputs, step, length: chunks, chunk: chunks, chunks: 1, ..whole };
        run(kernel!("reduce_columns", DType::F32, to), u64::from(outputs.count).div_ceil(32), &joined)
    }
}
