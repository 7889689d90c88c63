//! Steady state: once an op has run, running it again makes nothing on the device.

use kernels::conformance::steady;
use kernels_wgpu::WgpuBackend;

#[test]
fn a_second_step_allocates_nothing() {
    let gpu = WgpuBackend::new(None).unwrap_or_else(|error| panic!("{error}"));
    steady(&gpu).unwrap_or_else(|why| panic!("{why}"));
}
