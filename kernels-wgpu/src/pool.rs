//! Buffers whose owners are gone, kept to be given out again: what comes and goes from step to step is made once. Work queued on a
//! buffer before it is given out again comes before all that is queued on it afterwards, as there is one queue.

use std::collections::BTreeMap;
use wgpu::Buffer;

/// Most buffers kept, and most bytes of them.
const MOST: usize = 1024;
const MOST_BYTES: u64 = 64 << 20;

/// Kept buffers, found by size or by age.
#[derive(Default)]
pub(crate) struct Pool {
    /// By size, and then by when they were kept.
    kept: BTreeMap<(u64, u64), Buffer>,
    /// Sizes, by when they were kept.
    ages: BTreeMap<u64, u64>,
    bytes: u64,
    /// How many have been kept so far.
    count: u64,
}

impl Pool {
    /// Keeps a buffer; those there is no more room for, the oldest first, go to `gone`.
    pub fn keep(&mut self, buffer: Buffer, gone: &mut Vec<Buffer>) {
        let size = buffer.size();
        if size > MOST_BYTES {
            return gone.push(buffer);
        }
        self.bytes += size;
        self.count += 1;
        self.kept.insert((size, self.count), buffer);
        self.ages.insert(self.count, size);
        while self.kept.len() > MOST || self.bytes > MOST_BYTES {
            let Some((age, size)) = self.ages.pop_first() else { return };
            self.bytes -= size;
            gone.extend(self.kept.remove(&(size, age)));
        }
    }

    /// All that were kept.
    pub fn empty(&mut self) -> Vec<Buffer> {
        self.bytes = 0;
        self.ages.clear();
        std::mem::take(&mut self.kept).into_values().collect()
    }

    /// Buffers kept.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.kept.len()
    }

    /// The buffer of exactly this size that was kept last: steps that drop in the reverse of the order they allocate in get each
    /// buffer for what it was before.
    pub fn take(&mut self, size_bytes: u64) -> Option<Buffer> {
        let (&(size, age), _) = self.kept.range((size_bytes, 0)..=(size_bytes, u64::MAX)).next_back()?;
        self.ages.remove(&age);
        self.bytes -= size;
        self.kept.remove(&(size, age))
    }
}

#[cfg(test)]
mod tests {
    use super::{MOST, MOST_BYTES, Pool};
    use crate::WgpuBackend;
    use crate::memory::KERNELS;
    use wgpu::BufferDescriptor;

    #[test]
    fn a_pool_gives_what_fits_exactly_and_is_bounded() {
        let gpu = WgpuBackend::new(None).unwrap_or_else(|error| panic!("{error}"));
        let of =
            |size| gpu.device().create_buffer(&BufferDescriptor { label: None, size, usage: KERNELS, mapped_at_creation: false });
        let (mut pool, mut gone) = (Pool::default(), Vec::new());
        let (first, second) = (of(64), of(64));
        for buffer in [&first, &second] {
            pool.keep(buffer.clone(), &mut gone);
        }
        assert_eq!((pool.take(60), pool.take(128)), (None, None));
        assert_eq!((pool.take(64), pool.take(64), pool.take(64)), (Some(second), Some(first.clone()), None));
        // Bytes.
        pool.keep(first.clone(), &mut gone);
        pool.keep(of(MOST_BYTES - 64), &mut gone);
        assert_eq!(gone, []);
        pool.keep(of(16), &mut gone);
        assert_eq!(gone, [first]);
        assert!(pool.take(MOST_BYTES - 64).is_some());
        pool.keep(of(MOST_BYTES + 16), &mut gone);
        assert_eq!((pool.take(MOST_BYTES + 16), pool.bytes), (None, 16));
        // Buffers.
        let small = pool.take(16).unwrap();
        gone.clear();
        (0..MOST + 2).for_each(|_| pool.keep(small.clone(), &mut gone));
        assert_eq!((gone.len(), pool.bytes, pool.ages.len()), (2, 16 * MOST as u64, MOST));
        assert_eq!((pool.empty().len(), pool.bytes, pool.len(), pool.ages.len()), (MOST, 0, 0, 0));
    }
}
