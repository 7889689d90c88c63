//! Counter-based random numbers: Philox-4×32-10.

use crate::WgpuBackend;
use crate::lattice::{Lattice, Slot, floats};
use crate::operand::code;
use crate::pipeline::{ELEMENT, GROUP, LATTICE, MATH, OUTPUT, PRECISE, Shader, TURN, WIDE};
use crate::queue::Dispatch;
use bytemuck::{Pod, Zeroable};
use kernels::ops::{Distribution, Random};
use kernels::{Checked, DType, Launch, Op, Result, Support};

static SHADER: Shader = Shader {
    name: Random::NAME,
    pieces: &[ELEMENT, OUTPUT, GROUP, LATTICE, MATH, PRECISE, WIDE, TURN, include_str!("random.wgsl")],
    constants: &["OUT", "NORMAL"],
};

/// Elements of a workgroup, as in `random.wgsl`.
const ELEMENTS_OF_GROUP: u32 = 256;

/// As in `random.wgsl`.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Params {
    lattice: Lattice,
    seed: [u32; 2],
    stream: [u32; 2],
    term: f32,
    factor: f32,
    nothing: u32,
}

/// Low and high word.
fn words(n: u64) -> [u32; 2] {
    [n as u32, (n >> 32) as u32]
}

impl Launch<Random<'_>> for WgpuBackend {
    fn support(&self, dtype: DType) -> Support {
        floats(dtype)
    }

    fn launch(&self, args: Checked<Random<'_>>) -> Result<()> {
        const OP: &str = Random::NAME;
        self.queue.faults().enter(OP)?;
        let out_view = args.out.as_view();
        let out = self.operand(OP, "out", &out_view)?;
        let none = Slot::default();
        let lattice = Lattice::new(OP, out_view.shape(), [none, none, none, Slot::new(&out, out_view.layout())])?;
        let (normal, term, factor) = match args.distribution {
            Distribution::Uniform { low, high } => (0, low, high - low),
            Distribution::Normal { mean, std } => (1, mean, std),
        };
        let params = Params { lattice, seed: words(args.seed), stream: words(args.stream), term, factor, nothing: 0 };
        self.queue.dispatch(&Dispatch {
            op: OP,
            shader: &SHADER,
            constants: [code(out_view.dtype()), normal, 0, 0],
            operands: &[out],
            params: bytemuck::bytes_of(&params),
            groups: lattice.count().div_ceil(ELEMENTS_OF_GROUP).into(),
        })
    }
}
