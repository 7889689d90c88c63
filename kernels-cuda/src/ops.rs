//! The support table while no kernel is written: every op refuses, by name.

use crate::device::{CudaBackend, NAME};
use kernels::ops::*;
use kernels::{Checked, DType, Error, Launch, Op, Result, Support, SupportRow};

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

    /// What [`kernels::support_table`] says of every device, without one.
    pub fn support_table() -> Vec<SupportRow> {
        let refuse = |op| DType::ALL.map(|dtype| SupportRow { op, dtype, support: Support::No(REASON) });
        [$(<$op<'_>>::NAME),*].into_iter().flat_map(refuse).collect()
    }
    };
}

refuse!(
    Upload,
    Download,
    Copy,
    Fill,
    Cast,
    Matmul,
    Linear,
    LinearInt8,
    Quantize,
    Attention,
    AttentionBackward,
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
    Forest,
    CrossEntropy,
    CrossEntropyBackward,
    Random,
    Sgd,
    AdamW,
    ClipNorm,
);
