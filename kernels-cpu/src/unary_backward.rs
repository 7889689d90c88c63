//! Gradients of functions of one element.

use crate::CpuBackend;
use crate::dtypes::{floats, with_float};
use crate::simd::{Float, Simd, Stores, map, math, simd_fn};
use crate::strided::{In, Out, each};
use kernels::ops::{UnaryBackward, UnaryOp};
use kernels::{Checked, DType, Launch, Op, Result, Support};

/// σ(t)·(1 + t′·x·(1 − σ(t))) of x·σ(t), where t grows with `slope` = t′ at x.
#[inline(always)]
fn gated<S: Simd>(s: S, x: S::V, t: S::V, slope: S::V) -> S::V {
    let gate = math::sigmoid(s, t);
    let rest = math::sigmoid(s, -t); // 1 − σ(t), without cancellation
    // Beyond ±88 one of the factors is 0, whatever x·slope has grown to; 0·∞ of an infinite x stays NaN.
    let bend = s.select(s.lt(s.splat(88.0), s.abs(t)), x * s.zero(), slope * x * rest);
    s.fma(gate, bend, gate)
}

simd_fn! {
    fn apply[T: Float](s, op: UnaryOp, stores: Stores, x: &[T], dout: &[T], dx: &mut [T]) {
        let (zero, one) = (s.zero(), s.splat(1.0));
        let xs = [x, dout];
        match op {
            UnaryOp::Neg => map(s, stores, xs, dx, #[inline(always)] |[_, d]| -d),
            UnaryOp::Abs => map(s, stores, xs, dx, #[inline(always)] |[x, d]| {
                let sign = s.select(s.eq(x, zero), zero, s.copysign(one, x));
                s.select(s.is_nan(x), x, sign) * d
            }),
            UnaryOp::Square => map(s, stores, xs, dx, #[inline(always)] |[x, d]| (x + x) * d),
            UnaryOp::Sqrt => map(s, stores, xs, dx, #[inline(always)] |[x, d]| s.splat(0.5) / s.sqrt(x) * d),
            UnaryOp::Rsqrt => map(s, stores, xs, dx, #[inline(always)] |[x, d]| s.splat(-0.5) / s.sqrt(x) / x * d),
            UnaryOp::Recip => map(s, stores, xs, dx, #[inline(always)] |[x, d]| -(one / x / x) * d),
            UnaryOp::Exp => map(s, stores, xs, dx, #[inline(always)] |[x, d]| math::exp(s, x) * d),
            UnaryOp::Log => map(s, stores, xs, dx, #[inline(always)] |[x, d]| d / x),
            UnaryOp::Tanh => map(s, stores, xs, dx, #[inline(always)] |[x, d]| {
                // 1 − tanh² = 4·σ(2x)·σ(−2x), without cancellation
                let (a, b) = (math::sigmoid(s, x + x), math::sigmoid(s, -(x + x)));
                s.splat(4.0) * a * b * d
            }),
            UnaryOp::Sigmoid => map(s, stores, xs, dx, #[inline(always)] |[x, d]| math::sigmoid(s, x) * math::sigmoid(s, -x) * d),
            UnaryOp::Relu => map(s, stores, xs, dx, #[inline(always)] |[x, d]| s.select(s.lt(zero, x), one, zero) * d),
            UnaryOp::Gelu => map(s, stores, xs, dx, #[inline(always)] |[x, d]| {
                // t = 2u of math::gelu
                let t = math::gelu_argument(s, x);
                let slope = s.fma(x * x, s.splat(3.0 * math::GELU_CUBIC), s.splat(math::GELU_LINEAR));
                gated(s, x, t, slope) * d
            }),
            UnaryOp::GeluErf => map(s, stores, xs, dx, #[inline(always)] |[x, d]| {
                // Φ(x) + x·φ(x)
                let (phi, density) = math::normal(s, x);
                s.fma(x, density, phi) * d
            }),
            UnaryOp::Silu => map(s, stores, xs, dx, #[inline(always)] |[x, d]| gated(s, x, x, one) * d),
            UnaryOp::Affine { scale, .. } => map(s, stores, xs, dx, #[inline(always)] |[_, d]| s.splat(scale) * d),
        }
    }
}

impl Launch<UnaryBackward<'_>> for CpuBackend {
    fn support(&self, dtype: DType) -> Support {
        floats(dtype)
    }

    fn launch(&self, args: Checked<UnaryBackward<'_>>) -> Result<()> {
        let UnaryBackward { op, x, dout, dx } = args.into_inner();
        let stores = Stores::of(&dx);
        with_float!(UnaryBackward::NAME, x.dtype(), T => {
            let operands = (In::<T>::new(&x)?, In::<T>::new(&dout)?, Out::<T>::new(dx)?);
            let weight = 2 * crate::unary::weight(op);
            each(&self.pool, weight, &operands, |(x, dout, dx)| apply(self.isa, op, stores, x, dout, dx));
            Ok(())
        })
    }
}
