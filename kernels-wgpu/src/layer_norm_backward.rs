//! Gradient of layer normalization: rows give `dx`; parts of the columns give sums in work space, which are then joined.

use crate::WgpuBackend;
use crate::lattice::{Lattice, Slot, floats, lanes};
use crate::layer_norm::Line;
use crate::operand::{Operand, code, count};
use crate::pipeline::{ELEMENT, GROUP, LATTICE, MATH, OUTPUT, PRECISE, ROW_WORDS, ROWS, Shader, WORDS};
use crate::queue::Dispatch;
use crate::reduce::Lines;
use bytemuck::{Pod, Zeroable};
use kernels::ops::{LayerNormBackward, ReduceOp};
use kernels::{Checked, DType, Launch, Op, Result, Support, View, ViewMut};

static ROWS_SHADER: Shader = Shader {
    name: LayerNormBackward::NAME,
    pieces: &[ELEMENT, OUTPUT, GROUP, LATTICE, WORDS, ROWS, ROW_WORDS, MATH, PRECISE, include_str!("layer_norm_backward.wgsl")],
    constants: &["X", "OUT", "LANES", "CENTERED"],
};
static COLUMNS_SHADER: Shader = Shader {
    name: "norm_columns",
    pieces: &[ELEMENT, GROUP, LATTICE, include_str!("norm_columns.wgsl")],
    constants: &["X", "CENTERED"],
};

/// Columns of a workgroup, as in `norm_columns.wgsl`.
const COLUMNS_OF_GROUP: u32 = 64;
/// Most parts of a column.
const PARTS: u32 = 64;
/// Fewest rows of a part.
const ROWS_OF_PART: u32 = 16;

/// As in `layer_norm_backward.wgsl` and `norm_columns.wgsl`.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Params {
    lattice: Lattice,
    stats: Lattice,
    width: u32,
    weight: Line,
    part: u32,
    parts: u32,
}

/// What the gradients of norms share. Without `mean` and `dbias` it is that of root-mean-square normalization.
pub(crate) struct Backward<'v, 'a> {
    pub op: &'static str,
    pub x: View<'a>,
    pub weight: View<'a>,
    pub mean: Option<View<'a>>,
    pub rstd: View<'a>,
    pub dout: View<'a>,
    pub dx: &'v ViewMut<'a>,
    pub dweight: &'v ViewMut<'a>,
    pub dbias: Option<&'v ViewMut<'a>>,
}

impl WgpuBackend {
    /// Queues the gradients of a norm.
    ///
    /// # Errors
    /// `Limit`, `OutOfMemory`; the first fault so far.
    pub(crate) fn queue_norm_backward(&self, args: &Backward<'_, '_>) -> Result<()> {
        let op = args.op;
        let dx_view = args.dx.as_view();
        let (rows, width) = dx_view.shape().split_at(dx_view.shape().rank() - 1);
        let width = count(op, "elements of a row", width[0])?;
        if width == 0 {
            return Ok(());
        }
        let (x, weight) = (self.operand(op, "x", &args.x)?, self.operand(op, "weight", &args.weight)?);
        let (dout, dx) = (self.operand(op, "dout", &args.dout)?, self.operand(op, "dx", &dx_view)?);
        let rstd = self.operand(op, "rstd", &args.rstd)?;
        let centered = u32::from(args.mean.is_some());
        let (mean, mean_slot) = match &args.mean {
            Some(view) => {
                let mean = self.operand(op, "mean", view)?;
                (mean, Slot::new(&mean, view.layout()))
            }
            None => (rstd, Slot::default()),
        };
        let none = Slot::default();
        let slots =
            [Slot::new(&x, args.x.layout()), Slot::new(&dout, args.dout.layout()), none, Slot::new(&dx, dx_view.layout())];
        let lattice = Lattice::new(op, rows, slots)?;
        let stats = Lattice::new(op, rows, [mean_slot, Slot::new(&rstd, args.rstd.layout()), none, none])?;
        let rows = lattice.count();
        let part = rows.div_ceil(PARTS).max(ROWS_OF_PART);
        let parts = rows.div_ceil(part);
        let params = Params { lattice, stats, width, weight: Line::new(&weight, args.weight.layout()), part, parts };
        self.queue.dispatch(&Dispatch {
            op,
            shader: &ROWS_SHADER,
            constants: [code(args.x.dtype()), code(dx_view.dtype()), lanes(width), centered],
            operands: &[x, weight, mean, rstd, dout, dx],
            params: bytemuck::bytes_of(&params),
            groups: rows.into(),
        })?;
        let _alone = self.queue.transfer();
        let bytes = 2 * u64::from(parts) * u64::from(width) * 4; // [parts, 2, D]
        let space = self.queue.staging(op, bytes)?;
        let space = self.space(op, &space, bytes)?;
        self.queue.dispatch(&Dispatch {
            op,
            shader: &COLUMNS_SHADER,
            constants: [code(args.x.dtype()), centered, 0, 0],
            operands: &[x, mean, rstd, dout, space],
            params: bytemuck::bytes_of(&params),
            groups: u64::from(width.div_ceil(COLUMNS_OF_GROUP)) * u64::from(parts),
        })?;
        self.join_columns(op, space, [width, parts, 0], ("dweight", args.dweight))?;
        args.dbias.map_or(Ok(()), |dbias| self.join_columns(op, space, [width, parts, width], ("dbias", dbias)))
    }

    /// out\[i\] = Σ over parts of space[part, first + i], of rows of 2·D.
    fn join_columns(
        &self,
        op: &'static str,
        space: Operand<'_>,
        [width, parts, first]: [u32; 3],
        (arg, out): (&'static str, &ViewMut<'_>),
    ) -> Result<()> {
        let view = out.as_view();
        let out = self.operand(op, arg, &view)?;
        let slots = [Slot::line(first, 1), Slot::default(), Slot::default(), Slot::new(&out, view.layout())];
        let lattice = Lattice::new(op, view.shape(), slots)?;
        let lines = Lines { x: (space, DType::F32), out: (out, view.dtype()), lattice, n: parts, step: 2 * width };
        self.queue_reduce(op, ReduceOp::Sum, lines, [parts.max(1), parts])
    }
}

impl Launch<LayerNormBackward<'_>> for WgpuBackend {
    fn support(&self, dtype: DType) -> Support {
        floats(dtype)
    }

    fn launch(&self, args: Checked<LayerNormBackward<'_>>) -> Result<()> {
        self.queue.faults().enter(LayerNormBackward::NAME)?;
        self.queue_norm_backward(&Backward {
            op: LayerNormBackward::NAME,
            x: args.x,
            weight: args.weight,
            mean: Some(args.mean),
            rstd: args.rstd,
            dout: args.dout,
            dx: &args.dx,
            dweight: &args.dweight,
            dbias: args.dbias.as_ref(),
        })
    }
}
