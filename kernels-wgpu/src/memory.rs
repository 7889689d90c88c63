//! Device memory: zeroed buffers of whole words, counted.

use crate::queue::Queue;
use crate::{NAME, WgpuBackend};
use kernels::{Backend, Buffer, DType, Error, Memory, MemoryStats, Packed, Result, Weight};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use wgpu::{BufferDescriptor, BufferUsages, ErrorFilter};

/// Counters of one backend, shared with its buffers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counters(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    live_bytes: AtomicU64,
    peak_bytes: AtomicU64,
    allocations: AtomicU64,
    waits: AtomicU64,
    /// Buffers dropped since bind groups were last cleared of them, and their bytes.
    dropped: Mutex<Vec<wgpu::Buffer>>,
    dropped_bytes: AtomicU64,
}

impl Counters {
    fn add(&self, bytes: u64) {
        self.0.allocations.fetch_add(1, Relaxed);
        let live = self.0.live_bytes.fetch_add(bytes, Relaxed) + bytes;
        self.0.peak_bytes.fetch_max(live, Relaxed);
    }

    fn remove(&self, buffer: &wgpu::Buffer) {
        self.0.live_bytes.fetch_sub(buffer.size(), Relaxed);
        // What a buffer costs beside its bytes counts too.
        self.0.dropped_bytes.fetch_add(buffer.size().max(4096), Relaxed);
        self.0.dropped.lock().unwrap_or_else(PoisonError::into_inner).push(buffer.clone());
    }

    /// Bytes of what [`Counters::take_dropped`] would give.
    pub fn dropped_bytes(&self) -> u64 {
        self.0.dropped_bytes.load(Relaxed)
    }

    /// The buffers dropped since the last time.
    pub fn take_dropped(&self) -> Vec<wgpu::Buffer> {
        self.0.dropped_bytes.store(0, Relaxed);
        std::mem::take(&mut self.0.dropped.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A call is about to wait for the device.
    pub fn waited(&self) {
        self.0.waits.fetch_add(1, Relaxed);
    }
}

/// What is behind every buffer and packed weight. Freed, and no longer counted, on drop; the device keeps the memory until the
/// work queued on it is done.
pub(crate) struct Storage {
    pub buffer: wgpu::Buffer,
    counters: Counters,
}

impl Drop for Storage {
    fn drop(&mut self) {
        self.counters.remove(&self.buffer);
    }
}

/// Kernels read vectors of four words: buffers and bindings are whole ones.
pub(crate) const VECTOR_BYTES: u64 = 16;

/// Usage of buffers that kernels read and write.
pub(crate) const KERNELS: BufferUsages = BufferUsages::STORAGE.union(BufferUsages::COPY_SRC).union(BufferUsages::COPY_DST);
/// Usage of buffers the host reads.
pub(crate) const READBACK: BufferUsages = BufferUsages::MAP_READ.union(BufferUsages::COPY_DST);

impl Queue {
    /// At least `bytes` zero bytes, in whole [vectors](VECTOR_BYTES), never none.
    ///
    /// # Errors
    /// `Limit`, `OutOfMemory`, or the fault of an earlier call.
    pub fn allocate(&self, op: &'static str, bytes: u64, usage: BufferUsages) -> Result<Storage> {
        let limit = self.limits().max_buffer_size;
        if bytes > limit {
            return Err(Error::Limit { op, what: "bytes of one buffer", limit, got: bytes });
        }
        self.faults().check()?;
        self.tidy();
        let exhausted = self.device().push_error_scope(ErrorFilter::OutOfMemory);
        let size = bytes.next_multiple_of(VECTOR_BYTES).max(VECTOR_BYTES);
        let buffer = self.device().create_buffer(&BufferDescriptor { label: Some(op), size, usage, mapped_at_creation: false });
        if pollster::block_on(exhausted.pop()).is_some() {
            return Err(Error::OutOfMemory { backend: NAME, wanted_bytes: bytes });
        }
        self.faults().check()?;
        self.counters().add(size);
        Ok(Storage { buffer, counters: self.counters().clone() })
    }
}

impl Memory for WgpuBackend {
    fn alloc(&self, dtype: DType, len: usize) -> Result<Buffer> {
        self.queue.faults().enter("alloc")?;
        let bytes = (len as u64).saturating_mul(dtype.size_bytes() as u64);
        Ok(Buffer::new(self.id(), dtype, len, self.queue.allocate("alloc", bytes, KERNELS)?))
    }

    fn pack(&self, weight: &Weight) -> Result<Packed> {
        crate::weight::pack(self, weight)
    }

    fn sync(&self) -> Result<()> {
        self.queue.faults().enter("sync")?;
        self.queue.wait()
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
