//! Stochastic gradient descent.

use crate::WgpuBackend;
use crate::lattice::{Lattice, Slot, floats};
use crate::operand::code;
use crate::pipeline::{ELEMENT, GROUP, LATTICE, STEP, Shader};
use crate::queue::Dispatch;
use bytemuck::{Pod, Zeroable};
use kernels::ops::{Momentum, Sgd};
use kernels::{Checked, DType, Launch, Op, Result, Support, ViewMut};

static SHADER: Shader = Shader {
    name: Sgd::NAME,
    pieces: &[ELEMENT, GROUP, LATTICE, STEP, include_str!("sgd.wgsl")],
    constants: &["X", "VELOCITY", "NESTEROV"],
};

/// As in `sgd.wgsl`.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Params {
    lattice: Lattice,
    lr: f32,
    momentum: f32,
    l2: f32,
    l1: f32,
}

impl Launch<Sgd<'_>> for WgpuBackend {
    fn support(&self, dtype: DType) -> Support {
        floats(dtype)
    }

    fn launch(&self, args: Checked<Sgd<'_>>) -> Result<()> {
        const OP: &str = Sgd::NAME;
        self.queue.faults().enter(OP)?;
        let param_view = args.param.as_view();
        let (grad, param) = (self.operand(OP, "grad", &args.grad)?, self.operand(OP, "param", &param_view)?);
        let (velocity, velocity_slot) = match args.velocity.as_ref().map(ViewMut::as_view) {
            Some(view) => {
                let velocity = self.operand(OP, "velocity", &view)?;
                (velocity, Slot::new(&velocity, view.layout()))
            }
            None => (param, Slot::default()),
        };
        let slots =
            [Slot::new(&grad, args.grad.layout()), velocity_slot, Slot::default(), Slot::new(&param, param_view.layout())];
        let lattice = Lattice::new(OP, param_view.shape(), slots)?;
        let (lr, momentum, l2, l1) = (args.lr, args.momentum, args.l2, args.l1);
        let with_velocity = u32::from(args.velocity.is_some());
        self.queue.dispatch(&Dispatch {
            op: OP,
            shader: &SHADER,
            constants: [code(args.grad.dtype()), with_velocity, u32::from(args.form == Momentum::Nesterov), 0],
            operands: &[grad, velocity, param],
            params: bytemuck::bytes_of(&Params { lattice, lr, momentum, l2, l1 }),
            groups: lattice.groups(DType::F32),
        })
    }
}
