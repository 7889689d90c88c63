//! A machine without the driver gets a reason and a remedy; a machine with one gets a device.

use kernels::{Backend, Error, Memory};
use kernels_cuda::CudaBackend;

#[test]
fn opens_or_says_why_not() {
    match CudaBackend::new(None) {
        Ok(backend) => {
            assert_eq!(backend.name(), "cuda");
            let buffer = backend.alloc(kernels::DType::F32, 16).expect("a small buffer");
            assert_eq!(backend.memory_stats().live_bytes, 64);
            drop(buffer);
            assert_eq!(backend.memory_stats().live_bytes, 0);
        }
        Err(Error::Unavailable { backend: "cuda", reason, remedy }) => {
            assert!(!reason.is_empty() && remedy.contains("--backend cpu"));
        }
        Err(other) => panic!("wanted Unavailable, got {other}"),
    }
}

#[test]
fn a_device_beyond_the_last_is_refused() {
    assert!(matches!(CudaBackend::new(Some("999")), Err(Error::Unavailable { .. })));
}
