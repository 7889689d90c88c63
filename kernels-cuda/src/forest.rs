//! Decision trees.

use crate::CudaBackend;
use crate::lattice::count;
use crate::params::ForestParams;
use crate::queue::Dispatch;
use crate::source::{Source, source};
use kernels::ops::Forest;
use kernels::{Checked, DType, Launch, Layout, Op, Result, Support};

pub(crate) static SOURCE: Source = source!("forest");

impl Launch<Forest<'_>> for CudaBackend {
    fn support(&self, dtype: DType) -> Support {
        match dtype {
            DType::F32 => Support::Native,
            _ => Support::No("forests are of f32"),
        }
    }

    fn launch(&self, args: Checked<Forest<'_>>) -> Result<()> {
        const OP: &str = Forest::NAME;
        self.queue.faults().enter(OP)?;
        let out = args.out.as_view();
        if out.numel() == 0 {
            return Ok(());
        }
        let first_stride = |layout: &Layout| layout.strides()[0] as u64;
        let params = ForestParams {
            x: self.operand(OP, "x", &args.x)?,
            roots: self.operand(OP, "roots", &args.roots)?,
            nodes: self.operand(OP, "nodes", &args.nodes)?,
            leaves: self.operand(OP, "leaves", &args.leaves)?,
            out: self.operand(OP, "out", &out)?,
            report: self.queue.report_address(),
            x_row: first_stride(args.x.layout()),
            roots_step: first_stride(args.roots.layout()),
            nodes_row: first_stride(args.nodes.layout()),
            leaves_row: first_stride(args.leaves.layout()),
            out_row: first_stride(out.layout()),
            features: count(OP, "F", args.x.shape()[1])?,
            trees: count(OP, "T", args.roots.numel())?,
            node_count: count(OP, "N", args.nodes.shape()[0])?,
            leaf_count: count(OP, "L", args.leaves.shape()[0])?,
            classes: count(OP, "C", out.shape()[1])?,
            scale: args.scale,
        };
        self.queue.dispatch(&Dispatch {
            op: OP,
            source: &SOURCE,
            kernel: "forest_f32",
            threads: 128,
            blocks: count(OP, "M", out.shape()[0])?.into(),
            params: bytemuck::bytes_of(&params),
        })
    }
}
