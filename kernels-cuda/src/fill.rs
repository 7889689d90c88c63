//! A constant.

use crate::CudaBackend;
use crate::params::{FillParams, Lattice};
use crate::source::{Source, source};
use half::{bf16, f16};
use kernels::ops::Fill;
use kernels::{Checked, DType, Element, Launch, Op, Result, Support};

pub(crate) static SOURCE: Source = source!("fill");

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

impl Launch<Fill<'_>> for CudaBackend {
    fn support(&self, _: DType) -> Support {
        Support::Native
    }

    fn launch(&self, args: Checked<Fill<'_>>) -> Result<()> {
        const OP: &str = Fill::NAME;
        self.queue.faults().enter(OP)?;
        let out = args.out.as_view();
        let lattice = Lattice::new(OP, out.shape(), &[self.part(OP, "out", &out)?])?;
        let kernel = match out.dtype().size_bytes() {
            1 => "fill_1",
            2 => "fill_2",
            _ => "fill_4",
        };
        let params = FillParams { lattice, bits: bits(out.dtype(), args.value), unused: 0 };
        self.elementwise(OP, (&SOURCE, kernel), &lattice, &params)
    }
}
