//! Accumulation in place.

use crate::CpuBackend;
use crate::dtypes::{floats, with_float};
use crate::simd::{Float, simd_fn, spans};
use crate::strided::{In, Out, each};
use kernels::ops::Axpy;
use kernels::{Checked, DType, Launch, Op, Result, Support};

simd_fn! {
    fn accumulate[A: Float, B: Float](s, alpha: f32, x: &[A], out: &mut [B]) {
        let alpha = s.splat(alpha);
        spans(
            s,
            out.len(),
            #[inline(always)]
            |span| span.store(s, out, s.fma(alpha, span.load(s, x), span.load(s, out))),
        );
    }
}

impl Launch<Axpy<'_>> for CpuBackend {
    fn support(&self, dtype: DType) -> Support {
        floats(dtype)
    }

    fn launch(&self, args: Checked<Axpy<'_>>) -> Result<()> {
        let Axpy { alpha, x, out } = args.into_inner();
        with_float!(Axpy::NAME, x.dtype(), A => with_float!(Axpy::NAME, out.dtype(), B => {
            let operands = (In::<A>::new(&x)?, Out::<B>::new(out)?);
            each(&self.pool, 1, &operands, |(x, out)| accumulate(self.isa, alpha, x, out));
            Ok(())
        }))
    }
}
