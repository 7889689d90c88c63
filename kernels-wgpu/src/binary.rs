//! Functions of two elements.

use crate::WgpuBackend;
use crate::lattice::{Lattice, Slot, floats};
use crate::operand::code;
use crate::pipeline::{ELEMENT, ELEMENTWISE, GROUP, LATTICE, MATH, OUTPUT, PRECISE, Shader, WORDS};
use crate::queue::Dispatch;
use kernels::ops::{Binary, BinaryOp};
use kernels::{Checked, DType, Launch, Op, Result, Support};

static SHADER: Shader = Shader {
    name: Binary::NAME,
    pieces: &[ELEMENT, OUTPUT, GROUP, LATTICE, WORDS, ELEMENTWISE, MATH, PRECISE, include_str!("binary.wgsl")],
    constants: &["X", "OUT", "FUNCTION"],
};

/// Code of a function in `binary.wgsl`.
fn function(op: BinaryOp) -> u32 {
    match op {
        BinaryOp::Add => 0,
        BinaryOp::Sub => 1,
        BinaryOp::Mul => 2,
        BinaryOp::Div => 3,
        BinaryOp::Max => 4,
        BinaryOp::Min => 5,
    }
}

impl Launch<Binary<'_>> for WgpuBackend {
    fn support(&self, dtype: DType) -> Support {
        floats(dtype)
    }

    fn launch(&self, args: Checked<Binary<'_>>) -> Result<()> {
        const OP: &str = Binary::NAME;
        self.queue.faults().enter(OP)?;
        let out_view = args.out.as_view();
        let (a, b) = (self.operand(OP, "a", &args.a)?, self.operand(OP, "b", &args.b)?);
        let out = self.operand(OP, "out", &out_view)?;
        let slots =
            [Slot::new(&a, args.a.layout()), Slot::new(&b, args.b.layout()), Slot::default(), Slot::new(&out, out_view.layout())];
        let lattice = Lattice::new(OP, out_view.shape(), slots)?;
        self.queue.dispatch(&Dispatch {
            op: OP,
            shader: &SHADER,
            constants: [code(args.a.dtype()), code(out_view.dtype()), function(args.op), 0],
            operands: &[a, b, out],
            params: bytemuck::bytes_of(&lattice),
            groups: lattice.groups(out_view.dtype()),
        })
    }
}
