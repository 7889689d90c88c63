//! The support table while no kernel is written: every op refuses, by name.

use crate::{CudaBackend, NAME};
use kernels::ops::*;
use kernels::{Checked, DType, Error, Launch, Op, Result, Support};

pub(crate) const REASON: &str = "the CUDA kernels are not written yet";

macro_rules! refuse {
    ($($op:ident),* $(,)?) => {$(
        impl Launch<$op<'_>> for CudaBackend {
            fn support(&self, _dtype: DType) -> Support {
                Support::No(REASON)
            }
            fn launch(&self, args: Checked<$op<'_>>) -> Result<()> {
                Err(Error::Unsupported { op: <$op<'_>>::NAME, dtype: args.dtype(), backend: NAME, reason: REASON })
            }
        }
    )*
    };
}

refuse!(Linear, LinearInt8, Quantize,);
