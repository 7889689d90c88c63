//! The contract's own suite, on the kernels as the CPU runs them.

use kernels::conformance::bounds::Arithmetic;
use kernels::conformance::{Filter, main_with};
use kernels_cuda::CudaBackend;

fn main() {
    let filter = Filter { arithmetic: Arithmetic::Ieee, ..Filter::quarter() };
    main_with(filter, || Ok(Box::new(CudaBackend::emulated())))
}
