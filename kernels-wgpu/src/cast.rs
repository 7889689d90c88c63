//! Conversion between dtypes.

use crate::WgpuBackend;
use crate::lattice::{Lattice, Slot};
use crate::operand::code;
use crate::pipeline::{ELEMENT, ELEMENTWISE, GROUP, LATTICE, OUTPUT, Shader, WORDS};
use crate::queue::Dispatch;
use kernels::ops::Cast;
use kernels::{Checked, DType, Launch, Op, Result, Support};

static SHADER: Shader = Shader {
    name: Cast::NAME,
    pieces: &[ELEMENT, OUTPUT, GROUP, LATTICE, WORDS, ELEMENTWISE, include_str!("cast.wgsl")],
    constants: &["X", "OUT"],
};

impl Launch<Cast<'_>> for WgpuBackend {
    fn support(&self, _: DType) -> Support {
        Support::Native
    }

    fn launch(&self, args: Checked<Cast<'_>>) -> Result<()> {
        const OP: &str = Cast::NAME;
        self.queue.faults().enter(OP)?;
        let (x, out) = (args.x, args.out.as_view());
        let (from, to) = (self.operand(OP, "x", &x)?, self.operand(OP, "out", &out)?);
        let slots = [Slot::new(&from, x.layout()), Slot::default(), Slot::default(), Slot::new(&to, out.layout())];
        let lattice = Lattice::new(OP, out.shape(), slots)?;
        self.queue.dispatch(&Dispatch {
            op: OP,
            shader: &SHADER,
            constants: [code(x.dtype()), code(out.dtype()), 0, 0],
            operands: &[from, to],
            params: bytemuck::bytes_of(&lattice),
            groups: lattice.groups(out.dtype()),
        })
    }
}
