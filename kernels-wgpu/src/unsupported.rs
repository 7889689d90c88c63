//! The ops this backend has no kernel for yet: each refuses, by name.

use crate::{NAME, WgpuBackend};
use kernels::ops::*;
use kernels::{Checked, DType, Error, Launch, Op, Result, Support};

const REASON: &str = "the WGSL kernel is not written yet";

macro_rules! refuse {
    ($($op:ident),* $(,)?) => {$(
        impl Launch<$op<'_>> for WgpuBackend {
            fn support(&self, _: DType) -> Support {
                Support::No(REASON)
            }
            fn launch(&self, args: Checked<$op<'_>>) -> Result<()> {
                Err(Error::Unsupported { op: <$op<'_>>::NAME, dtype: args.dtype(), backend: NAME, reason: REASON })
            }
        }
    )*};
}

refuse!(
    Rope,
    LayerNorm,
    LayerNormBackward,
    RmsNorm,
    RmsNormBackward,
    Softmax,
    SoftmaxBackward,
    Unary,
    UnaryBackward,
    Binary,
    Axpy,
    Reduce,
    Gather,
    ScatterAdd,
    CrossEntropy,
    CrossEntropyBackward,
    Random,
    Sgd,
    AdamW,
    ClipNorm,
);
