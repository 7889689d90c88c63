//! Device memory: zeroed buffers of whole words, counted.

use crate::WgpuBackend;
use crate::queue::Queue;
use kernels::{Backend, Buffer, DType, Error, Memory, MemoryStats, Packed, Result, Weight};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use wgpu::{BufferDescriptor, BufferUsages};

/// Counters of one backend, shared with its buffers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counters(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    live_bytes: AtomicU64,
    peak_bytes: AtomicU64,
    allocations: AtomicU64,
    waits: AtomicU64,
    /// Buffers of the queue's own, for transfers and parameters.
    own: AtomicU64,
    bind_groups: AtomicU64,
    pipelines: AtomicU64,
    /// When the device will seem to have no memory left, for tests: a bit for each time it is asked, the next one the lowest.
    refusals: AtomicU64,
    /// Buffers that are no longer in use and that the queue has not yet been told of.
    dropped: Mutex<Vec<wgpu::Buffer>>,
}

/// What has been made on a device so far. In a steady state nothing is made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Made {
    /// Buffers, those for transfers and parameters among them.
    pub buffers: u64,
    /// Bind groups.
    pub bind_groups: u64,
    /// Compiled pipelines.
    pub pipelines: u64,
}

impl Counters {
    /// A buffer of the queue's own has been made.
    pub fn made_own(&self) {
        self.0.own.fetch_add(1, Relaxed);
    }

    /// A bind group has been made.
    pub fn made_bind_group(&self) {
        self.0.bind_groups.fetch_add(1, Relaxed);
    }

    /// A pipeline has been compiled.
    pub fn made_pipeline(&self) {
        self.0.pipelines.fetch_add(1, Relaxed);
    }

    fn add(&self, bytes: u64) {
        let live = self.0.live_bytes.fetch_add(bytes, Relaxed) + bytes;
        self.0.peak_bytes.fetch_max(live, Relaxed);
    }

    fn remove(&self, buffer: &wgpu::Buffer) {
        self.0.live_bytes.fetch_sub(buffer.size(), Relaxed);
        self.0.dropped.lock().unwrap_or_else(PoisonError::into_inner).push(buffer.clone());
    }

    /// The buffers dropped since the last time.
    pub fn take_dropped(&self) -> Vec<wgpu::Buffer> {
        std::mem::take(&mut self.0.dropped.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether a test wants memory to be out this time.
    pub fn refuses(&self) -> bool {
        let refusals = &self.0.refusals;
        refusals.load(Relaxed) > 0
            && refusals.fetch_update(Relaxed, Relaxed, |bits| Some(bits >> 1)).is_ok_and(|bits| bits & 1 == 1)
    }

    /// The device is to seem to have no memory left the next times it is asked.
    #[cfg(test)]
    pub fn refuse(&self, times: u32) {
        self.refuse_after(0, times);
    }

    /// As [`Counters::refuse`], once it was asked so many times.
    #[cfg(test)]
    pub fn refuse_after(&self, spared: u32, times: u32) {
        self.0.refusals.store(((1 << times) - 1) << spared, Relaxed);
    }

    /// A call is about to wait for the device.
    pub fn waited(&self) {
        self.0.waits.fetch_add(1, Relaxed);
    }
}

/// What is behind every buffer and packed weight. On drop no longer counted, and kept to be [given out again](crate::pool) or freed;
/// the device keeps the memory until the work queued on it is done.
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
        let size = bytes.checked_next_multiple_of(VECTOR_BYTES).unwrap_or(u64::MAX).max(VECTOR_BYTES);
        if size > limit {
            return Err(Error::Limit { op, what: "bytes of one buffer", limit, got: size });
        }
        self.faults().check()?;
        let kept = if usage == KERNELS { self.kept_before(size)? } else { None };
        let buffer = match kept {
            Some(buffer) => buffer,
            None => {
                let descriptor = BufferDescriptor { label: Some(op), size, usage, mapped_at_creation: false };
                let buffer = self.make(&descriptor)?;
                self.counters().0.allocations.fetch_add(1, Relaxed);
                buffer
            }
        };
        self.faults().check()?;
        self.counters().add(size);
        Ok(Storage { buffer, counters: self.counters().clone() })
    }
}

impl WgpuBackend {
    /// What has been made on the device so far.
    pub fn made(&self) -> Made {
        let counts = &self.counters.0;
        Made {
            buffers: counts.allocations.load(Relaxed) + counts.own.load(Relaxed),
            bind_groups: counts.bind_groups.load(Relaxed),
            pipelines: counts.pipelines.load(Relaxed),
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapter::{adapter, open_within};
    use crate::cache::Cache;
    use kernels::Op;
    use kernels::ops::{Download, Upload};
    use wgpu::Limits;

    /// Bytes of the largest buffer: no whole vectors, and no power of two.
    const MOST: u64 = (1 << 20) + 39;

    fn small() -> WgpuBackend {
        let adapter = adapter(None).unwrap_or_else(|error| panic!("{error}"));
        let limits = Limits { max_buffer_size: MOST, max_storage_buffer_binding_size: MOST - 3, ..adapter.limits() };
        open_within(&adapter, limits, "", Cache::none()).unwrap()
    }

    #[test]
    fn what_rounding_takes_beyond_the_largest_buffer_is_refused_and_no_fault() {
        let gpu = small();
        for bytes in [MOST - 6, MOST, MOST + 1, u64::MAX] {
            match gpu.queue.allocate("alloc", bytes, KERNELS).err() {
                Some(Error::Limit { op: "alloc", limit, got, .. }) => assert!(limit == MOST && got > MOST, "{bytes}: {got}"),
                other => panic!("{bytes}: {other:?}"),
            }
        }
        gpu.sync().unwrap();
        assert_eq!(gpu.memory_stats().live_bytes, 0);
    }

    /// What transfers keep grows by powers of two, of which the next is too large here.
    #[test]
    fn transfers_of_nearly_the_largest_buffer_go_through() {
        let gpu = small();
        let len = (MOST as usize / 16) * 16;
        let mut x = gpu.alloc(DType::U8, len).unwrap();
        // Off the start of a word, and up to within one.
        let data: Vec<u8> = (0..len - 2).map(|i| (i * 7) as u8).collect();
        Upload::new(&data, x.view_mut([len]).unwrap().narrow(0, 1, len - 2).unwrap()).run(&gpu).unwrap();
        let mut host = vec![0u8; len - 2];
        Download::new(x.view([len]).unwrap().narrow(0, 1, len - 2).unwrap(), &mut host).run(&gpu).unwrap();
        assert!(host == data);
        for bytes in [MOST, u64::MAX - 3] {
            assert!(matches!(gpu.queue.staging("copy", bytes), Err(Error::Limit { op: "copy", limit: MOST, .. })));
        }
        gpu.sync().unwrap();
    }

    #[test]
    fn a_weight_that_rounding_takes_beyond_a_binding_is_refused_and_no_fault() {
        let gpu = small();
        let weight = |k: usize| Weight::dense(1, k, kernels::weight::Values::F32(vec![1.0; k])).unwrap();
        let most = (MOST as usize - 3) / 4;
        assert!(matches!(gpu.pack(&weight(most)), Err(Error::Limit { op: "pack", .. })));
        gpu.pack(&weight(most / 4 * 4)).unwrap();
    }
}
