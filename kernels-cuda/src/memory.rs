//! Device memory: buffers of zeroed bytes, counted.

use crate::device::{CudaBackend, NAME};
use cudarc::driver::{CudaSlice, DriverError, sys::CUresult};
use kernels::{Backend, Buffer, DType, Error, Memory, MemoryStats, Packed, Result, Weight};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

#[derive(Clone, Debug, Default)]
pub(crate) struct Counters(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    live_bytes: AtomicU64,
    peak_bytes: AtomicU64,
    allocations: AtomicU64,
    waits: AtomicU64,
}

/// Memory of one buffer. Freed, and no longer counted, on drop.
struct CudaStorage {
    bytes: CudaSlice<u8>,
    counters: Counters,
}

impl Drop for CudaStorage {
    fn drop(&mut self) {
        self.counters.0.live_bytes.fetch_sub(self.bytes.len() as u64, Relaxed);
    }
}

fn fault(op: &'static str, error: &DriverError, wanted_bytes: u64) -> Error {
    match error.0 {
        CUresult::CUDA_ERROR_OUT_OF_MEMORY => Error::OutOfMemory { backend: NAME, wanted_bytes },
        _ => Error::Fault { backend: NAME, op, what: error.to_string() },
    }
}

impl Memory for CudaBackend {
    fn alloc(&self, dtype: DType, len: usize) -> Result<Buffer> {
        let wanted = len.checked_mul(dtype.size_bytes()).filter(|&bytes| bytes <= isize::MAX as usize);
        let Some(wanted) = wanted else {
            return Err(Error::Limit { op: "alloc", what: "bytes", limit: isize::MAX as u64, got: u64::MAX });
        };
        // A zero-sized allocation is an error to the driver.
        let bytes = self.stream.alloc_zeros::<u8>(wanted.max(1)).map_err(|error| fault("alloc", &error, wanted as u64))?;
        let counts = &self.counters.0;
        counts.allocations.fetch_add(1, Relaxed);
        let live = counts.live_bytes.fetch_add(bytes.len() as u64, Relaxed) + bytes.len() as u64;
        counts.peak_bytes.fetch_max(live, Relaxed);
        Ok(Buffer::new(self.id(), dtype, len, CudaStorage { bytes, counters: self.counters.clone() }))
    }

    fn pack(&self, _weight: &Weight) -> Result<Packed> {
        Err(Error::Unsupported { op: "pack", dtype: DType::F32, backend: NAME, reason: crate::ops::REASON })
    }

    fn sync(&self) -> Result<()> {
        self.counters.0.waits.fetch_add(1, Relaxed);
        self.stream.synchronize().map_err(|error| fault("sync", &error, 0))
    }

    fn memory_stats(&self) -> MemoryStats {
        let counts = &self.counters.0;
        MemoryStats {
            live_bytes: counts.live_bytes.load(Relaxed),
            peak_bytes: counts.peak_bytes.load(Relaxed),
            allocations: counts.allocations.load(Relaxed),
            waits: counts.waits.load(Relaxed),
        }
    }
}
