//! Accumulation in place.

use crate::WgpuBackend;
use crate::lattice::{Lattice, Slot, floats};
use crate::operand::code;
use crate::pipeline::{ELEMENT, ELEMENTWISE, GROUP, LATTICE, OUTPUT, Shader, WORDS};
use crate::queue::Dispatch;
use bytemuck::{Pod, Zeroable};
use kernels::ops::Axpy;
use kernels::{Checked, DType, Launch, Op, Result, Support};

static SHADER: Shader = Shader {
    name: Axpy::NAME,
    pieces: &[ELEMENT, OUTPUT, GROUP, LATTICE, WORDS, ELEMENTWISE, include_str!("axpy.wgsl")],
    constants: &["X", "OUT"],
};

/// As in `axpy.wgsl`.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Params {
    lattice: Lattice,
    alpha: f32,
}

impl Launch<Axpy<'_>> for WgpuBackend {
    fn support(&self, dtype: DType) -> Support {
        floats(dtype)
    }

    fn launch(&self, args: Checked<Axpy<'_>>) -> Result<()> {
        const OP: &str = Axpy::NAME;
        self.queue.faults().enter(OP)?;
        let out_view = args.out.as_view();
        let (x, out) = (self.operand(OP, "x", &args.x)?, self.operand(OP, "out", &out_view)?);
        let slots = [Slot::new(&x, args.x.layout()), Slot::default(), Slot::default(), Slot::new(&out, out_view.layout())];
        let lattice = Lattice::new(OP, out_view.shape(), slots)?;
        self.queue.dispatch(&Dispatch {
            op: OP,
            shader: &SHADER,
            constants: [code(args.x.dtype()), code(out_view.dtype()), 0, 0],
            operands: &[x, out],
            params: bytemuck::bytes_of(&Params { lattice, alpha: args.alpha }),
            groups: lattice.groups(out_view.dtype()),
        })
    }
}
