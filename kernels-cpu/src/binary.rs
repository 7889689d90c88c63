//! Functions of two elements.

use crate::CpuBackend;
use crate::dtypes::{floats, with_float};
use crate::simd::{map, simd_fn};
use crate::strided::{InF32, OutF32, each};
use kernels::ops::{Binary, BinaryOp};
use kernels::{Checked, DType, Launch, Op, Result, Support};

simd_fn! {
    fn apply(s, op: BinaryOp, a: &[f32], b: &[f32], out: &mut [f32]) {
        match op {
            BinaryOp::Add => map(s, [a, b], out, #[inline(always)] |[a, b]| a + b),
            BinaryOp::Sub => map(s, [a, b], out, #[inline(always)] |[a, b]| a - b),
            BinaryOp::Mul => map(s, [a, b], out, #[inline(always)] |[a, b]| a * b),
            BinaryOp::Div => map(s, [a, b], out, #[inline(always)] |[a, b]| a / b),
            BinaryOp::Max => map(s, [a, b], out, #[inline(always)] |[a, b]| s.max_nan(a, b)),
            BinaryOp::Min => map(s, [a, b], out, #[inline(always)] |[a, b]| s.min_nan(a, b)),
        }
    }
}

impl Launch<Binary<'_>> for CpuBackend {
    fn support(&self, dtype: DType) -> Support {
        floats(dtype)
    }

    fn launch(&self, args: Checked<Binary<'_>>) -> Result<()> {
        let Binary { op, a, b, out } = args.into_inner();
        with_float!(Binary::NAME, a.dtype(), T => {
            let operands = (InF32::<T>::new(self.isa, &a)?, InF32::<T>::new(self.isa, &b)?, OutF32::<T>::new(self.isa, out)?);
            each(&self.pool, 1, &operands, |_, (a, b, out)| apply(self.isa, op, a, b, out));
            Ok(())
        })
    }
}
