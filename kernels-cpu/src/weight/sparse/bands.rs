//! Tokens in lanes: bands of rows of x, each as a panel that every task of outputs meets.
//!
//! Each thread packs the panels of the tasks it does by itself: what another core packed comes from that core's caches, slowly where
//! the two share none. Threads begin far apart and go through the tasks in order, so that together they pack at most
//! bands + threads − 1 panels, and a few more where a thread helps another. Where that is many times what there is to pack, since
//! threads are many, or panels are too large to be a thread's own, all pack one panel after the other together.

use crate::CpuBackend;
use crate::threads::Parts;
use kernels::Result;
use std::ops::Range;

/// Most times a panel is packed in the mean.
const MAX_PACKS: usize = 3;

/// Largest panel of a thread: it should stay in L2, and there may be many threads.
const OWN_BYTES: usize = 2 << 20;

/// What a thread holds before it has packed a panel.
const NO_BAND: usize = usize::MAX;

/// A product cut into bands of rows and tasks of outputs.
pub(super) struct Bands {
    /// Rows of x.
    pub m: usize,
    /// Rows of a band, whole vectors.
    pub height: usize,
    pub lanes: usize,
    /// A panel is packed in so many chunks of so many rows of panel each.
    pub chunks: usize,
    pub chunk_depth: usize,
    /// Tasks per band.
    pub tasks: usize,
    /// f32 elements of work space of a task.
    pub room: usize,
}

/// A band.
pub(super) struct Band {
    /// Its rows of x.
    pub rows: Range<usize>,
    /// Elements of a row of its panel: the rows, to whole vectors.
    pub width: usize,
}

/// Packs chunk `.1` of the panel of a band.
pub(super) type Pack<'a> = dyn Fn(&Band, usize, &mut [f32]) + Sync + 'a;

/// Multiplies the panel of a band with task `.2` of outputs; the last are work space.
pub(super) type Multiply<'a> = dyn Fn(&Band, &[f32], usize, &mut [f32]) + Sync + 'a;

impl Bands {
    /// Multiplies all bands with all tasks.
    ///
    /// # Errors
    /// `OutOfMemory` for the work space.
    pub fn run(&self, cpu: &CpuBackend, slots: usize, pack: &Pack<'_>, multiply: &Multiply<'_>) -> Result<()> {
        let few = self.count() + slots - 1 <= MAX_PACKS * self.count();
        if few && 4 * self.panel(self.height) <= OWN_BYTES {
            self.apart(cpu, slots, pack, multiply)
        } else {
            self.together(cpu, slots, pack, multiply)
        }
    }

    fn count(&self) -> usize {
        self.m.div_ceil(self.height)
    }

    fn band(&self, index: usize) -> Band {
        let rows = index * self.height..((index + 1) * self.height).min(self.m);
        Band { width: rows.len().next_multiple_of(self.lanes), rows }
    }

    /// f32 elements of the panel of a band so wide.
    fn panel(&self, width: usize) -> usize {
        self.chunks * self.chunk_depth * width
    }

    /// Each thread packs the panels it meets.
    fn apart(&self, cpu: &CpuBackend, slots: usize, pack: &Pack<'_>, multiply: &Multiply<'_>) -> Result<()> {
        let panel = self.panel(self.height);
        let each = (panel + self.room).next_multiple_of(self.lanes);
        let mut rooms = cpu.heap.scratch(4 * slots * each)?;
        let mut held = cpu.heap.scratch(size_of::<usize>() * slots)?;
        held.as_mut_slice().fill(NO_BAND);
        let (rooms, held) = (Parts::new(rooms.as_mut_slice::<f32>()), Parts::new(held.as_mut_slice::<usize>()));
        cpu.pool.run_slots(slots, self.count() * self.tasks, &|at, slot| {
            // SAFETY: no two running tasks share a slot.
            let (own, held) = unsafe { (rooms.part(slot * each, each), held.part(slot, 1)) };
            let (index, task) = (at / self.tasks, at % self.tasks);
            let band = self.band(index);
            let (panel, room) = own.split_at_mut(panel);
            let panel = &mut panel[..self.panel(band.width)];
            if held[0] != index {
                held[0] = index;
                panel.chunks_exact_mut(self.chunk_depth * band.width).enumerate().for_each(|(chunk, to)| pack(&band, chunk, to));
            }
            multiply(&band, panel, task, room);
        });
        Ok(())
    }

    /// All threads pack a panel, then all multiply it.
    fn together(&self, cpu: &CpuBackend, slots: usize, pack: &Pack<'_>, multiply: &Multiply<'_>) -> Result<()> {
        let panel = self.panel(self.height);
        let mut scratch = cpu.heap.scratch(4 * (panel + slots * self.room))?;
        let (panel, rooms) = scratch.as_mut_slice::<f32>().split_at_mut(panel);
        let rooms = Parts::new(rooms);
        for index in 0..self.count() {
            let band = self.band(index);
            let panel = &mut panel[..self.panel(band.width)];
            let chunk_floats = self.chunk_depth * band.width;
            let chunks = Parts::new(panel);
            cpu.pool.run_slots(slots, self.chunks, &|chunk, _| {
                // SAFETY: chunks do not meet.
                pack(&band, chunk, unsafe { chunks.part(chunk * chunk_floats, chunk_floats) });
            });
            let panel = &*panel;
            cpu.pool.run_slots(slots, self.tasks, &|task, slot| {
                // SAFETY: no two running tasks share a slot.
                multiply(&band, panel, task, unsafe { rooms.part(slot * self.room, self.room) });
            });
        }
        Ok(())
    }
}
