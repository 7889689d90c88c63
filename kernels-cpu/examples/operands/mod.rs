//! Operands to be timed with.

use kernels::ops::Fill;
use kernels::{Buffer, DType, Memory, Op, Result};
use kernels_cpu::CpuBackend;

/// `len` ones. Memory that nobody has written yet is a single page of zeros wherever it is read, and that page is in the caches:
/// work on it takes as long as if there were no memory.
pub fn ones(cpu: &CpuBackend, dtype: DType, len: usize) -> Result<Buffer> {
    let mut buffer = cpu.alloc(dtype, len)?;
    Fill { value: 1.0, out: buffer.view_mut([len])? }.run(cpu)?;
    Ok(buffer)
}
