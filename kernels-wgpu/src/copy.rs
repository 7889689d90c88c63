//! Strided copy.

use crate::WgpuBackend;
use crate::operand::{Operand, Walk, code, count, walk};
use crate::pipeline::{ELEMENT, GROUP, LAYOUT, OUTPUT, Shader};
use crate::queue::Dispatch;
use bytemuck::{Pod, Zeroable};
use kernels::ops::Copy;
use kernels::{Checked, DType, Launch, Layout, Op, Result, Support};

static SHADER: Shader =
    Shader { name: Copy::NAME, pieces: &[ELEMENT, OUTPUT, GROUP, LAYOUT, include_str!("copy.wgsl")], constants: &["DTYPE"] };

/// Invocations in a workgroup of the elementwise ops.
pub(crate) const GROUP_SIZE: u64 = 64;

/// As in `copy.wgsl` and `cast.wgsl`.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub(crate) struct Params {
    x: Walk,
    out: Walk,
    x_first: u32,
    out_first: u32,
    count: u32,
    unused: u32,
}

impl Params {
    /// The parameters of an elementwise op from one bound layout to another of the same shape.
    ///
    /// # Errors
    /// `Limit`.
    pub fn new(op: &'static str, x: (&Operand<'_>, &Layout), out: (&Operand<'_>, &Layout)) -> Result<Self> {
        Ok(Params {
            x: walk(op, x.1)?,
            out: walk(op, out.1)?,
            x_first: x.0.first,
            out_first: out.0.first,
            count: count(op, "elements", out.1.numel())?,
            unused: 0,
        })
    }

    /// Workgroups of one invocation per element.
    pub fn groups(&self) -> u64 {
        u64::from(self.count).div_ceil(GROUP_SIZE)
    }
}

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
        let params = Params::new(op, (&x, x_layout), (&out, out_layout))?;
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
            params: bytemuck::bytes_of(&params),
            groups: params.groups(),
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
