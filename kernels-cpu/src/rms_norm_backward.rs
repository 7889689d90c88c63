//! Gradient of root-mean-square normalization. Column sums as in [`layer_norm_backward`](crate::layer_norm_backward).

use crate::CpuBackend;
use crate::dtypes::{floats, with_float};
use crate::layer_norm_backward::{chunk_rows, join_columns};
use crate::simd::{Float, Stores, simd_fn, spans, spans_in_four, sum_of_four};
use crate::strided::{In, InRows, OutRows, each_row_of_chunks, widen};
use crate::threads::Parts;
use kernels::ops::RmsNormBackward;
use kernels::{Checked, DType, Launch, Op, Result, Support};

simd_fn! {
    /// Writes the gradient of a row, adds to the column sums.
    fn backward_row[T: Float](s, stores: Stores, x: &[T], dout: &[T], weight: &[f32], rstd: f32, dx: &mut [T], dweight: &mut [f32]) {
        let factor = s.splat(rstd);
        let mut dots = [s.zero(); 4]; // Σ g·x̂
        spans_in_four(
            s,
            x.len(),
            #[inline(always)]
            |k, span| {
                let hat = span.load(s, x) * factor;
                let next = s.fma(span.load(s, dout) * span.load(s, weight), hat, dots[k]);
                dots[k] = span.select(s, next, dots[k]);
            },
        );
        let dot = s.splat(-sum_of_four(s, dots) / x.len() as f32);
        spans(
            s,
            x.len(),
            #[inline(always)]
            |span| {
                // The next row: this pass reads caches alone, and memory would idle.
                span.prefetch_beyond(s, x, x.len());
                span.prefetch_beyond(s, dout, dout.len());
                let hat = span.load(s, x) * factor;
                let d = span.load(s, dout);
                span.write(s, stores, dx, factor * s.fma(hat, dot, d * span.load(s, weight)));
                span.store(s, dweight, s.fma(d, hat, span.load(s, dweight)));
            },
        );
    }
}

impl Launch<RmsNormBackward<'_>> for CpuBackend {
    fn support(&self, dtype: DType) -> Support {
        floats(dtype)
    }

    fn launch(&self, args: Checked<RmsNormBackward<'_>>) -> Result<()> {
        let RmsNormBackward { x, weight, rstd, dout, dx, dweight } = args.into_inner();
        let width = weight.numel();
        let rows = rstd.numel();
        let rows_of_chunk = chunk_rows(rows);
        let sums = rows.div_ceil(rows_of_chunk) * width;
        let mut scratch = self.heap.scratch((width + sums) * size_of::<f32>())?;
        let (scale, sums) = scratch.as_mut_slice::<f32>().split_at_mut(width); // [D], [chunks, D]
        sums.fill(0.0);
        let stores = Stores::of(&dx);
        with_float!(RmsNormBackward::NAME, x.dtype(), T => {
            widen::<T>(&weight, scale)?;
            let scale = &*scale;
            let parts = Parts::new(&mut *sums);
            let operands =
                (InRows::<T>::new(&x)?, InRows::<T>::new(&dout)?, In::<f32>::new(&rstd)?, OutRows::<T>::new(dx)?);
            each_row_of_chunks(&self.pool, rows_of_chunk, 4 * width, &operands, |row, (x, dout, rstd, dx)| {
                // SAFETY: the rows of a chunk are one task; chunks have parts of their own.
                let part = unsafe { parts.part(row / rows_of_chunk * width, width) };
                backward_row(self.isa, stores, x, dout, scale, rstd[0], dx, part);
            });
            join_columns::<T>(self, sums, width, 0, dweight)
        })
    }
}
