//! Device memory of a CPU: aligned, zeroed, fallible blocks, their counters, and the typed slices kernels see.

use crate::CpuBackend;
use kernels::{Buffer, DType, Element, Error, Memory, MemoryStats, Packed, Result, View, ViewMut, Weight};
use std::alloc::Layout;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

/// Alignment of every block that is not guarded: one cache line, one AVX-512 register.
const ALIGN_BYTES: usize = 64;

/// From here on a block is a mapping of its own, aligned to and made of 2 MiB pages where the system grants them: they read
/// up to 1.7 times as fast as 4 KiB pages.
const MAPPED_FROM_BYTES: usize = 2 << 20;

/// Where allocations end. An aid for tests: a kernel that reads or writes outside its operands dies at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Guard {
    /// No guard: aligned blocks from the allocator.
    #[default]
    None,
    /// Each allocation ends right before an inaccessible page. Alignment is that of the element.
    AtEnd,
    /// Each allocation starts right after an inaccessible page.
    AtStart,
}

/// Zeroed bytes, freed on drop.
pub(crate) struct Block {
    start: NonNull<u8>,
    bytes: usize,
    origin: Origin,
}

/// How to give a block back.
enum Origin {
    Empty,
    Heap(Layout),
    #[cfg(unix)]
    Mapped {
        base: *mut libc::c_void,
        len: usize,
    },
}

// SAFETY: a block owns its memory and has no interior mutability; access follows the borrows of the block.
unsafe impl Send for Block {}
// SAFETY: as above.
unsafe impl Sync for Block {}

fn out_of_memory(bytes: usize) -> Error {
    Error::OutOfMemory { backend: crate::NAME, wanted_bytes: bytes as u64 }
}

impl Block {
    /// `bytes` zero bytes.
    ///
    /// # Errors
    /// `OutOfMemory`.
    pub fn new(bytes: usize, guard: Guard) -> Result<Self> {
        #[cfg(unix)]
        {
            if guard != Guard::None {
                return mapped::guarded(bytes, guard);
            }
            if bytes >= MAPPED_FROM_BYTES {
                return mapped::huge(bytes);
            }
        }
        #[cfg(not(unix))]
        let _ = guard; // `CpuBackend::builder` refuses guards here
        if bytes == 0 {
            return Ok(Block { start: NonNull::<Line>::dangling().cast(), bytes, origin: Origin::Empty });
        }
        let layout = Layout::from_size_align(bytes, ALIGN_BYTES).map_err(|_| out_of_memory(bytes))?;
        // SAFETY: the layout has a size above 0.
        let start = NonNull::new(unsafe { std::alloc::alloc_zeroed(layout) }).ok_or_else(|| out_of_memory(bytes))?;
        Ok(Block { start, bytes, origin: Origin::Heap(layout) })
    }

    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Asks for 4 KiB pages instead: to measure what large ones are worth. Call before the first write.
    pub fn use_small_pages(&mut self) {
        #[cfg(target_os = "linux")]
        if let Origin::Mapped { base, len } = self.origin {
            // SAFETY: the block's own mapping; a refusal changes nothing but speed.
            unsafe {
                libc::madvise(base, len, libc::MADV_NOHUGEPAGE);
            }
        }
    }

    /// The whole block as elements; a rest that fills no element is left out.
    pub fn as_slice<T: bytemuck::Pod>(&self) -> &[T] {
        debug_assert!(self.start.as_ptr().cast::<T>().is_aligned());
        // SAFETY: `bytes` bytes from `start` are initialised and ours; blocks are allocated as a whole number of elements and
        // aligned at least to them (a guarded block ends on a page border); any bits are a value of a Pod type.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr().cast(), self.bytes / size_of::<T>()) }
    }

    /// As [`Block::as_slice`], to write.
    pub fn as_mut_slice<T: bytemuck::Pod>(&mut self) -> &mut [T] {
        debug_assert!(self.start.as_ptr().cast::<T>().is_aligned());
        // SAFETY: as for `as_slice`, and the block is borrowed mutably.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr().cast(), self.bytes / size_of::<T>()) }
    }
}

/// What an empty block points at: nothing, well aligned.
#[repr(align(64))]
struct Line;

impl Drop for Block {
    fn drop(&mut self) {
        match self.origin {
            Origin::Empty => {}
            // SAFETY: allocated with this layout, freed once.
            Origin::Heap(layout) => unsafe { std::alloc::dealloc(self.start.as_ptr(), layout) },
            #[cfg(unix)]
            // SAFETY: this mapping was made for the block and is unmapped once.
            Origin::Mapped { base, len } => unsafe {
                libc::munmap(base, len);
            },
        }
    }
}

#[cfg(unix)]
mod mapped {
    use super::*;

    const HUGE_PAGE_BYTES: usize = 2 << 20;

    fn map(len: usize, wanted: usize) -> Result<NonNull<u8>> {
        // SAFETY: a fresh anonymous mapping touches no existing memory.
        let base = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                len,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        if base == libc::MAP_FAILED {
            return Err(out_of_memory(wanted));
        }
        NonNull::new(base.cast()).ok_or_else(|| out_of_memory(wanted))
    }

    /// A block on 2 MiB pages, if the system has them to give.
    pub fn huge(bytes: usize) -> Result<Block> {
        let len = bytes.checked_add(2 * HUGE_PAGE_BYTES).ok_or_else(|| out_of_memory(bytes))?;
        let base = map(len, bytes)?;
        let skip = base.as_ptr().align_offset(HUGE_PAGE_BYTES);
        // SAFETY: skip < 2 MiB lies within the mapping, which is 4 MiB longer than the block.
        let start = unsafe { base.add(skip) };
        #[cfg(target_os = "linux")]
        // SAFETY: the range lies within the mapping. A refusal leaves 4 KiB pages, which only costs speed.
        unsafe {
            libc::madvise(start.as_ptr().cast(), len - skip, libc::MADV_HUGEPAGE);
        }
        Ok(Block { start, bytes, origin: Origin::Mapped { base: base.as_ptr().cast(), len } })
    }

    /// A block with an inaccessible page at one side.
    pub fn guarded(bytes: usize, guard: Guard) -> Result<Block> {
        // SAFETY: sysconf has no preconditions.
        let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) } as usize;
        let whole = bytes.checked_next_multiple_of(page).ok_or_else(|| out_of_memory(bytes))?;
        let len = whole.checked_add(page).ok_or_else(|| out_of_memory(bytes))?;
        let base = map(len, bytes)?;
        let (data, fence) = match guard {
            Guard::AtEnd => (whole - bytes, whole),
            _ => (page, 0),
        };
        let block = Block {
            // SAFETY: data + bytes ≤ len.
            start: unsafe { base.add(data) },
            bytes,
            origin: Origin::Mapped { base: base.as_ptr().cast(), len },
        };
        // SAFETY: the fence page lies within the mapping and outside the block.
        let fenced = unsafe { libc::mprotect(base.add(fence).as_ptr().cast(), page, libc::PROT_NONE) };
        if fenced == 0 { Ok(block) } else { Err(out_of_memory(bytes)) }
    }
}

/// Allocation counters of one backend.
#[derive(Default)]
pub(crate) struct Counters {
    live_bytes: AtomicU64,
    peak_bytes: AtomicU64,
    allocations: AtomicU64,
}

/// A counted block: what is behind every buffer and packed weight of this backend. Private to the crate, so that a buffer made
/// elsewhere can never be taken for one of ours.
pub(crate) struct CpuStorage {
    block: Block,
    counters: Arc<Counters>,
}

impl CpuStorage {
    pub fn bytes(&self) -> usize {
        self.block.bytes()
    }
    pub fn as_slice<T: bytemuck::Pod>(&self) -> &[T] {
        self.block.as_slice()
    }
    pub fn as_mut_slice<T: bytemuck::Pod>(&mut self) -> &mut [T] {
        self.block.as_mut_slice()
    }
}

impl Drop for CpuStorage {
    fn drop(&mut self) {
        self.counters.live_bytes.fetch_sub(self.block.bytes() as u64, Relaxed);
    }
}

/// Memory of one backend: its counters, its guard mode, and work space kept from call to call.
pub(crate) struct Heap {
    counters: Arc<Counters>,
    guard: Guard,
    spare: Mutex<Vec<CpuStorage>>,
}

impl Heap {
    pub fn new(guard: Guard) -> Self {
        Heap { counters: Arc::default(), guard, spare: Mutex::default() }
    }

    /// `bytes` zero bytes.
    ///
    /// # Errors
    /// `OutOfMemory`.
    pub fn alloc(&self, bytes: usize) -> Result<CpuStorage> {
        let block = Block::new(bytes, self.guard)?;
        let live = self.counters.live_bytes.fetch_add(bytes as u64, Relaxed) + bytes as u64;
        self.counters.peak_bytes.fetch_max(live, Relaxed);
        self.counters.allocations.fetch_add(1, Relaxed);
        Ok(CpuStorage { block, counters: self.counters.clone() })
    }

    /// Work space of at least `bytes` bytes with unspecified content, kept for the next call that asks: in steady state this
    /// allocates nothing. Under a guard it is exact and fresh, so that a kernel leaving its work space dies too.
    ///
    /// # Errors
    /// `OutOfMemory`.
    pub fn scratch(&self, bytes: usize) -> Result<Scratch<'_>> {
        if self.guard != Guard::None {
            return Ok(Scratch { storage: Some(self.alloc(bytes)?), bytes, heap: self });
        }
        let mut spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner);
        let fitting = (0..spare.len()).filter(|&at| spare[at].bytes() >= bytes).min_by_key(|&at| spare[at].bytes());
        let storage = match fitting {
            Some(at) => spare.swap_remove(at),
            None => {
                // A block too small for this call will be too small for the next: grow it instead of keeping both.
                spare.pop();
                drop(spare);
                // Large pages are worth more than the memory up to the next.
                let step = if bytes > MAPPED_FROM_BYTES / 4 { MAPPED_FROM_BYTES } else { 1 << 16 };
                self.alloc(bytes.next_multiple_of(step))?
            }
        };
        Ok(Scratch { storage: Some(storage), bytes, heap: self })
    }
}

/// Work space of one call; goes back to the [`Heap`] on drop.
pub(crate) struct Scratch<'a> {
    storage: Option<CpuStorage>,
    bytes: usize,
    heap: &'a Heap,
}

impl Scratch<'_> {
    /// The work space as elements, as many as fit in what was asked for.
    pub fn as_mut_slice<T: bytemuck::Pod>(&mut self) -> &mut [T] {
        let len = self.bytes / size_of::<T>();
        // There is a storage until drop.
        self.storage.as_mut().map_or(&mut [], |storage| &mut storage.as_mut_slice()[..len])
    }
}

impl Drop for Scratch<'_> {
    fn drop(&mut self) {
        if self.heap.guard == Guard::None {
            self.heap.spare.lock().unwrap_or_else(PoisonError::into_inner).extend(self.storage.take());
        }
    }
}

fn foreign() -> Error {
    Error::Device { op: "memory", arg: "buffer", backend: crate::NAME }
}

/// All elements of the buffer behind a view, from element 0 of the buffer; the view's layout says which of them it covers, and is
/// always within them.
///
/// # Errors
/// `Device` for a buffer this crate did not make, `DType` if `T` is another type.
pub(crate) fn input<'a, T: Element>(view: &View<'a>) -> Result<&'a [T]> {
    expect_dtype::<T>(view.dtype())?;
    Ok(view.storage::<CpuStorage>().ok_or_else(foreign)?.as_slice())
}

/// As [`input`], to write.
///
/// # Errors
/// As [`input`].
pub(crate) fn output<T: Element>(view: ViewMut<'_>) -> Result<&mut [T]> {
    expect_dtype::<T>(view.dtype())?;
    Ok(view.into_storage_mut::<CpuStorage>().ok_or_else(foreign)?.as_mut_slice())
}

fn expect_dtype<T: Element>(got: DType) -> Result<()> {
    if got == T::DTYPE {
        return Ok(());
    }
    Err(Error::DType { op: "memory", arg: "buffer", wanted: T::DTYPE.name().into(), got })
}

impl Memory for CpuBackend {
    fn alloc(&self, dtype: DType, len: usize) -> Result<Buffer> {
        let bytes = len.checked_mul(dtype.size_bytes()).ok_or_else(|| out_of_memory(usize::MAX))?;
        Ok(Buffer::new(self.id, dtype, len, self.heap.alloc(bytes)?))
    }

    fn pack(&self, weight: &Weight) -> Result<Packed> {
        crate::weight::pack(self, weight)
    }

    fn sync(&self) -> Result<()> {
        Ok(()) // every op has finished when it returns
    }

    fn memory_stats(&self) -> MemoryStats {
        let counters = &self.heap.counters;
        MemoryStats {
            live_bytes: counters.live_bytes.load(Relaxed),
            peak_bytes: counters.peak_bytes.load(Relaxed),
            allocations: counters.allocations.load(Relaxed),
            waits: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_zero_and_aligned() {
        for bytes in [0, 1, 63, 64, 4096, MAPPED_FROM_BYTES, MAPPED_FROM_BYTES + 1] {
            let block = Block::new(bytes, Guard::None).unwrap();
            assert!(block.as_slice::<u8>().iter().all(|&b| b == 0), "{bytes}");
            assert_eq!(block.as_slice::<u8>().as_ptr().align_offset(ALIGN_BYTES), 0, "{bytes}");
        }
    }

    #[test]
    fn a_size_no_machine_has_is_an_error() {
        for bytes in [usize::MAX, isize::MAX as usize, 1 << 60] {
            for guard in [Guard::None, Guard::AtEnd, Guard::AtStart] {
                assert!(matches!(Block::new(bytes, guard), Err(Error::OutOfMemory { .. })), "{bytes}");
            }
        }
    }

    #[cfg(unix)]
    #[test]
    fn guarded_blocks_touch_their_fence() {
        for bytes in [0, 4, 4096, 5000] {
            let end = Block::new(bytes, Guard::AtEnd).unwrap();
            assert_eq!((end.start.as_ptr() as usize + bytes) % 4096, 0);
            let start = Block::new(bytes, Guard::AtStart).unwrap();
            assert_eq!(start.start.as_ptr() as usize % 4096, 0);
            assert!(end.as_slice::<u8>().iter().chain(start.as_slice::<u8>()).all(|&b| b == 0));
        }
    }

    #[test]
    fn counters_follow_blocks_and_scratch_is_reused() {
        let heap = Heap::new(Guard::None);
        let live = |heap: &Heap| heap.counters.live_bytes.load(Relaxed);
        let storage = heap.alloc(100).unwrap();
        assert_eq!(live(&heap), 100);
        drop(storage);
        assert_eq!(live(&heap), 0);
        assert_eq!(heap.counters.peak_bytes.load(Relaxed), 100);
        drop(heap.scratch(10).unwrap());
        let before = heap.counters.allocations.load(Relaxed);
        drop(heap.scratch(1000).unwrap());
        assert_eq!(heap.counters.allocations.load(Relaxed), before);
    }
}
