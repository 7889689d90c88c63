//! Clipping of gradients by their global norm: one pass to find it, one to scale where it is too large.

use crate::CpuBackend;
use crate::dtypes::{floats, with_float};
use crate::memory::output;
use crate::simd::{load, simd_fn, store};
use crate::strided::{InF32, OutF32, Plan, each};
use crate::threads::Parts;
use kernels::ops::ClipNorm;
use kernels::{Checked, DType, Launch, Op, Result, Support};

simd_fn! {
    /// Σ x², in f64: no square of an f32 overflows there.
    fn sum_of_squares(s, x: &[f32]) -> f64 {
        let mut sums = [0f64; 16];
        let mut lanes = [0f32; 16];
        for at in (0..x.len()).step_by(S::LANES) {
            store(s, &mut lanes, 0, load(s, x, at));
            for (sum, x) in sums.iter_mut().zip(lanes).take(S::LANES) {
                *sum += x as f64 * x as f64;
            }
        }
        sums.iter().sum()
    }
    fn scale(s, factor: f32, x: &mut [f32]) {
        let factor = s.splat(factor);
        for at in (0..x.len()).step_by(S::LANES) {
            let scaled = load(s, x, at) * factor;
            store(s, x, at, scaled);
        }
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
                let operands = (InF32::<T>::new(self.isa, &grad.as_view())?,);
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
                    each(&self.pool, 1, &(OutF32::<T>::new(self.isa, grad.reborrow())?,), |_, (x,)| scale(self.isa, factor, x));
                }
            }
            Ok(())
        })
    }
}
