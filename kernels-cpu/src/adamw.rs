//! Adam with decoupled weight decay: one pass over parameters, gradient and moments.

use crate::CpuBackend;
use crate::dtypes::{floats, with_float};
use crate::sgd::sign;
use crate::simd::{load, simd_fn, store};
use crate::strided::{InF32, Out, each};
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
    /// 1 − β₁ᵗ and 1 − β₂ᵗ.
    corrections: [f32; 2],
}

simd_fn! {
    fn update(s, rates: Rates, param: &mut [f32], grad: &[f32], m: &mut [f32], v: &mut [f32]) {
        let (beta1, rest1) = (s.splat(rates.beta1), s.splat(1.0 - rates.beta1));
        let (beta2, rest2) = (s.splat(rates.beta2), s.splat(1.0 - rates.beta2));
        let [correction1, correction2] = rates.corrections.map(|c| s.splat(c));
        let (eps, lr) = (s.splat(rates.eps), s.splat(-rates.lr));
        let (decay, l1) = (s.splat(rates.weight_decay), s.splat(rates.l1));
        for at in (0..param.len()).step_by(S::LANES) {
            let (p, g) = (load(s, param, at), load(s, grad, at));
            let first = s.fma(beta1, load(s, m, at), rest1 * g);
            let second = s.fma(beta2, load(s, v, at), rest2 * g * g);
            store(s, m, at, first);
            store(s, v, at, second);
            let adaptive = first / correction1 / (s.sqrt(second / correction2) + eps);
            let step = s.fma(decay, p, s.fma(l1, sign(s, p), adaptive));
            store(s, param, at, s.fma(lr, step, p));
        }
    }
}

impl Launch<AdamW<'_>> for CpuBackend {
    fn support(&self, dtype: DType) -> Support {
        floats(dtype)
    }

    fn launch(&self, args: Checked<AdamW<'_>>) -> Result<()> {
        let AdamW { param, grad, m, v, lr, beta1, beta2, eps, weight_decay, l1, step } = args.into_inner();
        let corrections = [beta1, beta2].map(|beta| (1.0 - (beta as f64).powf(step as f64)) as f32);
        let rates = Rates { lr, beta1, beta2, eps, weight_decay, l1, corrections };
        with_float!(AdamW::NAME, grad.dtype(), T => {
            let operands = (Out::<f32>::new(param)?, InF32::<T>::new(self.isa, &grad)?, Out::<f32>::new(m)?, Out::<f32>::new(v)?);
            each(&self.pool, 2, &operands, |_, (param, grad, m, v)| update(self.isa, rates, param, grad, m, v));
            Ok(())
        })
    }
}
