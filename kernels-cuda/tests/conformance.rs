//! The contract's own suite: on the kernels as the CPU runs them, where they are compiled for it and `SIZEWISE_CUDA` is not
//! `device`; else on the first GPU.

use kernels::conformance::bounds::Arithmetic;
use kernels::conformance::{Filter, main_with};
use kernels::{Backend, Result};
use kernels_cuda::CudaBackend;

/// Whether the CPU runs them.
fn emulates() -> bool {
    cfg!(feature = "emulation") && std::env::var_os("SIZEWISE_CUDA").is_none_or(|value| value != "device")
}

fn open() -> Result<Box<dyn Backend>> {
    #[cfg(feature = "emulation")]
    if emulates() {
        return Ok(Box::new(CudaBackend::emulated()));
    }
    Ok(Box::new(CudaBackend::new(None)?))
}

fn main() {
    let arithmetic = if emulates() { Arithmetic::Ieee } else { Arithmetic::TensorCores };
    main_with(Filter { arithmetic, ..Filter::quarter() }, open)
}
