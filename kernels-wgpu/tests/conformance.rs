//! The contract's own suite, on the adapter `WGPU_ADAPTER_NAME` names or else the best there is. Without one every test fails.

use kernels::conformance::{Filter, main_with};
use kernels_wgpu::WgpuBackend;

fn main() {
    main_with(Filter::quarter(), || Ok(Box::new(WgpuBackend::new(None)?)))
}
