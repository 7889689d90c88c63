//! Weights as the kernels read them.

use crate::CpuBackend;
use kernels::{Packed, Result, Weight};

pub(crate) fn pack(cpu: &CpuBackend, weight: &Weight) -> Result<Packed> {
    let storage = cpu.heap.alloc(0)?;
    Ok(Packed::new(cpu.id, weight, 0, storage))
}
