//! Cross entropy of softmax.

use crate::CpuBackend;
use crate::dtypes::{floats, with_float};
use crate::gather::check_indices;
use crate::simd::{Float, simd_fn, spans_in_four, sum_of_four};
use crate::softmax::max_and_sum;
use crate::strided::{In, InRows, Out, each_row};
use kernels::ops::{CrossEntropy, Target};
use kernels::{Checked, DType, Launch, Op, Result, Support};

/// The class of a row that is left out.
pub(crate) const LEFT_OUT: u32 = u32::MAX;

simd_fn! {
    /// (largest scaled logit, ln Σ exp of the differences to it); their sum is the log-sum-exp.
    fn log_sum_exp[T: Float](s, logits: &[T], scale: f32) -> (f32, f32) {
        let (max, sum) = max_and_sum(s, logits, scale);
        // Nothing but −∞: keep the logarithm of 0 out of the sum −∞ + …
        (max, if sum == 0.0 { 0.0 } else { sum.ln() })
    }
    /// Σ target·(max − scale·logit + rest)
    fn against[T: Float](s, logits: &[T], target: &[f32], scale: f32, max: f32, rest: f32) -> f32 {
        let (scale, max, rest) = (s.splat(-scale), s.splat(max), s.splat(rest));
        let mut sums = [s.zero(); 4];
        spans_in_four(
            s,
            logits.len(),
            #[inline(always)]
            |k, span| {
                let surprise = s.fma(span.load(s, logits), scale, max) + rest;
                sums[k] = span.select(s, s.fma(span.load(s, target), surprise, sums[k]), sums[k]);
            },
        );
        sum_of_four(s, sums)
    }
}

impl Launch<CrossEntropy<'_>> for CpuBackend {
    fn support(&self, dtype: DType) -> Support {
        floats(dtype)
    }

    fn launch(&self, args: Checked<CrossEntropy<'_>>) -> Result<()> {
        let CrossEntropy { logits, target, scale, loss, lse } = args.into_inner();
        let width = logits.shape()[1];
        let weight = (4 * width).max(1);
        with_float!(CrossEntropy::NAME, logits.dtype(), T => {
            let logits = InRows::<T>::new(&logits)?;
            let (loss, lse) = (Out::<f32>::new(loss)?, Out::<f32>::new(lse)?);
            match target {
                Target::Class(class) => {
                    check_indices(CrossEntropy::NAME, "target", &class, width, Some(LEFT_OUT))?;
                    let operands = (logits, In::<u32>::new(&class)?, loss, lse);
                    each_row(&self.pool, weight, &operands, |_, (logits, class, loss, lse)| {
                        let (max, rest) = log_sum_exp(self.isa, logits, scale);
                        lse[0] = max + rest;
                        loss[0] = match class[0] {
                            LEFT_OUT => 0.0,
                            class => (max - scale * logits[class as usize].to_f32()) + rest,
                        };
                    });
                }
                Target::Distribution(target) => {
                    let operands = (logits, InRows::<f32>::new(&target)?, loss, lse);
                    each_row(&self.pool, weight, &operands, |_, (logits, target, loss, lse)| {
                        let (max, rest) = log_sum_exp(self.isa, logits, scale);
                        lse[0] = max + rest;
                        loss[0] = against(self.isa, logits, target, scale, max, rest);
                    });
                }
            }
            Ok(())
        })
    }
}
