//! Gradient of layer normalization.
//!
//! Rows are cut into chunks by shape alone. Each chunk adds up its part of the column sums `dweight` and `dbias`; the parts are then
//! added in the order of the chunks.

use crate::CpuBackend;
use crate::dtypes::{floats, with_float};
use crate::simd::{Float, Stores, simd_fn, spans, spans_in_four, sum_of_four};
use crate::strided::{In, InRows, Out, OutRows, each_indexed, each_row_of_chunks, widen};
use crate::threads::Parts;
use kernels::ops::LayerNormBackward;
use kernels::{Checked, DType, Launch, Op, Result, Support, ViewMut};

/// Most chunks of rows.
const CHUNKS: usize = 64;

/// Fewest rows of a chunk.
const CHUNK_ROWS: usize = 16;

/// Rows of a chunk, of which there are at most [`CHUNKS`].
pub(crate) fn chunk_rows(rows: usize) -> usize {
    rows.div_ceil(CHUNKS).max(CHUNK_ROWS)
}

simd_fn! {
    /// Writes the gradient of a row, adds to the column sums.
    fn backward_row[T: Float](
        s, stores: Stores, x: &[T], dout: &[T], weight: &[f32], mean: f32, rstd: f32, dx: &mut [T], dweight: &mut [f32], dbias: &mut [f32],
    ) {
        let (center, factor) = (s.splat(mean), s.splat(rstd));
        let (mut sums, mut dots) = ([s.zero(); 4], [s.zero(); 4]); // Σ g, Σ g·x̂
        spans_in_four(
            s,
            x.len(),
            #[inline(always)]
            |k, span| {
                let hat = (span.load(s, x) - center) * factor;
                let g = span.load(s, dout) * span.load(s, weight);
                sums[k] = sums[k] + g; // 0 beyond the row
                dots[k] = span.select(s, s.fma(g, hat, dots[k]), dots[k]);
            },
        );
        let width = x.len() as f32;
        let (sum, dot) = (s.splat(sum_of_four(s, sums) / width), s.splat(-sum_of_four(s, dots) / width));
        spans(
            s,
            x.len(),
            #[inline(always)]
            |span| {
                // The next row: this pass reads caches alone, and memory would idle.
                span.prefetch_beyond(s, x, x.len());
                span.prefetch_beyond(s, dout, dout.len());
                let hat = (span.load(s, x) - center) * factor;
                let d = span.load(s, dout);
                let g = d * span.load(s, weight);
                span.write(s, stores, dx, factor * s.fma(hat, dot, g - sum));
                span.store(s, dweight, s.fma(d, hat, span.load(s, dweight)));
                span.store(s, dbias, d + span.load(s, dbias));
            },
        );
    }
    /// to += from
    fn add_to(s, from: &[f32], to: &mut [f32]) {
        spans(s, to.len(), #[inline(always)] |span| span.store(s, to, span.load(s, to) + span.load(s, from)));
    }
}

/// Column sums of chunks, [chunks, stride]: columns `first`.. of each are added in order and stored.
pub(crate) fn join_columns<T: Float>(
    on: &CpuBackend,
    parts: &[f32],
    stride: usize,
    first: usize,
    out: ViewMut<'_>,
) -> Result<()> {
    let out = Out::<T>::new(out)?;
    let chunks = parts.len().checked_div(stride).unwrap_or(0);
    each_indexed(&on.pool, chunks, &(out,), |index, (out,)| {
        for (at, piece) in (index..).step_by(256).zip(out.chunks_mut(256)) {
            let mut sums = [0f32; 256];
            let sums = &mut sums[..piece.len()];
            for chunk in parts.chunks_exact(stride) {
                add_to(on.isa, &chunk[first + at..first + at + sums.len()], sums);
            }
            piece.iter_mut().zip(sums).for_each(|(out, sum)| *out = T::from_f32(*sum));
        }
    });
    Ok(())
}

impl Launch<LayerNormBackward<'_>> for CpuBackend {
    fn support(&self, dtype: DType) -> Support {
        floats(dtype)
    }

    fn launch(&self, args: Checked<LayerNormBackward<'_>>) -> Result<()> {
        let LayerNormBackward { x, weight, mean, rstd, dout, dx, dweight, dbias } = args.into_inner();
        let width = weight.numel();
        let rows = mean.numel();
        let rows_of_chunk = chunk_rows(rows);
        let sums = rows.div_ceil(rows_of_chunk) * 2 * width;
        let mut scratch = self.heap.scratch((width + sums) * size_of::<f32>())?;
        let (scale, sums) = scratch.as_mut_slice::<f32>().split_at_mut(width); // [D], [chunks, 2, D]
        sums.fill(0.0);
        let stores = Stores::of(&dx);
        with_float!(LayerNormBackward::NAME, x.dtype(), T => {
            widen::<T>(&weight, scale)?;
            let scale = &*scale;
            let parts = Parts::new(&mut *sums);
            let operands = (
                InRows::<T>::new(&x)?,
                InRows::<T>::new(&dout)?,
                In::<f32>::new(&mean)?,
                In::<f32>::new(&rstd)?,
                OutRows::<T>::new(dx)?,
            );
            each_row_of_chunks(&self.pool, rows_of_chunk, 4 * width, &operands, |row, (x, dout, mean, rstd, dx)| {
                // SAFETY: the rows of a chunk are one task; chunks have parts of their own.
                let part = unsafe { parts.part(row / rows_of_chunk * 2 * width, 2 * width) };
                let (dweight, dbias) = part.split_at_mut(width);
                backward_row(self.isa, stores, x, dout, scale, mean[0], rstd[0], dx, dweight, dbias);
            });
            join_columns::<T>(self, sums, 2 * width, 0, dweight)?;
            match dbias {
                Some(dbias) => join_columns::<T>(self, sums, 2 * width, width, dbias),
                None => Ok(()),
            }
        })
    }
}
