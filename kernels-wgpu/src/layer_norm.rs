//! Layer normalization.

use crate::WgpuBackend;
use crate::lattice::{Lattice, Slot, floats, lanes};
use crate::operand::{Operand, code, count, strides};
use crate::pipeline::{ELEMENT, GROUP, LATTICE, MATH, OUTPUT, PRECISE, ROW_WORDS, ROWS, Shader, WORDS};
use crate::queue::Dispatch;
use bytemuck::{Pod, Zeroable};
use kernels::ops::LayerNorm;
use kernels::{Checked, DType, Launch, Layout, Op, Result, Support, ViewMut};

static SHADER: Shader = Shader {
    name: LayerNorm::NAME,
    pieces: &[ELEMENT, OUTPUT, GROUP, LATTICE, WORDS, ROWS, ROW_WORDS, MATH, PRECISE, include_str!("layer_norm.wgsl")],
    constants: &["X", "OUT", "LANES"],
};

/// Where the elements of a column vector lie.
#[derive(Clone, Copy, Default, Pod, Zeroable)]
#[repr(C)]
pub(crate) struct Line {
    pub first: u32,
    pub step: u32,
}

impl Line {
    /// Of a bound vector.
    pub fn new(operand: &Operand<'_>, layout: &Layout) -> Self {
        Line { first: operand.first, step: strides(layout)[0] }
    }
}

/// As in `layer_norm.wgsl`.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Params {
    lattice: Lattice,
    width: u32,
    eps: f32,
    weight: Line,
    bias: Line,
    with_bias: u32,
    with_mean: u32,
    with_rstd: u32,
}

/// An optional statistic of each row: its binding (or a stand-in that is not written), its slot, and whether it is there.
pub(crate) fn statistic<'a>(
    on: &WgpuBackend,
    op: &'static str,
    arg: &'static str,
    stat: Option<&'a ViewMut<'_>>,
    stand_in: Operand<'a>,
) -> Result<(Operand<'a>, Slot, u32)> {
    let Some(view) = stat.map(ViewMut::as_view) else {
        return Ok((stand_in, Slot::default(), 0));
    };
    let operand = on.operand(op, arg, &view)?;
    Ok((operand, Slot::new(&operand, view.layout()), 1))
}

impl Launch<LayerNorm<'_>> for WgpuBackend {
    fn support(&self, dtype: DType) -> Support {
        floats(dtype)
    }

    fn launch(&self, args: Checked<LayerNorm<'_>>) -> Result<()> {
        const OP: &str = LayerNorm::NAME;
        self.queue.faults().enter(OP)?;
        let out_view = args.out.as_view();
        let (x, out) = (self.operand(OP, "x", &args.x)?, self.operand(OP, "out", &out_view)?);
        let weight = self.operand(OP, "weight", &args.weight)?;
        let (bias, bias_line) = match &args.bias {
            Some(view) => {
                let bias = self.operand(OP, "bias", view)?;
                (bias, Line::new(&bias, view.layout()))
            }
            None => (weight, Line::default()),
        };
        let (mean, mean_slot, with_mean) = statistic(self, OP, "mean", args.mean.as_ref(), out)?;
        let (rstd, rstd_slot, with_rstd) = statistic(self, OP, "rstd", args.rstd.as_ref(), out)?;
        let slots = [Slot::new(&x, args.x.layout()), mean_slot, rstd_slot, Slot::new(&out, out_view.layout())];
        let (rows, width) = out_view.shape().split_at(out_view.shape().rank() - 1);
        let lattice = Lattice::new(OP, rows, slots)?;
        let width = count(OP, "elements of a row", width[0])?;
        let params = Params {
            lattice,
            width,
            eps: args.eps,
            weight: Line::new(&weight, args.weight.layout()),
            bias: bias_line,
            with_bias: u32::from(args.bias.is_some()),
            with_mean,
            with_rstd,
        };
        self.queue.dispatch(&Dispatch {
            op: OP,
            shader: &SHADER,
            constants: [code(args.x.dtype()), code(out_view.dtype()), lanes(width), 0],
            operands: &[x, weight, bias, out, mean, rstd],
            params: bytemuck::bytes_of(&params),
            groups: lattice.count().into(),
        })
    }
}
