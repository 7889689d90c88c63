//! Root-mean-square normalization.

use crate::WgpuBackend;
use crate::lattice::{Lattice, Slot, floats, lanes};
use crate::layer_norm::{Line, statistic};
use crate::operand::{code, count};
use crate::pipeline::{ELEMENT, GROUP, LATTICE, MATH, OUTPUT, PRECISE, ROW_WORDS, ROWS, Shader, WORDS};
use crate::queue::Dispatch;
use bytemuck::{Pod, Zeroable};
use kernels::ops::RmsNorm;
use kernels::{Checked, DType, Launch, Op, Result, Support};

static SHADER: Shader = Shader {
    name: RmsNorm::NAME,
    pieces: &[ELEMENT, OUTPUT, GROUP, LATTICE, WORDS, ROWS, ROW_WORDS, MATH, PRECISE, include_str!("rms_norm.wgsl")],
    constants: &["X", "OUT", "LANES"],
};

/// As in `rms_norm.wgsl`.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Params {
    lattice: Lattice,
    width: u32,
    eps: f32,
    weight: Line,
    with_rstd: u32,
}

impl Launch<RmsNorm<'_>> for WgpuBackend {
    fn support(&self, dtype: DType) -> Support {
        floats(dtype)
    }

    fn launch(&self, args: Checked<RmsNorm<'_>>) -> Result<()> {
        const OP: &str = RmsNorm::NAME;
        self.queue.faults().enter(OP)?;
        let out_view = args.out.as_view();
        let (x, out) = (self.operand(OP, "x", &args.x)?, self.operand(OP, "out", &out_view)?);
        let weight = self.operand(OP, "weight", &args.weight)?;
        let (rstd, rstd_slot, with_rstd) = statistic(self, OP, "rstd", args.rstd.as_ref(), out)?;
        let slots = [Slot::new(&x, args.x.layout()), rstd_slot, Slot::default(), Slot::new(&out, out_view.layout())];
        let (rows, width) = out_view.shape().split_at(out_view.shape().rank() - 1);
        let lattice = Lattice::new(OP, rows, slots)?;
        let width = count(OP, "elements of a row", width[0])?;
        let weight_line = Line::new(&weight, args.weight.layout());
        self.queue.dispatch(&Dispatch {
            op: OP,
            shader: &SHADER,
            constants: [code(args.x.dtype()), code(out_view.dtype()), lanes(width), 0],
            operands: &[x, weight, out, rstd],
            params: bytemuck::bytes_of(&Params { lattice, width, eps: args.eps, weight: weight_line, with_rstd }),
            groups: lattice.count().into(),
        })
    }
}
