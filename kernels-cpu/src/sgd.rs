//! Stochastic gradient descent: one pass over parameters, gradient and velocity.

use crate::CpuBackend;
use crate::dtypes::{floats, with_float};
use crate::simd::{Float, Simd, simd_fn, spans};
use crate::strided::{In, Maybe, Out, each};
use kernels::ops::{Momentum, Sgd};
use kernels::{Checked, DType, Launch, Op, Result, Support};

/// −1, 0 or 1; NaN stays NaN.
#[inline(always)]
pub(crate) fn sign<S: Simd>(s: S, x: S::V) -> S::V {
    let sign = s.select(s.eq(x, s.zero()), s.zero(), s.copysign(s.splat(1.0), x));
    s.select(s.is_nan(x), x, sign)
}

#[derive(Clone, Copy)]
struct Rates {
    lr: f32,
    momentum: f32,
    form: Momentum,
    l2: f32,
    l1: f32,
}

simd_fn! {
    fn step[T: Float](s, rates: Rates, param: &mut [f32], grad: &[T], velocity: Option<&mut [f32]>) {
        let (lr, momentum) = (s.splat(-rates.lr), s.splat(rates.momentum));
        let (l2, l1) = (s.splat(rates.l2), s.splat(rates.l1));
        let mut velocity = velocity;
        spans(
            s,
            param.len(),
            #[inline(always)]
            |span| {
                let p = span.load(s, param);
                let g = s.fma(l2, p, s.fma(l1, sign(s, p), span.load(s, grad)));
                let direction = match &mut velocity {
                    None => g,
                    Some(velocity) => {
                        let v = s.fma(momentum, span.load(s, velocity), g);
                        span.store(s, velocity, v);
                        match rates.form {
                            Momentum::Heavy => v,
                            Momentum::Nesterov => s.fma(momentum, v, g),
                        }
                    }
                };
                span.store(s, param, s.fma(lr, direction, p));
            },
        );
    }
}

impl Launch<Sgd<'_>> for CpuBackend {
    fn support(&self, dtype: DType) -> Support {
        floats(dtype)
    }

    fn launch(&self, args: Checked<Sgd<'_>>) -> Result<()> {
        let Sgd { param, grad, velocity, lr, momentum, form, l2, l1 } = args.into_inner();
        let rates = Rates { lr, momentum, form, l2, l1 };
        with_float!(Sgd::NAME, grad.dtype(), T => {
            let param = Out::<f32>::new(param)?;
            let velocity = Maybe::new(velocity.map(Out::<f32>::new).transpose()?, &param);
            let operands = (param, In::<T>::new(&grad)?, velocity);
            each(&self.pool, 2, &operands, |(param, grad, velocity)| step(self.isa, rates, param, grad, velocity));
            Ok(())
        })
    }
}
