//! Adam with decoupled weight decay.

use crate::CudaBackend;
use crate::lattice::floats;
use crate::params::{AdamWParams, Lattice};
use crate::source::{Source, by_float, source};
use kernels::ops::AdamW;
use kernels::{Checked, DType, Launch, Op, Result, Support};

pub(crate) static SOURCE: Source = source!("adamw");

impl Launch<AdamW<'_>> for CudaBackend {
    fn support(&self, dtype: DType) -> Support {
        floats(dtype)
    }

    fn launch(&self, args: Checked<AdamW<'_>>) -> Result<()> {
        const OP: &str = AdamW::NAME;
        self.queue.faults().enter(OP)?;
        let (param, m, v) = (args.param.as_view(), args.m.as_view(), args.v.as_view());
        let operands = [
            self.part(OP, "grad", &args.grad)?,
            self.part(OP, "param", &param)?,
            self.part(OP, "m", &m)?,
            self.part(OP, "v", &v)?,
        ];
        let lattice = Lattice::new(OP, param.shape(), &operands)?;
        let [first, second] = [args.beta1, args.beta2].map(|beta| 1.0 - f64::from(beta).powf(args.step.into()));
        // m̂ / (√v̂ + ε) with m̂ = m / c₁ and v̂ = v / c₂ is m·(√c₂ / c₁) / (√v + ε·√c₂): one division of three.
        let params = AdamWParams {
            lattice,
            lr: args.lr,
            beta1: args.beta1,
            rest1: 1.0 - args.beta1,
            beta2: args.beta2,
            rest2: 1.0 - args.beta2,
            eps: args.eps * second.sqrt() as f32,
            correction: (second.sqrt() / first) as f32,
            weight_decay: args.weight_decay,
            l1: args.l1,
            unused: 0,
        };
        self.elementwise(OP, (&SOURCE, by_float!("adamw", args.grad.dtype())), &lattice, &params)
    }
}
