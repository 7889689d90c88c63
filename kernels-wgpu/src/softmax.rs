//! Softmax of rows.

use crate::WgpuBackend;
use crate::lattice::{Lattice, Slot, floats, lanes};
use crate::operand::{code, count};
use crate::pipeline::{ELEMENT, GROUP, LATTICE, MATH, OUTPUT, PRECISE, ROW_WORDS, ROWS, Shader, WORDS};
use crate::queue::Dispatch;
use bytemuck::{Pod, Zeroable};
use kernels::ops::Softmax;
use kernels::{Checked, DType, Launch, Op, Result, Support};

static SHADER: Shader = Shader {
    name: Softmax::NAME,
    pieces: &[ELEMENT, OUTPUT, GROUP, LATTICE, WORDS, ROWS, ROW_WORDS, MATH, PRECISE, include_str!("softmax.wgsl")],
    constants: &["X", "OUT", "LANES"],
};

/// As in `softmax.wgsl` and `softmax_backward.wgsl`.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub(crate) struct Params {
    pub lattice: Lattice,
    pub width: u32,
}

impl Launch<Softmax<'_>> for WgpuBackend {
    fn support(&self, dtype: DType) -> Support {
        floats(dtype)
    }

    fn launch(&self, args: Checked<Softmax<'_>>) -> Result<()> {
        const OP: &str = Softmax::NAME;
        self.queue.faults().enter(OP)?;
        let out_view = args.out.as_view();
        if out_view.numel() == 0 {
            return Ok(());
        }
        let (x, out) = (self.operand(OP, "x", &args.x)?, self.operand(OP, "out", &out_view)?);
        let slots = [Slot::new(&x, args.x.layout()), Slot::default(), Slot::default(), Slot::new(&out, out_view.layout())];
        let (rows, width) = out_view.shape().split_at(out_view.shape().rank() - 1);
        let lattice = Lattice::new(OP, rows, slots)?;
        let width = count(OP, "elements of a row", width[0])?;
        self.queue.dispatch(&Dispatch {
            op: OP,
            shader: &SHADER,
            constants: [code(args.x.dtype()), code(out_view.dtype()), lanes(width), 0],
            operands: &[x, out],
            params: bytemuck::bytes_of(&Params { lattice, width }),
            groups: lattice.count().into(),
        })
    }
}
