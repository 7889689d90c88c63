//! Adam with decoupled weight decay.

use crate::WgpuBackend;
use crate::lattice::{Lattice, Slot, floats};
use crate::operand::code;
use crate::pipeline::{ELEMENT, GROUP, LATTICE, MATH, PRECISE, STEP, Shader};
use crate::queue::Dispatch;
use bytemuck::{Pod, Zeroable};
use kernels::ops::AdamW;
use kernels::{Checked, DType, Launch, Op, Result, Support};

static SHADER: Shader = Shader {
    name: AdamW::NAME,
    pieces: &[ELEMENT, GROUP, LATTICE, MATH, PRECISE, STEP, include_str!("adamw.wgsl")],
    constants: &["X"],
};

/// As in `adamw.wgsl`.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Params {
    lattice: Lattice,
    lr: f32,
    beta1: f32,
    rest1: f32,
    beta2: f32,
    rest2: f32,
    eps: f32,
    correction: f32,
    weight_decay: f32,
    l1: f32,
}

impl Launch<AdamW<'_>> for WgpuBackend {
    fn support(&self, dtype: DType) -> Support {
        floats(dtype)
    }

    fn launch(&self, args: Checked<AdamW<'_>>) -> Result<()> {
        const OP: &str = AdamW::NAME;
        self.queue.faults().enter(OP)?;
        let (param_view, m_view, v_view) = (args.param.as_view(), args.m.as_view(), args.v.as_view());
        let (grad, param) = (self.operand(OP, "grad", &args.grad)?, self.operand(OP, "param", &param_view)?);
        let (m, v) = (self.operand(OP, "m", &m_view)?, self.operand(OP, "v", &v_view)?);
        let slots = [
            Slot::new(&grad, args.grad.layout()),
            Slot::new(&m, m_view.layout()),
            Slot::new(&v, v_view.layout()),
            Slot::new(&param, param_view.layout()),
        ];
        let lattice = Lattice::new(OP, param_view.shape(), slots)?;
        let [first, second] = [args.beta1, args.beta2].map(|beta| 1.0 - f64::from(beta).powf(args.step.into()));
        // m̂ / (√v̂ + ε) with m̂ = m / c₁ and v̂ = v / c₂ is m·(√c₂ / c₁) / (√v + ε·√c₂): one division of three.
        let params = Params {
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
        };
        self.queue.dispatch(&Dispatch {
            op: OP,
            shader: &SHADER,
            constants: [code(args.grad.dtype()), 0, 0, 0],
            operands: &[grad, m, v, param],
            params: bytemuck::bytes_of(&params),
            groups: lattice.groups(DType::F32),
        })
    }
}
