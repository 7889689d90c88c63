//! sizewise backend for NVIDIA GPUs: kernels of our own in CUDA C++, compiled at run time.
//!
//! The crate builds on machines without a CUDA toolkit: driver and NVRTC are loaded when a device is opened, and a machine that has
//! none gets [`Error::Unavailable`](kernels::Error::Unavailable) with the reason and the remedy. Each op is a launcher (`softmax.rs`)
//! beside its kernels (`softmax.cu`); what kernels share is in `cu/`.
//!
//! # Launches
//! Calls are queued on one stream. Launches are recorded and given to the device in pieces of up to 64, when something waits, copies or
//! frees, or a piece is full; a piece that comes again, as in every step of decoding and training, is a CUDA graph that is started as a
//! whole, with the parameters that have changed. `SIZEWISE_CUDA_GRAPHS=off` turns that off: launches are then the driver's own, one by
//! one, and a launch that fails is told by its own op. [`CudaBackend::launch_counts`] tells what was launched, and how.
//!
//! # Without a GPU
//! Under the feature `emulation` the same kernels are compiled for the CPU (`emulation/`) and run behind the same launchers, by
//! `CudaBackend::emulated`. The conformance suite runs there on every check; a fault of a kernel (memory outside its allocation, a
//! barrier that not all threads reach) comes out as an error. The driver's side (`driver/gpu.rs`) runs there too, in `tests/driver.rs`, on
//! a library that stands in for NVIDIA's (`emulation/stand_in.cpp`), as late as a device and stricter than one.

mod cache;
pub mod compile;
mod device;
mod driver;
mod fault;
mod lattice;
mod memory;
mod norm;
mod params;
mod product;
mod queue;
mod report;
mod source;
mod weight;

mod adamw;
mod attention;
mod attention_backward;
mod axpy;
mod binary;
mod cast;
mod clip_norm;
mod copy;
mod cross_entropy;
mod cross_entropy_backward;
mod download;
mod fill;
mod forest;
mod gather;
mod hopper;
mod layer_norm;
mod layer_norm_backward;
mod linear;
mod linear_coded;
mod linear_int8;
mod linear_sparse;
mod linear_two_of_four;
mod matmul;
mod quantize;
mod random;
mod reduce;
mod rms_norm;
mod rms_norm_backward;
mod rope;
mod scatter_add;
mod sgd;
mod softmax;
mod softmax_backward;
mod turn_bytes;
mod unary;
mod unary_backward;
mod upload;

pub use device::{CudaBackend, support_table};
pub use driver::recorded::LaunchCounts;
pub use product::Products;

const NAME: &str = "cuda";
