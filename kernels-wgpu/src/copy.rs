//! Strided copy.

use crate::WgpuBackend;
use crate::lattice::{Lattice, Slot};
use crate::operand::{Operand, code};
use crate::pipeline::{ELEMENT, ELEMENTWISE, GROUP, LATTICE, OUTPUT, Shader, WORDS};
use crate::queue::Dispatch;
use kernels::ops::Copy;
use kernels::{Checked, DType, Launch, Layout, Op, Result, Support};

static SHADER: Shader = Shader {
    name: Copy::NAME,
    pieces: &[ELEMENT, OUTPUT, GROUP, LATTICE, WORDS, ELEMENTWISE, include_str!("copy.wgsl")],
    constants: &["OUT"],
};

/// Invocations of a workgroup where each computes one output.
pub(crate) const GROUP_SIZE: u64 = 64;

impl WgpuBackend {
    /// Queues a copy between two bound layouts of one shape.
    ///
    /// # Errors
    /// `Limit`; the first fault so far.
    pub(crate) fn queue_copy(
        &self,
        op: &'static str,
        dtype: DType,
        (x, x_layout): (Operand<'_>, &Layout),
        (out, out_layout): (Operand<'_>, &Layout),
    ) -> Result<()> {
        let slots = [Slot::new(&x, x_layout), Slot::default(), Slot::default(), Slot::new(&out, out_layout)];
        let lattice = Lattice::new(op, out_layout.shape(), slots)?;
        // Only the size of an element matters.
        let width = match dtype.size_bytes() {
            1 => DType::U8,
            2 => DType::F16,
            _ => DType::U32,
        };
        self.queue.dispatch(&Dispatch {
            op,
            shader: &SHADER,
            constants: [code(width), 0, 0, 0],
            operands: &[x, out],
            params: bytemuck::bytes_of(&lattice),
            groups: lattice.groups(width),
        })
    }
}

impl Launch<Copy<'_>> for WgpuBackend {
    fn support(&self, _: DType) -> Support {
        Support::Native
    }

    fn launch(&self, args: Checked<Copy<'_>>) -> Result<()> {
        const OP: &str = Copy::NAME;
        self.queue.faults().enter(OP)?;
        let (x, out) = (args.x, args.out.as_view());
        let from = (self.operand(OP, "x", &x)?, x.layout());
        self.queue_copy(OP, x.dtype(), from, (self.operand(OP, "out", &out)?, out.layout()))
    }
}
