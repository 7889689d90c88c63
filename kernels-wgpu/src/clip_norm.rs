//! Clipping of gradients by their global norm: sums of squares of blocks of each tensor, their join, and a pass that scales.

use crate::WgpuBackend;
use crate::lattice::{Lattice, Slot, floats};
use crate::operand::{Operand, code, count};
use crate::pipeline::{ELEMENT, ELEMENTWISE, GROUP, LATTICE, MATH, OUTPUT, PRECISE, ROWS, Shader, WORDS};
use crate::queue::Dispatch;
use bytemuck::{Pod, Zeroable};
use kernels::ops::ClipNorm;
use kernels::{Checked, DType, Launch, Op, Result, Support, ViewMut};

const OP: &str = ClipNorm::NAME;

static SQUARES: Shader = Shader {
    name: "clip_norm_squares",
    pieces: &[ELEMENT, GROUP, LATTICE, ROWS, include_str!("clip_norm_squares.wgsl")],
    constants: &["X", "LANES"],
};
static JOIN: Shader =
    Shader { name: OP, pieces: &[ELEMENT, ROWS, MATH, PRECISE, include_str!("clip_norm.wgsl")], constants: &["LANES"] };
static SCALE: Shader = Shader {
    name: "clip_norm_scale",
    pieces: &[ELEMENT, OUTPUT, GROUP, LATTICE, WORDS, ELEMENTWISE, include_str!("clip_norm_scale.wgsl")],
    constants: &["OUT"],
};

/// Elements of a block, as in `clip_norm_squares.wgsl`.
const BLOCK: u32 = 4096;

/// As in `clip_norm_squares.wgsl` and `clip_norm_scale.wgsl`.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Params {
    lattice: Lattice,
    to: u32,
}

/// As in `clip_norm.wgsl`.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Join {
    blocks: u32,
    norm: u32,
    max_norm: f32,
}

fn bind<'a>(on: &WgpuBackend, grad: &'a ViewMut<'_>) -> Result<(Operand<'a>, Lattice)> {
    let view = grad.as_view();
    let operand = on.operand(OP, "grads", &view)?;
    let none = Slot::default();
    Ok((operand, Lattice::new(OP, view.shape(), [none, none, none, Slot::new(&operand, view.layout())])?))
}

impl Launch<ClipNorm<'_>> for WgpuBackend {
    fn support(&self, dtype: DType) -> Support {
        floats(dtype)
    }

    fn launch(&self, args: Checked<ClipNorm<'_>>) -> Result<()> {
        self.queue.faults().enter(OP)?;
        let (dtype, norm_view) = (args.dtype(), args.norm.as_view());
        let norm = self.operand(OP, "norm", &norm_view)?;
        let mut blocks = 0usize;
        for grad in args.grads.iter() {
            blocks += count(OP, "elements", grad.numel())?.div_ceil(BLOCK) as usize;
        }
        let blocks = count(OP, "blocks", blocks)?;
        let _alone = self.queue.transfer();
        let bytes = (u64::from(blocks) + 1) * 4; // the factor; [blocks]
        let space = self.queue.staging(OP, bytes)?;
        let space = self.space(OP, &space, bytes)?;
        let mut to = 1;
        for grad in args.grads.iter() {
            let (x, lattice) = bind(self, grad)?;
            let of_grad = lattice.count().div_ceil(BLOCK);
            self.queue.dispatch(&Dispatch {
                op: OP,
                shader: &SQUARES,
                constants: [code(dtype), 256, 0, 0],
                operands: &[x, space],
                params: bytemuck::bytes_of(&Params { lattice, to }),
                groups: of_grad.into(),
            })?;
            to += of_grad;
        }
        self.queue.dispatch(&Dispatch {
            op: OP,
            shader: &JOIN,
            constants: [256, 0, 0, 0],
            operands: &[space, norm],
            params: bytemuck::bytes_of(&Join { blocks, norm: norm.first, max_norm: args.max_norm }),
            groups: 1,
        })?;
        let bound = args.grads.iter().map(|grad| {
            let (out, lattice) = bind(self, grad)?;
            Ok(([out, space], Params { lattice, to: 0 }))
        });
        let bound = bound.collect::<Result<Vec<_>>>()?;
        let scaling = bound.iter().map(|(operands, params)| Dispatch {
            op: OP,
            shader: &SCALE,
            constants: [code(dtype), 0, 0, 0],
            operands,
            params: bytemuck::bytes_of(params),
            groups: params.lattice.groups(dtype),
        });
        // Gradients some of which are scaled are of no use to anyone.
        self.queue.dispatch_all(&scaling.collect::<Vec<_>>())
    }
}
