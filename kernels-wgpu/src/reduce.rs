//! Sums and maxima along one dimension. Long lines are cut into parts, which are reduced into work space and then joined; how is a
//! matter of a line's length alone.

use crate::WgpuBackend;
use crate::lattice::{Lattice, Slot, floats};
use crate::operand::{Operand, code, count, strides};
use crate::pipeline::{ELEMENT, GROUP, LATTICE, MATH, OUTPUT, PRECISE, Shader};
use crate::queue::Dispatch;
use bytemuck::{Pod, Zeroable};
use kernels::ops::{Reduce, ReduceOp};
use kernels::{Checked, DType, Launch, Layout, Op, Result, Support};

static SHADER: Shader = Shader {
    name: Reduce::NAME,
    pieces: &[ELEMENT, OUTPUT, GROUP, LATTICE, MATH, PRECISE, include_str!("reduce.wgsl")],
    constants: &["X", "OUT", "FUNCTION"],
};

/// Outputs of a workgroup, as in `reduce.wgsl`.
const OUTPUTS_OF_GROUP: u32 = 16;
/// Fewest terms of a part, and most parts of a line.
const PART: u32 = 4096;

/// As in `reduce.wgsl`.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Params {
    lattice: Lattice,
    n: u32,
    step: u32,
    part: u32,
    parts: u32,
    divisor: u32,
}

/// Lines of `n` terms, `step` elements apart. The lattice is that of the outputs: the first term of each line in x, `out` in w.
#[derive(Clone, Copy)]
pub(crate) struct Lines<'a> {
    pub x: (Operand<'a>, DType),
    pub out: (Operand<'a>, DType),
    pub lattice: Lattice,
    pub n: u32,
    pub step: u32,
}

impl WgpuBackend {
    /// Queues the reduction of lines, each a part of `part` terms at most of a line of `divisor`; the outputs of the parts follow each
    /// other.
    ///
    /// # Errors
    /// `Limit`; the first fault so far.
    pub(crate) fn queue_reduce(
        &self,
        op: &'static str,
        function: ReduceOp,
        lines: Lines<'_>,
        [part, divisor]: [u32; 2],
    ) -> Result<()> {
        let function = match function {
            ReduceOp::Sum => 0,
            ReduceOp::Mean => 1,
            ReduceOp::Max => 2,
        };
        let Lines { x, out, lattice, n, step } = lines;
        let parts = n.div_ceil(part).max(1);
        self.queue.dispatch(&Dispatch {
            op,
            shader: &SHADER,
            constants: [code(x.1), code(out.1), function, 0],
            operands: &[x.0, out.0],
            params: bytemuck::bytes_of(&Params { lattice, n, step, part, parts, divisor }),
            groups: u64::from(lattice.count().div_ceil(OUTPUTS_OF_GROUP)) * u64::from(parts),
        })
    }
}

impl Launch<Reduce<'_>> for WgpuBackend {
    fn support(&self, dtype: DType) -> Support {
        floats(dtype)
    }

    fn launch(&self, args: Checked<Reduce<'_>>) -> Result<()> {
        const OP: &str = Reduce::NAME;
        self.queue.faults().enter(OP)?;
        let (function, out_view) = (args.op, args.out.as_view());
        if out_view.numel() == 0 {
            return Ok(());
        }
        let (x, out) = (self.operand(OP, "x", &args.x)?, self.operand(OP, "out", &out_view)?);
        let n = count(OP, "terms", args.x.shape()[args.axis])?;
        let step = strides(args.x.layout())[args.axis];
        let shape = out_view.shape();
        let lattice = |x: Slot, out: Slot| Lattice::new(OP, shape, [x, Slot::default(), Slot::default(), out]);
        let (x_slot, out_slot) = (Slot::new(&x, args.x.layout()), Slot::new(&out, out_view.layout()));
        let (x, out) = ((x, args.x.dtype()), (out, out_view.dtype()));
        let part = PART.max(n.div_ceil(PART));
        if n <= part {
            let lines = Lines { x, out, lattice: lattice(x_slot, out_slot)?, n, step };
            return self.queue_reduce(OP, function, lines, [part, n]);
        }
        let (outputs, parts) = (count(OP, "elements", out_view.numel())?, n.div_ceil(part));
        let _alone = self.queue.transfer();
        let bytes = u64::from(outputs) * u64::from(parts) * 4; // [parts, outputs]
        let space = self.queue.staging(OP, bytes)?;
        let (space, flat) = ((self.space(OP, &space, bytes)?, DType::F32), Layout::contiguous(*shape)?);
        let space_slot = Slot::new(&space.0, &flat);
        let of_parts = if function == ReduceOp::Mean { ReduceOp::Sum } else { function };
        let lines = Lines { x, out: space, lattice: lattice(x_slot, space_slot)?, n, step };
        self.queue_reduce(OP, of_parts, lines, [part, n])?;
        let lines = Lines { x: space, out, lattice: lattice(space_slot, out_slot)?, n: parts, step: outputs };
        self.queue_reduce(OP, function, lines, [parts, n])
    }
}
