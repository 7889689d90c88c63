//! A constant.

use crate::WgpuBackend;
use crate::lattice::{Lattice, Slot};
use crate::operand::code;
use crate::pipeline::{ELEMENT, ELEMENTWISE, GROUP, LATTICE, OUTPUT, Shader, WORDS};
use crate::queue::Dispatch;
use bytemuck::{Pod, Zeroable};
use half::{bf16, f16};
use kernels::ops::Fill;
use kernels::{Checked, DType, Element, Launch, Op, Result, Support};

static SHADER: Shader = Shader {
    name: Fill::NAME,
    pieces: &[ELEMENT, OUTPUT, GROUP, LATTICE, WORDS, ELEMENTWISE, include_str!("fill.wgsl")],
    constants: &["OUT"],
};

/// As in `fill.wgsl`.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Params {
    lattice: Lattice,
    bits: u32,
}

/// The bits of `value` as an element.
fn bits(dtype: DType, value: f64) -> u32 {
    match dtype {
        DType::F32 => f32::from_f64(value).to_bits(),
        DType::Bf16 => bf16::from_f64(value).to_bits().into(),
        DType::F16 => f16::from_f64(value).to_bits().into(),
        DType::I8 => u32::from(i8::from_f64(value) as u8),
        DType::U8 => u8::from_f64(value).into(),
        DType::I32 => i32::from_f64(value) as u32,
        DType::U32 => u32::from_f64(value),
    }
}

impl Launch<Fill<'_>> for WgpuBackend {
    fn support(&self, _: DType) -> Support {
        Support::Native
    }

    fn launch(&self, args: Checked<Fill<'_>>) -> Result<()> {
        const OP: &str = Fill::NAME;
        self.queue.faults().enter(OP)?;
        let out = args.out.as_view();
        let to = self.operand(OP, "out", &out)?;
        let none = Slot::default();
        let lattice = Lattice::new(OP, out.shape(), [none, none, none, Slot::new(&to, out.layout())])?;
        self.queue.dispatch(&Dispatch {
            op: OP,
            shader: &SHADER,
            constants: [code(out.dtype()), 0, 0, 0],
            operands: &[to],
            params: bytemuck::bytes_of(&Params { lattice, bits: bits(out.dtype(), args.value) }),
            groups: lattice.groups(out.dtype()),
        })
    }
}
