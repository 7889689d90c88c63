//! Decision trees: a workgroup walks a row down many trees at once and adds what their leaves say in the order of the trees.

use crate::WgpuBackend;
use crate::operand::{count, strides};
use crate::pipeline::{GROUP, INDEX, Shader};
use crate::queue::Dispatch;
use bytemuck::{Pod, Zeroable};
use kernels::ops::Forest;
use kernels::{Checked, DType, Launch, Op, Result, Support};

static SHADER: Shader = Shader { name: Forest::NAME, pieces: &[GROUP, INDEX, include_str!("forest.wgsl")], constants: &[] };

/// First element, and stride of rows.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Place {
    first: u32,
    row: u32,
}

/// As in `forest.wgsl`.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Params {
    x: Place,
    roots: Place,
    nodes: Place,
    leaves: Place,
    out: Place,
    rows: u32,
    features: u32,
    trees: u32,
    node_count: u32,
    leaf_count: u32,
    classes: u32,
    scale: f32,
    unused: u32,
}

impl Launch<Forest<'_>> for WgpuBackend {
    fn support(&self, dtype: DType) -> Support {
        match dtype {
            DType::F32 => Support::Native,
            _ => Support::No("forests are of f32"),
        }
    }

    fn launch(&self, args: Checked<Forest<'_>>) -> Result<()> {
        const OP: &str = Forest::NAME;
        self.queue.faults().enter(OP)?;
        let out_view = args.out.as_view();
        if out_view.numel() == 0 {
            return Ok(());
        }
        let views =
            [("x", &args.x), ("roots", &args.roots), ("nodes", &args.nodes), ("leaves", &args.leaves), ("out", &out_view)];
        let mut operands = [self.queue.report(); 6];
        let mut places = [Place { first: 0, row: 0 }; 5];
        for (at, (arg, view)) in views.into_iter().enumerate() {
            operands[at] = self.operand(OP, arg, view)?;
            places[at] = Place { first: operands[at].first, row: strides(view.layout())[0] };
        }
        let [x, roots, nodes, leaves, out] = places;
        let rows = count(OP, "M", args.x.shape()[0])?;
        let params = Params {
            x,
            roots,
            nodes,
            leaves,
            out,
            rows,
            features: count(OP, "F", args.x.shape()[1])?,
            trees: count(OP, "T", args.roots.numel())?,
            node_count: count(OP, "N", args.nodes.shape()[0])?,
            leaf_count: count(OP, "L", args.leaves.shape()[0])?,
            classes: count(OP, "C", args.leaves.shape()[1])?,
            scale: args.scale,
            unused: 0,
        };
        self.queue.dispatch(&Dispatch {
            op: OP,
            shader: &SHADER,
            constants: [0; 4],
            operands: &operands,
            params: bytemuck::bytes_of(&params),
            groups: rows.into(),
        })
    }
}
