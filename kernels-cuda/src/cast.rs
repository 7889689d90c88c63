//! Conversion between dtypes.

use crate::CudaBackend;
use crate::params::Lattice;
use crate::source::{Source, by_float, source};
use kernels::ops::Cast;
use kernels::{Checked, DType, Launch, Op, Result, Support};

pub(crate) static SOURCE: Source = source!("cast");

impl Launch<Cast<'_>> for CudaBackend {
    fn support(&self, _: DType) -> Support {
        Support::Native
    }

    fn launch(&self, args: Checked<Cast<'_>>) -> Result<()> {
        const OP: &str = Cast::NAME;
        self.queue.faults().enter(OP)?;
        let out = args.out.as_view();
        let lattice = Lattice::new(OP, out.shape(), &[self.part(OP, "x", &args.x)?, self.part(OP, "out", &out)?])?;
        let kernel = match args.x.dtype() {
            DType::F32 => by_float!("cast_f32", out.dtype()),
            DType::Bf16 => by_float!("cast_bf16", out.dtype()),
            DType::F16 => by_float!("cast_f16", out.dtype()),
            DType::I8 => "cast_i8",
            DType::U8 => "cast_u8",
            DType::I32 => "cast_i32",
            DType::U32 => "cast_u32",
        };
        self.elementwise(OP, (&SOURCE, kernel), &lattice, &lattice)
    }
}
