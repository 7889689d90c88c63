//! Accumulation in place.

use crate::CpuBackend;
use crate::dtypes::{floats, with_float};
use crate::simd::{load, simd_fn, store};
use crate::strided::{InF32, OutF32, each};
use kernels::ops::Axpy;
use kernels::{Checked, DType, Launch, Op, Result, Support};

simd_fn! {
    fn accumulate(s, alpha: f32, x: &[f32], out: &mut [f32]) {
        let alpha = s.splat(alpha);
        for at in (0..out.len()).step_by(S::LANES) {
            let sum = s.fma(alpha, load(s, x, at), load(s, out, at));
            store(s, out, at, sum);
        }
    }
}

impl Launch<Axpy<'_>> for CpuBackend {
    fn support(&self, dtype: DType) -> Support {
        floats(dtype)
    }

    fn launch(&self, args: Checked<Axpy<'_>>) -> Result<()> {
        let Axpy { alpha, x, out } = args.into_inner();
        with_float!(Axpy::NAME, x.dtype(), A => with_float!(Axpy::NAME, out.dtype(), B => {
            let operands = (InF32::<A>::new(self.isa, &x)?, OutF32::<B>::new(self.isa, out)?);
            each(&self.pool, 1, &operands, |_, (x, out)| accumulate(self.isa, alpha, x, out));
            Ok(())
        }))
    }
}
