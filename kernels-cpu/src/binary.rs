//! Functions of two elements.

use crate::CpuBackend;
use crate::dtypes::{floats, with_float};
use crate::simd::{Float, Stores, map, simd_fn};
use crate::strided::{In, Out, each};
use kernels::ops::{Binary, BinaryOp};
use kernels::{Checked, DType, Launch, Op, Result, Support};

simd_fn! {
    fn apply[T: Float](s, op: BinaryOp, stores: Stores, a: &[T], b: &[T], out: &mut [T]) {
        match op {
            BinaryOp::Add => map(s, stores, [a, b], out, #[inline(always)] |[a, b]| a + b),
            BinaryOp::Sub => map(s, stores, [a, b], out, #[inline(always)] |[a, b]| a - b),
            BinaryOp::Mul => map(s, stores, [a, b], out, #[inline(always)] |[a, b]| a * b),
            BinaryOp::Div => map(s, stores, [a, b], out, #[inline(always)] |[a, b]| a / b),
            BinaryOp::Max => map(s, stores, [a, b], out, #[inline(always)] |[a, b]| s.max_nan(a, b)),
            BinaryOp::Min => map(s, stores, [a, b], out, #[inline(always)] |[a, b]| s.min_nan(a, b)),
        }
    }
}

impl Launch<Binary<'_>> for CpuBackend {
    fn support(&self, dtype: DType) -> Support {
        floats(dtype)
    }

    fn launch(&self, args: Checked<Binary<'_>>) -> Result<()> {
        let Binary { op, a, b, out } = args.into_inner();
        let stores = Stores::of(&out);
        with_float!(Binary::NAME, a.dtype(), T => {
            let operands = (In::<T>::new(&a)?, In::<T>::new(&b)?, Out::<T>::new(out)?);
            each(&self.pool, 1, &operands, |(a, b, out)| apply(self.isa, op, stores, a, b, out));
            Ok(())
        })
    }
}
