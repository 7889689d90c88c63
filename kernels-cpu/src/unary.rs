//! Functions of one element.

use crate::CpuBackend;
use crate::dtypes::{floats, with_float};
use crate::simd::{Float, Stores, map, math, simd_fn};
use crate::strided::{In, Out, each};
use kernels::ops::{Unary, UnaryOp};
use kernels::{Checked, DType, Launch, Op, Result, Support};

simd_fn! {
    fn apply[T: Float](s, op: UnaryOp, stores: Stores, x: &[T], out: &mut [T]) {
        let one = s.splat(1.0);
        match op {
            UnaryOp::Neg => map(s, stores, [x], out, #[inline(always)] |[x]| -x),
            UnaryOp::Abs => map(s, stores, [x], out, #[inline(always)] |[x]| s.abs(x)),
            UnaryOp::Square => map(s, stores, [x], out, #[inline(always)] |[x]| x * x),
            UnaryOp::Sqrt => map(s, stores, [x], out, #[inline(always)] |[x]| s.sqrt(x)),
            UnaryOp::Rsqrt => map(s, stores, [x], out, #[inline(always)] |[x]| one / s.sqrt(x)),
            UnaryOp::Recip => map(s, stores, [x], out, #[inline(always)] |[x]| one / x),
            UnaryOp::Exp => map(s, stores, [x], out, #[inline(always)] |[x]| math::exp(s, x)),
            UnaryOp::Log => map(s, stores, [x], out, #[inline(always)] |[x]| math::log(s, x)),
            UnaryOp::Tanh => map(s, stores, [x], out, #[inline(always)] |[x]| math::tanh(s, x)),
            UnaryOp::Sigmoid => map(s, stores, [x], out, #[inline(always)] |[x]| math::sigmoid(s, x)),
            // `max` gives its second argument for NaN, and +0 for −0.
            UnaryOp::Relu => map(s, stores, [x], out, #[inline(always)] |[x]| s.select(s.is_nan(x), x, s.max(x, s.zero()))),
            UnaryOp::Gelu => map(s, stores, [x], out, #[inline(always)] |[x]| math::gelu(s, x)),
            UnaryOp::GeluErf => map(s, stores, [x], out, #[inline(always)] |[x]| math::gelu_erf(s, x)),
            UnaryOp::Silu => map(s, stores, [x], out, #[inline(always)] |[x]| math::silu(s, x)),
            UnaryOp::Affine { scale, shift } => {
                map(s, stores, [x], out, #[inline(always)] |[x]| s.fma(x, s.splat(scale), s.splat(shift)));
            }
        }
    }
}

/// How much an element counts when work is shared among threads: its time beside that of a copied element, measured.
pub(crate) fn weight(op: UnaryOp) -> usize {
    match op {
        UnaryOp::Exp => 2,
        UnaryOp::Log | UnaryOp::Tanh | UnaryOp::Sigmoid | UnaryOp::Silu | UnaryOp::Gelu => 4,
        UnaryOp::GeluErf => 6,
        _ => 1,
    }
}

impl Launch<Unary<'_>> for CpuBackend {
    fn support(&self, dtype: DType) -> Support {
        floats(dtype)
    }

    fn launch(&self, args: Checked<Unary<'_>>) -> Result<()> {
        let Unary { op, x, out } = args.into_inner();
        let stores = Stores::of(&out);
        with_float!(Unary::NAME, x.dtype(), T => {
            let operands = (In::<T>::new(&x)?, Out::<T>::new(out)?);
            each(&self.pool, weight(op), &operands, |(x, out)| apply(self.isa, op, stores, x, out));
            Ok(())
        })
    }
}
