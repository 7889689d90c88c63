//! Clipping of gradients by their global norm: sums of squares of blocks of each tensor, their join, and a pass that scales.

use crate::CudaBackend;
use crate::lattice::{count, floats};
use crate::params::{ClipNormParams, Lattice};
use crate::queue::Dispatch;
use crate::source::{Source, by_float, source};
use kernels::ops::ClipNorm;
use kernels::{Checked, DType, Launch, Op, Result, Support};

pub(crate) static SOURCE: Source = source!("clip_norm");

/// Elements of a block, as in `clip_norm.cu`.
const BLOCK: u32 = 4096;

/// Threads of a block.
const THREADS: u32 = 256;

impl Launch<ClipNorm<'_>> for CudaBackend {
    fn support(&self, dtype: DType) -> Support {
        floats(dtype)
    }

    fn launch(&self, args: Checked<ClipNorm<'_>>) -> Result<()> {
        const OP: &str = ClipNorm::NAME;
        self.queue.faults().enter(OP)?;
        let dtype = args.dtype();
        let norm = self.operand(OP, "norm", &args.norm.as_view())?;
        let mut blocks = 0usize;
        for grad in args.grads.iter() {
            blocks += count(OP, "elements", grad.numel())?.div_ceil(BLOCK) as usize;
        }
        let blocks = count(OP, "blocks", blocks)?;
        let scratch = self.scratch(OP, (u64::from(blocks) + 1) * 4)?;
        let params =
            ClipNormParams { sums: scratch.address(), norm, blocks, max_norm: args.max_norm, ..ClipNormParams::default() };
        let run = |kernel, blocks: u32, params: &ClipNormParams| {
            let params = bytemuck::bytes_of(params);
            self.queue.dispatch(&Dispatch { op: OP, source: &SOURCE, kernel, threads: THREADS, blocks: blocks.into(), params })
        };
        let mut to = 1;
        for grad in args.grads.iter() {
            let grad = grad.as_view();
            let lattice = Lattice::new(OP, grad.shape(), &[self.part(OP, "grads", &grad)?])?;
            let of_grad = lattice.count.div_ceil(BLOCK);
            run(by_float!("clip_norm_squares", dtype), of_grad, &ClipNormParams { lattice, to, ..params })?;
            to += of_grad;
        }
        run("clip_norm", 1, &params)?;
        for grad in args.grads.iter() {
            let grad = grad.as_view();
            let part = self.part(OP, "grads", &grad)?;
            let lattice = Lattice::new(OP, grad.shape(), &[part, part, part])?;
            let params = ClipNormParams { lattice, ..params };
            self.elementwise(OP, (&SOURCE, by_float!("clip_norm_scale", dtype)), &lattice, &params)?;
        }
        Ok(())
    }
}
