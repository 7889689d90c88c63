//! Root-mean-square normalization.

use crate::CpuBackend;
use crate::dtypes::{floats, with_float};
use crate::simd::{Float, Stores, fold, simd_fn, spans};
use crate::strided::{InRows, Maybe, Out, OutRows, each_row, widen};
use kernels::ops::RmsNorm;
use kernels::{Checked, DType, Launch, Op, Result, Support};

simd_fn! {
    /// Writes a row, returns the reciprocal of its root mean square.
    fn norm_row[T: Float](s, stores: Stores, x: &[T], weight: &[f32], eps: f32, out: &mut [T]) -> f32 {
        let squares = fold(s, [x], s.zero(), #[inline(always)] |sum, [x]| s.fma(x, x, sum), #[inline(always)] |a, b| a + b);
        let rstd = 1.0 / (s.reduce_add(squares) / x.len() as f32 + eps).sqrt();
        let factor = s.splat(rstd);
        spans(
            s,
            out.len(),
            #[inline(always)]
            |span| {
                span.prefetch_beyond(s, x, x.len()); // the next row: this pass reads caches alone, and memory would idle
                span.write(s, stores, out, span.load(s, x) * factor * span.load(s, weight));
            },
        );
        rstd
    }
}

impl Launch<RmsNorm<'_>> for CpuBackend {
    fn support(&self, dtype: DType) -> Support {
        floats(dtype)
    }

    fn launch(&self, args: Checked<RmsNorm<'_>>) -> Result<()> {
        let RmsNorm { x, weight, eps, out, rstd } = args.into_inner();
        let width = weight.numel();
        let mut scratch = self.heap.scratch(width * size_of::<f32>())?;
        let scale = scratch.as_mut_slice::<f32>(); // [D]
        let stores = Stores::of(&out);
        with_float!(RmsNorm::NAME, x.dtype(), T => {
            widen::<T>(&weight, scale)?;
            let scale = &*scale;
            let x = InRows::<T>::new(&x)?;
            let rstd = Maybe::new(rstd.map(Out::<f32>::new).transpose()?, &x);
            let operands = (x, OutRows::<T>::new(out)?, rstd);
            each_row(&self.pool, 2 * width, &operands, |_, (x, out, rstd)| {
                let found = norm_row(self.isa, stores, x, scale, eps, out);
                rstd.into_iter().for_each(|rstd| rstd[0] = found);
            });
            Ok(())
        })
    }
}
