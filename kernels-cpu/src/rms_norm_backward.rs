//! Gradient of root-mean-square normalization. Column sums as in [`layer_norm_backward`](crate::layer_norm_backward).

use crate::CpuBackend;
use crate::dtypes::{floats, with_float};
use crate::layer_norm_backward::{chunk_rows, join_columns};
use crate::simd::{Float, load, simd_fn, store};
use crate::strided::{In, InRows, OutRows, each_row, widen};
use crate::threads::Parts;
use kernels::ops::RmsNormBackward;
use kernels::{Checked, DType, Launch, Op, Result, Support};

simd_fn! {
    /// Writes the gradient of a row, adds to the column sums.
    fn backward_row[T: Float](s, x: &[T], dout: &[T], weight: &[f32], rstd: f32, dx: &mut [T], dweight: &mut [f32]) {
        let factor = s.splat(rstd);
        let mut dot = s.zero(); // Σ g·x̂
        for at in (0..x.len()).step_by(S::LANES) {
            let hat = load(s, x, at) * factor;
            let next = s.fma(load(s, dout, at) * load(s, weight, at), hat, dot);
            dot = s.select(s.first(x.len() - at), next, dot);
        }
        let dot = s.splat(-s.reduce_add(dot) / x.len() as f32);
        for at in (0..x.len()).step_by(S::LANES) {
            let hat = load(s, x, at) * factor;
            let d = load(s, dout, at);
            store(s, dx, at, factor * s.fma(hat, dot, d * load(s, weight, at)));
            store(s, dweight, at, s.fma(d, hat, load(s, dweight, at)));
        }
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
        with_float!(RmsNormBackward::NAME, x.dtype(), T => {
            widen::<T>(&weight, scale)?;
            let scale = &*scale;
            let parts = Parts::new(&mut *sums);
            let operands =
                (InRows::<T>::new(&x)?, InRows::<T>::new(&dout)?, In::<f32>::new(&rstd)?, OutRows::<T>::new(dx)?);
            each_row(&self.pool, rows_of_chunk, 4 * width, &operands, |row, (x, dout, rstd, dx)| {
                // SAFETY: the rows of a chunk are one task; chunks have parts of their own.
                let part = unsafe { parts.part(row / rows_of_chunk * width, width) };
                backward_row(self.isa, x, dout, scale, rstd[0], dx, part);
            });
            join_columns::<T>(self, sums, width, 0, dweight)
        })
    }
}
