//! The contract's own suite: on the kernels as the CPU runs them, where they are compiled for it and `SIZEWISE_CUDA` is not
//! `device`; else on the first GPU.

use kernels::conformance::{Filter, main_with};
use kernels::{Backend, Result};
use kernels_cuda::CudaBackend;

fn open() -> Result<Box<dyn Backend>> {
    #[cfg(feature = "emulation")]
    if std::env::var_os("SIZEWISE_CUDA").is_none_or(|value| value != "device") {
        return Ok(Box::new(CudaBackend::emulated()));
    }
    Ok(Box::new(CudaBackend::new(None)?))
}

fn main() {
    main_with(Filter { arithmetic: Default::default(), ..Filter::quarter() }, open)
}
