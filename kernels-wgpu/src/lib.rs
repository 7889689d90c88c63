//! sizewise backend for any GPU with Vulkan, Metal or DX12, through wgpu; on machines without one, for software drivers.
//!
//! ```no_run
//! use kernels::{DType, Memory, Op, ops::Fill};
//! let gpu = kernels_wgpu::WgpuBackend::new(None)?;
//! let mut x = gpu.alloc(DType::F32, 8)?;
//! Fill { value: 1.0, out: x.view_mut([2, 4])? }.run(&gpu)?;
//! # Ok::<(), kernels::Error>(())
//! ```
//!
//! An op returns once it is queued; only [`Download`](kernels::ops::Download) and [`sync`](kernels::Memory::sync) wait, and count
//! it in [`MemoryStats::waits`](kernels::MemoryStats). What the device reports later is a [`Fault`](kernels::Error::Fault) out of
//! every call from then on; an index out of range, which only kernels see, is an [`Index`](kernels::Error::Index) out of the next call
//! that waits, and no other.
//!
//! Memory is words of 32 bits; bf16, f16 and 8-bit elements are unpacked and rounded by hand, so that nothing depends on optional
//! features of an adapter. A kernel sees an operand through one binding of at most the adapter's limit (128 MiB on some) and
//! indexes it by 32 bits: what is larger is refused with [`Limit`](kernels::Error::Limit).
//!
//! What is done by capability:
//!
//! | capability | use |
//! |---|---|
//! | none | every op; f16 and bf16 move half the bytes of f32 whatever the adapter can, and are computed in f32, as the contract asks |
//! | `dot4I8Packed` | `linear_int8`, four bytes at a time |
//! | subgroups of eight on a processor | products and attention of large problems |
//! | workgroups of 256 and 26 KiB | larger tiles |
//! | pipeline cache | compiled pipelines are kept on disk |
//!
//! Not used: f16 arithmetic (`SHADER_F16`), which would only shorten conversions; subgroups of other sizes. Cooperative matrices
//! neither: wgpu 30.0.1 offers them (`EXPERIMENTAL_COOPERATIVE_MATRIX`: f16 and f32, 8 × 8 and 16 × 16), but no device within reach
//! has run them. The driver of the tests, lavapipe of Mesa 22.3.6, lacks `VK_KHR_cooperative_matrix`, and a kernel that has never run
//! is not shipped. They add in an order of their own, so that a row of a batch would not have the bits it has alone: a path to be
//! asked for, not to be chosen.
//!
//! Where the same ops on the same buffers come again, nothing is made on the device ([`WgpuBackend::made`] counts): pipelines and
//! bind groups are kept, a buffer is bound whole, so that views of it share bind groups, buffers that are dropped are given out again,
//! zeroed (up to 64 MiB of them), and uploads go through memory that comes back (up to 8 MiB of it; what takes more at a time is let
//! go of, and made anew). Where the device has no memory left, all that is kept is let go of, with a wait, and asked for once more
//! before the call gives [`OutOfMemory`](kernels::Error::OutOfMemory), after which the next may succeed. So it is for all memory that
//! is asked for here, uploads' too. Where wgpu finds none for its own, within a submission, it gives the device up: a fault, and it
//! stays.
//!
//! Which tile a product is computed in depends on its size, by a seeded table for the class of device, or by measurement:
//! [`WgpuBackend::tune`] (`cargo xtask doctor --tune`) times the tiles on the device and keeps the choices on disk. No choice changes a
//! bit of a result: every tile adds the terms of an output in the same chain. That is by design, and in the forms that are
//! timed the device is asked first: a tile whose products are wrong by their definition, or have other bits than those of most tiles, is
//! told of and used no more, the seeded choice or not; an op with products for which no tile is left is refused.
//!
//! `WGPU_ADAPTER_NAME` chooses an adapter by a part of its name, `WGPU_BACKEND` one of `vulkan`, `metal` and `dx12`.
//! `SIZEWISE_WGPU` forces paths, for tests, by words separated by commas:
//!
//! | word | path |
//! |---|---|
//! | `small` | workgroups of devices with the least limits |
//! | `tile-32`, `tile-64`, `tile-128` | every product in tiles of that size |
//! | `broadcast` | every product and attention by subgroups of eight, where subgroups are of that size |
//! | `no-subgroups` | nothing by subgroups |
//! | `no-dot4` | bytes multiplied one at a time |
//! | `break-OP` | none: the op of this name does nothing, so that the self-test finds it |
//!
//! [`WgpuBackend::self_test`] asks every op for a known answer and quarantines those that fail;
//! [`WgpuBackend::tested`] does so once for a device, driver, version and choice of tiles and keeps the verdict, so that opening costs
//! nothing after the first time. Verdicts, measured tiles and compiled pipelines are kept in `sizewise` in the user's folder of caches (`XDG_CACHE_HOME`,
//! `LOCALAPPDATA` or `~/.cache`); `SIZEWISE_CACHE` names another folder, or is `off`.

mod adamw;
mod adapter;
mod attention;
mod attention_backward;
mod axpy;
mod belt;
mod binary;
mod bindings;
mod cache;
mod cast;
mod clip_norm;
mod copy;
mod cross_entropy;
mod cross_entropy_backward;
mod download;
mod fault;
mod fill;
mod forest;
mod gather;
mod lattice;
mod layer_norm;
mod layer_norm_backward;
mod linear;
mod linear_int8;
mod matmul;
mod measured;
mod memory;
mod operand;
mod pipeline;
mod pipeline_cache;
mod pool;
mod product;
mod quantize;
mod queue;
mod random;
mod reduce;
mod report;
mod rms_norm;
mod rms_norm_backward;
mod rope;
mod scarcity;
mod scatter_add;
mod self_test;
mod sgd;
mod softmax;
mod softmax_backward;
mod specimen;
mod trials;
mod tune;
mod tuning;
mod unary;
mod unary_backward;
mod upload;
mod weight;

use cache::Cache;
use kernels::{Backend, DeviceId, DeviceInfo};
use memory::Counters;
pub use memory::Made;
use queue::Queue;
use rope::Frequencies;
pub use self_test::Wrong;
pub use tune::{Choice, LeftOut, Tuned};
use tuning::Tuning;

pub(crate) const NAME: &str = "wgpu";

/// One adapter, with one queue.
pub struct WgpuBackend {
    id: DeviceId,
    info: DeviceInfo,
    pub(crate) queue: Queue,
    pub(crate) counters: Counters,
    pub(crate) frequencies: Frequencies,
    pub(crate) tuning: Tuning,
    pub(crate) cache: Cache,
}

impl WgpuBackend {
    /// The device behind this backend, to share it with other users of wgpu. Destroying it makes every later call here a
    /// [`Fault`](kernels::Error::Fault).
    pub fn device(&self) -> &wgpu::Device {
        self.queue.device()
    }
}

impl Backend for WgpuBackend {
    fn id(&self) -> DeviceId {
        self.id
    }
    fn name(&self) -> &'static str {
        NAME
    }
    fn info(&self) -> &DeviceInfo {
        &self.info
    }
}
