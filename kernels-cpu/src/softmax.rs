//! Softmax of rows.

use crate::CpuBackend;
use crate::dtypes::{floats, with_float};
use crate::simd::{Float, Simd, fold, map, math, simd_fn};
use crate::strided::{InRows, OutRows, each_row, rows_of_task};
use kernels::ops::Softmax;
use kernels::{Checked, DType, Launch, Op, Result, Support};

/// Largest scale·x, and Σ exp(scale·x − largest). Where all are −∞ the sum is 0, or NaN if there is a NaN.
#[inline(always)]
pub(crate) fn max_and_sum<S: Simd, T: Float>(s: S, x: &[T], scale: f32) -> (f32, f32) {
    let scale = s.splat(scale);
    // `max` gives its second argument for NaN: NaN is left to the sum.
    let max = fold(
        s,
        [x],
        s.splat(f32::NEG_INFINITY),
        #[inline(always)]
        |max, [x]| s.max(x * scale, max),
        #[inline(always)]
        |a, b| s.max(a, b),
    );
    let max = s.reduce_max(max);
    let shift = s.splat(-shift(max));
    let sum = fold(
        s,
        [x],
        s.zero(),
        #[inline(always)]
        |sum, [x]| sum + math::exp(s, s.fma(x, scale, shift)),
        #[inline(always)]
        |a, b| a + b,
    );
    (max, s.reduce_add(sum))
}

/// What is subtracted before exp: the largest score, or 0 where all are −∞, so that their difference is not NaN.
#[inline(always)]
fn shift(max: f32) -> f32 {
    if max == f32::NEG_INFINITY { 0.0 } else { max }
}

simd_fn! {
    fn softmax_row[T: Float](s, x: &[T], out: &mut [T]) {
        let (max, sum) = max_and_sum(s, x, 1.0);
        // 0 is the sum of a row of −∞ alone: its probabilities are 0.
        let factor = s.splat(if sum == 0.0 { 0.0 } else { 1.0 / sum });
        let shift = s.splat(shift(max));
        map(s, [x], out, #[inline(always)] |[x]| math::exp(s, x - shift) * factor);
    }
}

impl Launch<Softmax<'_>> for CpuBackend {
    fn support(&self, dtype: DType) -> Support {
        floats(dtype)
    }

    fn launch(&self, args: Checked<Softmax<'_>>) -> Result<()> {
        let Softmax { x, out } = args.into_inner();
        let width = x.shape().last().copied().unwrap_or(1);
        with_float!(Softmax::NAME, x.dtype(), T => {
            let operands = (InRows::<T>::new(&x)?, OutRows::<T>::new(out)?);
            each_row(&self.pool, rows_of_task(width), 4 * width, &operands, |_, (x, out)| softmax_row(self.isa, x, out));
            Ok(())
        })
    }
}
