//! The contract's cases of attention with sequences longer than the suite draws here: few queries over many keys are split over blocks.

use kernels::conformance::bounds::Arithmetic;
use kernels::conformance::{Filter, main_with};
use kernels_cuda::CudaBackend;

fn main() {
    let filter =
        Filter { name: "attention/".to_owned(), scale: 0.1, max_dim: 1024, arithmetic: Arithmetic::Ieee, ..Filter::default() };
    main_with(filter, || Ok(Box::new(CudaBackend::emulated())))
}
