//! Gradient of softmax.

use crate::CpuBackend;
use crate::dtypes::{floats, with_float};
use crate::simd::{Float, Stores, fold, simd_fn, spans};
use crate::strided::{InRows, OutRows, each_row};
use kernels::ops::SoftmaxBackward;
use kernels::{Checked, DType, Launch, Op, Result, Support};

simd_fn! {
    fn backward_row[T: Float](s, stores: Stores, y: &[T], dout: &[T], dx: &mut [T]) {
        let dot = fold(s, [y, dout], s.zero(), #[inline(always)] |sum, [y, d]| s.fma(y, d, sum), #[inline(always)] |a, b| a + b);
        let dot = s.splat(s.reduce_add(dot));
        spans(
            s,
            dx.len(),
            #[inline(always)]
            |span| {
                // The next row: this pass reads caches alone, and memory would idle.
                span.prefetch_beyond(s, y, y.len());
                span.prefetch_beyond(s, dout, dout.len());
                span.write(s, stores, dx, span.load(s, y) * (span.load(s, dout) - dot));
            },
        );
    }
}

impl Launch<SoftmaxBackward<'_>> for CpuBackend {
    fn support(&self, dtype: DType) -> Support {
        floats(dtype)
    }

    fn launch(&self, args: Checked<SoftmaxBackward<'_>>) -> Result<()> {
        let SoftmaxBackward { y, dout, dx } = args.into_inner();
        let width = y.shape().last().copied().unwrap_or(1);
        let stores = Stores::of(&dx);
        with_float!(SoftmaxBackward::NAME, y.dtype(), T => {
            let operands = (InRows::<T>::new(&y)?, InRows::<T>::new(&dout)?, OutRows::<T>::new(dx)?);
            each_row(&self.pool, 2 * width, &operands, |_, (y, dout, dx)| {
                backward_row(self.isa, stores, y, dout, dx);
            });
            Ok(())
        })
    }
}
