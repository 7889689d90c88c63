//! Layer normalization.

use crate::CpuBackend;
use crate::dtypes::{floats, with_float};
use crate::simd::{Float, Stores, fold, simd_fn, spans};
use crate::strided::{InRows, Maybe, Out, OutRows, each_row, widen};
use kernels::ops::LayerNorm;
use kernels::{Checked, DType, Launch, Op, Result, Support};

simd_fn! {
    /// Writes a row, returns its mean and reciprocal standard deviation.
    fn norm_row[T: Float](s, stores: Stores, x: &[T], weight: &[f32], bias: &[f32], eps: f32, out: &mut [T]) -> (f32, f32) {
        let width = x.len() as f32;
        let sum = fold(s, [x], s.zero(), #[inline(always)] |sum, [x]| sum + x, #[inline(always)] |a, b| a + b);
        let mean = s.reduce_add(sum) / width;
        let center = s.splat(mean);
        let squares = fold(
            s,
            [x],
            s.zero(),
            #[inline(always)]
            |sum, [x]| s.fma(x - center, x - center, sum),
            #[inline(always)]
            |a, b| a + b,
        );
        let rstd = 1.0 / (s.reduce_add(squares) / width + eps).sqrt();
        let factor = s.splat(rstd);
        spans(
            s,
            out.len(),
            #[inline(always)]
            |span| {
                span.prefetch_beyond(s, x, x.len()); // the next row: this pass reads caches alone, and memory would idle
                let hat = (span.load(s, x) - center) * factor;
                span.write(s, stores, out, s.fma(hat, span.load(s, weight), span.load(s, bias)));
            },
        );
        (mean, rstd)
    }
}

impl Launch<LayerNorm<'_>> for CpuBackend {
    fn support(&self, dtype: DType) -> Support {
        floats(dtype)
    }

    fn launch(&self, args: Checked<LayerNorm<'_>>) -> Result<()> {
        let LayerNorm { x, weight, bias, eps, out, mean, rstd } = args.into_inner();
        let width = weight.numel();
        let mut scratch = self.heap.scratch(2 * width * size_of::<f32>())?;
        let (scale, shift) = scratch.as_mut_slice::<f32>().split_at_mut(width); // [D], [D]
        let stores = Stores::of(&out);
        with_float!(LayerNorm::NAME, x.dtype(), T => {
            widen::<T>(&weight, scale)?;
            match bias {
                Some(bias) => widen::<T>(&bias, shift)?,
                None => shift.fill(0.0),
            }
            let (scale, shift) = (&*scale, &*shift);
            let x = InRows::<T>::new(&x)?;
            let mean = Maybe::new(mean.map(Out::<f32>::new).transpose()?, &x);
            let rstd = Maybe::new(rstd.map(Out::<f32>::new).transpose()?, &x);
            let operands = (x, OutRows::<T>::new(out)?, mean, rstd);
            each_row(&self.pool, 2 * width, &operands, |_, (x, out, mean, rstd)| {
                let stats = norm_row(self.isa, stores, x, scale, shift, eps, out);
                mean.into_iter().for_each(|mean| mean[0] = stats.0);
                rstd.into_iter().for_each(|rstd| rstd[0] = stats.1);
            });
            Ok(())
        })
    }
}
