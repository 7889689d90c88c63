//! Adam with decoupled weight decay: one pass over parameters, gradient and moments.

use crate::CpuBackend;
use crate::dtypes::{floats, with_float};
use crate::sgd::sign;
use crate::simd::{Float, simd_fn, spans};
use crate::strided::{In, Out, each};
use kernels::ops::AdamW;
use kernels::{Checked, DType, Launch, Op, Result, Support};

#[derive(Clone, Copy)]
struct Rates {
    lr: f32,
    beta1: f32,
    beta2: f32,
    eps: f32,
    weight_decay: f32,
    l1: f32,
    /// √(1 − β₂ᵗ), and that by 1 − β₁ᵗ.
    root_correction: f32,
    correction: f32,
}

simd_fn! {
    fn update[T: Float](s, rates: Rates, param: &mut [f32], grad: &[T], m: &mut [f32], v: &mut [f32]) {
        let (beta1, rest1) = (s.splat(rates.beta1), s.splat(1.0 - rates.beta1));
        let (beta2, rest2) = (s.splat(rates.beta2), s.splat(1.0 - rates.beta2));
        // m̂ / (√v̂ + ε) with m̂ = m / c₁ and v̂ = v / c₂ is m·(√c₂ / c₁) / (√v + ε·√c₂): one division of three.
        let (correction, eps) = (s.splat(rates.correction), s.splat(rates.eps * rates.root_correction));
        let lr = s.splat(-rates.lr);
        let (decay, l1) = (s.splat(rates.weight_decay), s.splat(rates.l1));
        spans(
            s,
            param.len(),
            #[inline(always)]
            |span| {
                let (p, g) = (span.load(s, param), span.load(s, grad));
                let first = s.fma(beta1, span.load(s, m), rest1 * g);
                let second = s.fma(beta2, span.load(s, v), rest2 * g * g);
                span.store(s, m, first);
                span.store(s, v, second);
                let adaptive = first * correction / (s.sqrt(second) + eps);
                let step = s.fma(decay, p, s.fma(l1, sign(s, p), adaptive));
                span.store(s, param, s.fma(lr, step, p));
            },
        );
    }
}

impl Launch<AdamW<'_>> for CpuBackend {
    fn support(&self, dtype: DType) -> Support {
        floats(dtype)
    }

    fn launch(&self, args: Checked<AdamW<'_>>) -> Result<()> {
        let AdamW { param, grad, m, v, lr, beta1, beta2, eps, weight_decay, l1, step } = args.into_inner();
        let [first, second] = [beta1, beta2].map(|beta| 1.0 - (beta as f64).powf(step as f64));
        let (root_correction, correction) = (second.sqrt() as f32, (second.sqrt() / first) as f32);
        let rates = Rates { lr, beta1, beta2, eps, weight_decay, l1, root_correction, correction };
        with_float!(AdamW::NAME, grad.dtype(), T => {
            let operands = (Out::<f32>::new(param)?, In::<T>::new(&grad)?, Out::<f32>::new(m)?, Out::<f32>::new(v)?);
            each(&self.pool, 5, &operands, |(param, grad, m, v)| update(self.isa, rates, param, grad, m, v));
            Ok(())
        })
    }
}
