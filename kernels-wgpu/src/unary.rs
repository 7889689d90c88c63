//! Functions of one element.

use crate::WgpuBackend;
use crate::lattice::{Lattice, Slot, floats};
use crate::operand::code;
use crate::pipeline::{ACTIVATION, ELEMENT, ELEMENTWISE, GROUP, LATTICE, MATH, OUTPUT, PRECISE, Shader, WORDS};
use crate::queue::Dispatch;
use bytemuck::{Pod, Zeroable};
use kernels::ops::{Unary, UnaryOp};
use kernels::{Checked, DType, Launch, Op, Result, Support};

static SHADER: Shader = Shader {
    name: Unary::NAME,
    pieces: &[
        ELEMENT,
        OUTPUT,
        GROUP,
        LATTICE,
        WORDS,
        ELEMENTWISE,
        MATH,
        PRECISE,
        ACTIVATION,
        include_str!("wgsl/function.wgsl"),
        include_str!("unary.wgsl"),
    ],
    constants: &["X", "OUT", "FUNCTION"],
};

/// As in `unary.wgsl` and `unary_backward.wgsl`.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub(crate) struct Params {
    pub lattice: Lattice,
    pub scale: f32,
    pub shift: f32,
}

/// Code of a function in `wgsl/function.wgsl`, and the parameters of `Affine`.
pub(crate) fn function(op: UnaryOp) -> (u32, [f32; 2]) {
    let code = match op {
        UnaryOp::Neg => 0,
        UnaryOp::Abs => 1,
        UnaryOp::Square => 2,
        UnaryOp::Sqrt => 3,
        UnaryOp::Rsqrt => 4,
        UnaryOp::Recip => 5,
        UnaryOp::Exp => 6,
        UnaryOp::Log => 7,
        UnaryOp::Tanh => 8,
        UnaryOp::Sigmoid => 9,
        UnaryOp::Relu => 10,
        UnaryOp::Gelu => 11,
        UnaryOp::GeluErf => 12,
        UnaryOp::Silu => 13,
        UnaryOp::Affine { scale, shift } => return (14, [scale, shift]),
    };
    (code, [0.0; 2])
}

impl Launch<Unary<'_>> for WgpuBackend {
    fn support(&self, dtype: DType) -> Support {
        floats(dtype)
    }

    fn launch(&self, args: Checked<Unary<'_>>) -> Result<()> {
        const OP: &str = Unary::NAME;
        self.queue.faults().enter(OP)?;
        let (x_view, out_view) = (args.x, args.out.as_view());
        let (x, out) = (self.operand(OP, "x", &x_view)?, self.operand(OP, "out", &out_view)?);
        let slots = [Slot::new(&x, x_view.layout()), Slot::default(), Slot::default(), Slot::new(&out, out_view.layout())];
        let lattice = Lattice::new(OP, out_view.shape(), slots)?;
        let (function, [scale, shift]) = function(args.op);
        self.queue.dispatch(&Dispatch {
            op: OP,
            shader: &SHADER,
            constants: [code(x_view.dtype()), code(out_view.dtype()), function, 0],
            operands: &[x, out],
            params: bytemuck::bytes_of(&Params { lattice, scale, shift }),
            groups: lattice.groups(out_view.dtype()),
        })
    }
}
