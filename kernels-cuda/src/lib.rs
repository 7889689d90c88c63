//! sizewise backend for NVIDIA GPUs.
//!
//! The crate builds on machines without a CUDA toolkit: the driver is loaded when a device is opened, and a machine that has none
//! gets [`Error::Unavailable`] with the reason and the remedy. Memory is complete; the kernels are not written yet, and the
//! support table says so for every op.

mod device;
mod memory;
mod ops;

pub use device::CudaBackend;
pub use ops::support_table;
