//! Gradient of gather: which row goes first to each target is found beforehand, and that one adds up all that go there.

use crate::WgpuBackend;
use crate::lattice::{Lattice, Slot, floats};
use crate::operand::{code, count, strides};
use crate::pipeline::{ELEMENT, GROUP, INDEX, LATTICE, OUTPUT, Shader};
use crate::queue::Dispatch;
use bytemuck::{Pod, Zeroable};
use kernels::ops::ScatterAdd;
use kernels::{Checked, DType, Launch, Op, Result, Support};

static SHADER: Shader = Shader {
    name: ScatterAdd::NAME,
    pieces: &[ELEMENT, OUTPUT, GROUP, LATTICE, INDEX, include_str!("scatter_add.wgsl")],
    constants: &["X", "OUT"],
};

static FIRST: Shader =
    Shader { name: "scatter_add_first", pieces: &[GROUP, LATTICE, include_str!("scatter_add_first.wgsl")], constants: &["FIND"] };

/// Columns of a workgroup, as in `scatter_add.wgsl`.
const COLUMNS_OF_GROUP: u32 = 256;

/// As in `scatter_add.wgsl`.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Params {
    lattice: Lattice,
    width: u32,
    limit: u32,
    out_first: u32,
    out_row: u32,
}

impl Launch<ScatterAdd<'_>> for WgpuBackend {
    fn support(&self, dtype: DType) -> Support {
        floats(dtype)
    }

    fn launch(&self, args: Checked<ScatterAdd<'_>>) -> Result<()> {
        const OP: &str = ScatterAdd::NAME;
        self.queue.faults().enter(OP)?;
        let out_view = args.out.as_view();
        if args.x.numel() == 0 {
            return Ok(());
        }
        let (index, x) = (self.operand(OP, "index", &args.index)?, self.operand(OP, "x", &args.x)?);
        let out = self.operand(OP, "out", &out_view)?;
        let slots = [Slot::new(&index, args.index.layout()), Slot::new(&x, args.x.layout()), Slot::default(), Slot::default()];
        let lattice = Lattice::new(OP, &args.x.shape()[..1], slots)?;
        let width = count(OP, "D", args.x.shape()[1])?;
        let params = Params {
            lattice,
            width,
            limit: count(OP, "V", out_view.shape()[0])?,
            out_first: out.first,
            out_row: strides(out_view.layout())[0],
        };
        let params_bytes = bytemuck::bytes_of(&params);
        let _alone = self.queue.transfer();
        let bytes = 4 * u64::from(params.limit);
        let space = self.queue.staging(OP, bytes)?;
        let from = self.space(OP, &space, bytes)?;
        for (find, count) in [(0, params.limit), (1, lattice.count())] {
            self.queue.dispatch(&Dispatch {
                op: OP,
                shader: &FIRST,
                constants: [find, 0, 0, 0],
                operands: &[index, from],
                params: params_bytes,
                groups: count.div_ceil(64).into(),
            })?;
        }
        self.queue.dispatch(&Dispatch {
            op: OP,
            shader: &SHADER,
            constants: [code(args.x.dtype()), code(out_view.dtype()), 0, 0],
            operands: &[index, x, from, out, self.queue.report()],
            params: params_bytes,
            groups: u64::from(lattice.count()) * u64::from(width.div_ceil(COLUMNS_OF_GROUP)),
        })
    }
}
