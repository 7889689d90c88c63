//! Gradient of cross entropy.

use crate::CpuBackend;
use crate::cross_entropy::LEFT_OUT;
use crate::dtypes::{floats, with_float};
use crate::gather::check_indices;
use crate::simd::{Float, Simd, Stores, fold, load, map, math, simd_fn, spans, store};
use crate::strided::{In, InRows, OutRows, each_row};
use kernels::ops::{CrossEntropyBackward, Target};
use kernels::{Checked, DType, Launch, Op, Result, Support};

/// What the rows of one call or one row share: scale, log-sum-exp, and dloss·scale.
#[derive(Clone, Copy)]
struct Row {
    scale: f32,
    lse: f32,
    factor: f32,
}

/// exp(scale·x − lse)
#[inline(always)]
fn probability<S: Simd>(s: S, row: Row, x: S::V) -> S::V {
    math::exp(s, s.fma(x, s.splat(row.scale), s.splat(-row.lse)))
}

simd_fn! {
    fn class_row[T: Float](s, stores: Stores, row: Row, logits: &[T], class: usize, dlogits: &mut [T]) {
        let factor = s.splat(row.factor);
        map(s, stores, [logits], dlogits, #[inline(always)] |[x]| factor * probability(s, row, x));
        let right = load(s, &logits[class..class + 1], 0);
        store(s, &mut dlogits[class..class + 1], 0, factor * (probability(s, row, right) - s.splat(1.0)));
    }
    fn distribution_row[T: Float](s, stores: Stores, row: Row, logits: &[T], target: &[f32], dlogits: &mut [T]) {
        let factor = s.splat(row.factor);
        let total = fold(s, [target], s.zero(), #[inline(always)] |sum, [t]| sum + t, #[inline(always)] |a, b| a + b);
        let total = s.splat(s.reduce_add(total));
        spans(
            s,
            logits.len(),
            #[inline(always)]
            |span| {
                let p = probability(s, row, span.load(s, logits));
                span.write(s, stores, dlogits, factor * s.fma(p, total, -span.load(s, target)));
            },
        );
    }
}

impl Launch<CrossEntropyBackward<'_>> for CpuBackend {
    fn support(&self, dtype: DType) -> Support {
        floats(dtype)
    }

    fn launch(&self, args: Checked<CrossEntropyBackward<'_>>) -> Result<()> {
        let CrossEntropyBackward { logits, target, scale, lse, dloss, dlogits } = args.into_inner();
        let width = logits.shape()[1];
        let weight = 3 * width;
        let row = |lse: &[f32], dloss: &[f32]| Row { scale, lse: lse[0], factor: dloss[0] * scale };
        let stores = Stores::of(&dlogits);
        with_float!(CrossEntropyBackward::NAME, logits.dtype(), T => {
            let (logits, dlogits) = (InRows::<T>::new(&logits)?, OutRows::<T>::new(dlogits)?);
            let (lse, dloss) = (In::<f32>::new(&lse)?, In::<f32>::new(&dloss)?);
            match target {
                Target::Class(class) => {
                    check_indices(CrossEntropyBackward::NAME, "target", &class, width, Some(LEFT_OUT))?;
                    let operands = (logits, In::<u32>::new(&class)?, lse, dloss, dlogits);
                    each_row(&self.pool, weight, &operands, |_, (logits, class, lse, dloss, dlogits)| match class[0] {
                        LEFT_OUT => dlogits.fill(T::from_f32(0.0)),
                        class => class_row(self.isa, stores, row(lse, dloss), logits, class as usize, dlogits),
                    });
                }
                Target::Distribution(target) => {
                    let operands = (logits, InRows::<f32>::new(&target)?, lse, dloss, dlogits);
                    each_row(&self.pool, weight, &operands, |_, (logits, target, lse, dloss, dlogits)| {
                        distribution_row(self.isa, stores, row(lse, dloss), logits, target, dlogits);
                    });
                }
            }
            Ok(())
        })
    }
}
