//! The one trait a device implements: memory, and one [`Launch`] per op.

use crate::op::{Launch, Support};
use crate::ops::*;
use crate::{Buffer, DType, DeviceId, Packed, Result, Weight};
use std::any::Any;

/// What a backend tells about its device.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DeviceInfo {
    /// Name of the device, as its driver or the operating system gives it.
    pub name: String,
    /// Driver and its version; empty for CPUs.
    pub driver: String,
    /// Instruction sets or device features the kernels in use were chosen by, e.g. `avx512`.
    pub features: String,
    /// Threads (CPU) or compute units (GPU, 0 if unknown).
    pub threads: usize,
    /// Memory in bytes; 0 if unknown.
    pub memory_bytes: u64,
    /// A GPU interface emulated on the CPU. Its speed says nothing about any GPU.
    pub software: bool,
}

/// Counters of one backend.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoryStats {
    /// Bytes in live buffers and packed weights.
    pub live_bytes: u64,
    /// Largest `live_bytes` so far.
    pub peak_bytes: u64,
    /// Allocations made on the device so far.
    pub allocations: u64,
    /// Times a call has waited for the device.
    pub waits: u64,
}

/// Memory of a device.
pub trait Memory {
    /// `len` elements, all zero bits.
    ///
    /// # Errors
    /// `OutOfMemory`; `Limit` if the device cannot address a buffer of this size.
    fn alloc(&self, dtype: DType, len: usize) -> Result<Buffer>;

    /// Lays a weight out as this device's kernels like it. Done once; [`Linear`] then reads it as often as needed.
    ///
    /// # Errors
    /// `OutOfMemory`, `Limit`; `Unsupported` if the device has no kernel for this format.
    fn pack(&self, weight: &Weight) -> Result<Packed>;

    /// Waits until everything queued has finished.
    ///
    /// # Errors
    /// A fault of any op queued before.
    fn sync(&self) -> Result<()>;

    /// Counters.
    fn memory_stats(&self) -> MemoryStats;
}

/// One row of the support table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SupportRow {
    /// [`Op::NAME`](crate::Op::NAME).
    pub op: &'static str,
    /// Dtype of [`Op::dtype`](crate::Op::dtype).
    pub dtype: DType,
    /// How it runs.
    pub support: Support,
}

/// The list of ops: the only place that names them all.
macro_rules! ops {
    ($($op:ident),* $(,)?) => {
        /// A device: memory, identity, and an implementation of every op.
        ///
        /// Adding an op adds a supertrait here, so that no backend compiles before it has decided how to run it.
        pub trait Backend: Memory + Any + Send + Sync $(+ for<'a> Launch<$op<'a>>)* {
            /// Identity its buffers carry.
            fn id(&self) -> DeviceId;
            /// Short name: `cpu`, `wgpu`, `cuda`.
            fn name(&self) -> &'static str;
            /// What is known about the device.
            fn info(&self) -> &DeviceInfo;
        }

        /// Every op and dtype, and how `on` runs it.
        pub fn support_table(on: &(dyn Backend + 'static)) -> Vec<SupportRow> {
            let mut rows = Vec::new();
            $(rows.extend(DType::ALL.map(|dtype| SupportRow {
                op: <$op<'static> as crate::Op>::NAME,
                dtype,
                support: <dyn Backend as Launch<$op<'static>>>::support(on, dtype),
            }));)*
            rows
        }

        /// Names of all ops.
        pub const OP_NAMES: &[&str] = &[$(<$op<'static> as crate::Op>::NAME),*];
    };
}

ops!(
    Upload,
    Download,
    Copy,
    Fill,
    Cast,
    Matmul,
    Linear,
    LinearInt8,
    Quantize,
    Attention,
    AttentionBackward,
    Rope,
    LayerNorm,
    LayerNormBackward,
    RmsNorm,
    RmsNormBackward,
    Softmax,
    SoftmaxBackward,
    Unary,
    UnaryBackward,
    Binary,
    Axpy,
    Reduce,
    Gather,
    ScatterAdd,
    Forest,
    CrossEntropy,
    CrossEntropyBackward,
    Random,
    Sgd,
    AdamW,
    ClipNorm,
);
