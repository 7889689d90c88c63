//! Softmax of rows.

use crate::CpuBackend;
use crate::dtypes::{floats, with_float};
use crate::simd::{Float, Simd, Stores, fold, map, math, prefetch_slice, simd_fn, spans_in_four, sum_of_four};
use crate::strided::{InRows, OutRows, each_row};
use kernels::ops::Softmax;
use kernels::{Checked, DType, Launch, Op, Result, Support};
use std::mem::MaybeUninit;

/// Elements of a row that are passed twice while they are in the first-level cache.
const BLOCK: usize = 2048;

/// Largest scale·x. NaN is left out.
#[inline(always)]
fn largest<S: Simd, T: Float>(s: S, x: &[T], scale: f32) -> f32 {
    let scale = s.splat(scale);
    // `max` gives its second argument for NaN.
    let max = fold(
        s,
        [x],
        s.splat(f32::NEG_INFINITY),
        #[inline(always)]
        |max, [x]| s.max(x * scale, max),
        #[inline(always)]
        |a, b| s.max(a, b),
    );
    s.reduce_max(max)
}

/// Largest scale·x, and Σ exp(scale·x − largest). Where all are −∞ the sum is 0, or NaN if there is a NaN.
#[inline(always)]
pub(crate) fn max_and_sum<S: Simd, T: Float>(s: S, x: &[T], scale: f32) -> (f32, f32) {
    let (mut max, mut sum) = (f32::NEG_INFINITY, 0.0);
    for (index, block) in x.chunks(BLOCK).enumerate() {
        let higher = largest(s, block, scale);
        // What has been summed up so far refers to the former maximum.
        if higher > max {
            sum *= if index == 0 { 0.0 } else { exp_one(s, max - higher) };
            max = higher;
        }
        prefetch_slice(&x[((index + 1) * BLOCK).min(x.len())..]);
        let (scale, shift) = (s.splat(scale), s.splat(-shift(max)));
        let exps = fold(
            s,
            [block],
            s.zero(),
            #[inline(always)]
            |sum, [x]| sum + math::exp(s, s.fma(x, scale, shift)),
            #[inline(always)]
            |a, b| a + b,
        );
        sum += s.reduce_add(exps);
    }
    (max, sum)
}

/// eˣ of one number.
#[inline(always)]
fn exp_one<S: Simd>(s: S, x: f32) -> f32 {
    s.reduce_max(math::exp(s, s.splat(x)))
}

/// What is subtracted before exp: the largest score, or 0 where all are −∞, so that their difference is not NaN.
#[inline(always)]
fn shift(max: f32) -> f32 {
    if max == f32::NEG_INFINITY { 0.0 } else { max }
}

simd_fn! {
    fn softmax_row[T: Float](s, stores: Stores, x: &[T], out: &mut [T]) {
        // 0 is the sum of a row of −∞ alone: its probabilities are 0.
        let factor = |sum: f32| s.splat(if sum == 0.0 { 0.0 } else { 1.0 / sum });
        if x.len() > BLOCK {
            let (max, sum) = max_and_sum(s, x, 1.0);
            let (factor, shift) = (factor(sum), s.splat(shift(max)));
            return map(s, stores, [x], out, #[inline(always)] |[x]| math::exp(s, x - shift) * factor);
        }
        // The same with each exponential computed once.
        let mut stage = [MaybeUninit::<f32>::uninit(); BLOCK];
        let exps = &mut stage[..x.len()];
        exps.fill(MaybeUninit::new(0.0));
        // SAFETY: all of them have just been written.
        let exps = unsafe { &mut *(std::ptr::from_mut(exps) as *mut [f32]) };
        let shift = s.splat(shift(largest(s, x, 1.0)));
        let mut sums = [s.zero(); 4];
        spans_in_four(
            s,
            x.len(),
            #[inline(always)]
            |k, span| {
                let exp = math::exp(s, span.load(s, x) - shift);
                span.store(s, exps, exp);
                sums[k] = span.select(s, sums[k] + exp, sums[k]);
            },
        );
        let factor = factor(sum_of_four(s, sums));
        map(s, stores, [&*exps], out, #[inline(always)] |[exp]| exp * factor);
    }
}

impl Launch<Softmax<'_>> for CpuBackend {
    fn support(&self, dtype: DType) -> Support {
        floats(dtype)
    }

    fn launch(&self, args: Checked<Softmax<'_>>) -> Result<()> {
        let Softmax { x, out } = args.into_inner();
        let width = x.shape().last().copied().unwrap_or(1);
        let stores = Stores::of(&out);
        with_float!(Softmax::NAME, x.dtype(), T => {
            let operands = (InRows::<T>::new(&x)?, OutRows::<T>::new(out)?);
            each_row(&self.pool, 4 * width, &operands, |_, (x, out)| softmax_row(self.isa, stores, x, out));
            Ok(())
        })
    }
}
