//! Weights as the kernels of linear layers read them.

use crate::{CudaBackend, NAME};
use kernels::{DType, Error, Packed, Result, Weight};

pub(crate) fn pack(_on: &CudaBackend, _weight: &Weight) -> Result<Packed> {
    Err(Error::Unsupported { op: "pack", dtype: DType::F32, backend: NAME, reason: crate::ops::REASON })
}
