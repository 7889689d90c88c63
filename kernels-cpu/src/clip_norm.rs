//! Clipping of gradients by their global norm: one pass to find it, one to scale where it is too large.

use crate::CpuBackend;
use crate::dtypes::{floats, with_float};
use crate::memory::output;
use crate::simd::{Float, simd_fn, spans, store};
use crate::strided::{In, Out, Plan, each};
use crate::threads::Parts;
use kernels::ops::ClipNorm;
use kernels::{Checked, DType, Launch, Op, Result, Support};

simd_fn! {
    /// Σ x², in f64: no square of an f32 overflows there.
    fn sum_of_squares[T: Float](s, x: &[T]) -> f64 {
        let mut sums = [0f64; 16];
        let mut lanes = [0f32; 16];
        spans(
            s,
            x.len(),
            #[inline(always)]
            |span| {
                store(s, &mut lanes[..S::LANES], 0, span.load(s, x));
                for lane in 0..S::LANES {
                    sums[lane] += lanes[lane] as f64 * lanes[lane] as f64;
                }
            },
        );
        sums.iter().sum()
    }
    fn scale[T: Float](s, factor: f32, x: &mut [T]) {
        let factor = s.splat(factor);
        spans(s, x.len(), #[inline(always)] |span| span.store(s, x, span.load(s, x) * factor));
    }
}

impl Launch<ClipNorm<'_>> for CpuBackend {
    fn support(&self, dtype: DType) -> Support {
        floats(dtype)
    }

    fn launch(&self, args: Checked<ClipNorm<'_>>) -> Result<()> {
        let dtype = args.dtype();
        let ClipNorm { grads, max_norm, norm } = args.into_inner();
        with_float!(ClipNorm::NAME, dtype, T => {
            let mut sum = 0f64;
            for grad in grads.iter() {
                let operands = (In::<T>::new(&grad.as_view())?,);
                let plan = Plan::new(&operands, 1);
                let mut scratch = self.heap.scratch(plan.tasks * size_of::<f64>())?;
                let sums = scratch.as_mut_slice::<f64>(); // [tasks]
                sums.fill(0.0);
                let parts = Parts::new(&mut *sums);
                plan.run(&self.pool, &operands, |task, _, (x,)| {
                    // SAFETY: each task has an element of its own.
                    let sum = unsafe { parts.part(task, 1) };
                    sum[0] += sum_of_squares(self.isa, x);
                });
                sum += sums.iter().sum::<f64>();
            }
            let found = sum.sqrt();
            let at = norm.layout().offset();
            output::<f32>(norm)?[at] = found as f32;
            if (found as f32).is_finite() && found > max_norm as f64 {
                let factor = (max_norm as f64 / found) as f32;
                for grad in grads.iter_mut() {
                    each(&self.pool, 1, &(Out::<T>::new(grad.reborrow())?,), |(x,)| scale(self.isa, factor, x));
                }
            }
            Ok(())
        })
    }
}
