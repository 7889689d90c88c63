//! Device memory: buffers of zeroed bytes, counted.

use crate::driver::{Address, Driver};
use crate::lattice::Operand;
use crate::{CudaBackend, NAME};
use kernels::{Backend, Buffer, DType, Error, Memory, MemoryStats, Packed, Result, View, Weight};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, MutexGuard, PoisonError};

#[derive(Clone, Debug, Default)]
pub(crate) struct Counters(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    live_bytes: AtomicU64,
    peak_bytes: AtomicU64,
    allocations: AtomicU64,
    waits: AtomicU64,
}

impl Counters {
    fn add(&self, bytes: u64) {
        self.0.allocations.fetch_add(1, Relaxed);
        let live = self.0.live_bytes.fetch_add(bytes, Relaxed) + bytes;
        self.0.peak_bytes.fetch_max(live, Relaxed);
    }

    /// A call is about to wait for the device.
    pub fn waited(&self) {
        self.0.waits.fetch_add(1, Relaxed);
    }
}

/// What is behind every buffer and packed weight. Freed, and no longer counted, on drop.
pub(crate) struct Storage {
    pub address: Address,
    bytes: u64,
    driver: Arc<dyn Driver>,
    counters: Counters,
}

impl Drop for Storage {
    fn drop(&mut self) {
        self.counters.0.live_bytes.fetch_sub(self.bytes, Relaxed);
        // SAFETY: allocated by this driver, and nobody else has the address but what is queued already.
        unsafe { self.driver.free(self.address) }
    }
}

/// Scratch memory, while an op queues its kernels. Not zeroed.
pub(crate) struct Scratch<'a>(MutexGuard<'a, Option<Storage>>);

impl Scratch<'_> {
    /// Its first byte, aligned to 16.
    pub fn address(&self) -> Address {
        self.0.as_ref().map_or(0, |storage| storage.address)
    }
}

impl CudaBackend {
    /// Zeroed memory.
    ///
    /// # Errors
    /// `Limit`, `OutOfMemory`.
    pub(crate) fn allocate(&self, op: &'static str, bytes: u64) -> Result<Storage> {
        const LIMIT: u64 = isize::MAX as u64;
        if bytes > LIMIT {
            return Err(Error::Limit { op, what: "bytes", limit: LIMIT, got: bytes });
        }
        // Drivers have other words for sizes that no device has.
        let memory_bytes = self.info().memory_bytes;
        if memory_bytes > 0 && bytes > memory_bytes {
            return Err(Error::OutOfMemory { backend: NAME, wanted_bytes: bytes });
        }
        let address = self.queue.settle(self.queue.driver().allocate(bytes as usize), bytes as usize)?;
        self.queue.counters().add(bytes);
        Ok(Storage { address, bytes, driver: self.queue.driver().clone(), counters: self.queue.counters().clone() })
    }

    /// Memory for what passes from one kernel of an op to its next: the same for all ops, as kernels run one after another. Nobody
    /// else can queue a kernel that uses it while the guard lives.
    ///
    /// # Errors
    /// As [`CudaBackend::allocate`], where it has to grow.
    pub(crate) fn scratch(&self, op: &'static str, bytes: u64) -> Result<Scratch<'_>> {
        let mut kept = self.scratch.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.as_ref().is_none_or(|storage| storage.bytes < bytes) {
            // What it was is given back first, in the stream's order; a quarter more keeps it from growing at every call.
            *kept = None;
            *kept = Some(self.allocate(op, bytes.saturating_add(bytes / 4))?);
        }
        Ok(Scratch(kept))
    }

    /// As [`CudaBackend::scratch`], all zero.
    ///
    /// # Errors
    /// As [`CudaBackend::scratch`]; a fault.
    pub(crate) fn zeroed_scratch(&self, op: &'static str, bytes: u64) -> Result<Scratch<'_>> {
        let scratch = self.scratch(op, bytes)?;
        self.queue.zero(scratch.address(), bytes)?;
        Ok(scratch)
    }

    /// Address of a view's first element.
    ///
    /// # Errors
    /// `Device` for a buffer this crate did not make.
    pub(crate) fn operand(&self, op: &'static str, arg: &'static str, view: &View<'_>) -> Result<Address> {
        let storage = view.storage::<Storage>().ok_or(Error::Device { op, arg, backend: NAME })?;
        // The layout is within the buffer, unless it has no element at all and nobody will look.
        let offset = if view.numel() == 0 { 0 } else { view.layout().offset() };
        Ok(storage.address + (offset * view.dtype().size_bytes()) as u64)
    }

    /// A view as part of a [`Lattice`](crate::params::Lattice).
    ///
    /// # Errors
    /// As [`CudaBackend::operand`].
    pub(crate) fn part<'a>(&self, op: &'static str, arg: &'static str, view: &'a View<'_>) -> Result<Option<Operand<'a>>> {
        Ok(Some(Operand { address: self.operand(op, arg, view)?, layout: view.layout(), dtype: view.dtype() }))
    }
}

impl Memory for CudaBackend {
    fn alloc(&self, dtype: DType, len: usize) -> Result<Buffer> {
        const OP: &str = "alloc";
        self.queue.faults().enter(OP)?;
        let bytes = (len as u64).saturating_mul(dtype.size_bytes() as u64);
        Ok(Buffer::new(self.id(), dtype, len, self.allocate(OP, bytes)?))
    }

    fn pack(&self, weight: &Weight) -> Result<Packed> {
        crate::weight::pack(self, weight)
    }

    fn sync(&self) -> Result<()> {
        self.queue.faults().enter("sync")?;
        self.queue.wait()
    }

    fn memory_stats(&self) -> MemoryStats {
        let counts = &self.queue.counters().0;
        MemoryStats {
            live_bytes: counts.live_bytes.load(Relaxed),
            peak_bytes: counts.peak_bytes.load(Relaxed),
            allocations: counts.allocations.load(Relaxed),
            waits: counts.waits.load(Relaxed),
        }
    }
}
