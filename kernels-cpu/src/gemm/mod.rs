//! The matrix product all dense and quantized kernels share: result = left · right, where the right factor may be stored in any
//! form and the sums go through an epilogue of the op's own.
//!
//! Factors and epilogue are trait objects, met once per tile or strip: the kernels below them are compiled once per instruction
//! set, not once per combination of element types.

pub(crate) mod blocking;
pub(crate) mod integer;
pub(crate) mod micro;
pub(crate) mod pack;
mod small;
pub(crate) mod stored;

pub(crate) use small::{add_product, is_small, multiply_small};

use crate::CpuBackend;
use crate::simd::{Isa, Simd};
use crate::threads::{Parts, Pool, SERIAL_WORK};
use blocking::{KC, Strips, lanes, mc, mr, nr};
use kernels::Result;
use micro::{Before, PackedLeft, run_panel};
use std::ops::Range;

/// Rows M, columns N and depth K of a product.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    pub m: usize,
    pub n: usize,
    pub k: usize,
}

impl Size {
    /// Multiply-adds.
    pub fn work(self) -> usize {
        self.m.saturating_mul(self.n).saturating_mul(self.k)
    }
}

/// The left factor [M, K].
pub(crate) trait Left: Sync {
    /// Writes `rows`, at most MR, as [K, rows] to `to`, which has that length.
    fn pack(&self, isa: Isa, rows: Range<usize>, k: usize, to: &mut [f32]);
}

/// The right factor [K, N].
pub(crate) trait Right: Sync {
    /// Computes the sums of some rows with one strip. `panel` is work space of [KC, NR], `sums` gets [rows, vectors].
    fn sum_strip(&self, isa: Isa, part: &Part<'_>, panel: &mut [f32], sums: &mut [f32]);
}

/// What becomes of the sums.
pub(crate) trait Epilogue: Sync {
    /// Takes finished sums, rows of `vectors` vectors. No other task is given any of these elements of the result.
    fn finish(&self, isa: Isa, rows: Range<usize>, columns: Range<usize>, sums: &[f32], vectors: usize);
}

/// v with every NaN in the same bits. Which of two NaNs arithmetic passes on depends on the order of operands, which is the compiler's
/// to choose; a row of a batch shall equal the row alone to the bit.
#[inline(always)]
pub(crate) fn one_nan<S: Simd>(s: S, v: S::V) -> S::V {
    s.select(s.is_nan(v), s.splat(f32::NAN), v)
}

/// Rows of a packed left block, to be multiplied with one strip of the right factor.
pub(crate) struct Part<'a> {
    /// The block: tiles [K, MR], the last [K, its rows].
    pub packed: &'a [f32],
    /// Rows of the block, from a tile's first.
    pub rows: Range<usize>,
    /// K.
    pub depth: usize,
    /// Number of the strip.
    pub strip: usize,
    /// Its columns.
    pub columns: Range<usize>,
    /// Vectors that hold a row of it.
    pub vectors: usize,
}

impl Part<'_> {
    /// sums (+)= rows · panel, where the panel holds the rows `k` of the strip, whole vectors each. The first `k` starts the sums.
    ///
    /// # Panics
    /// If the panel or the sums are too short.
    pub fn multiply_panel(&self, isa: Isa, k: Range<usize>, panel: &[f32], sums: &mut [f32]) {
        let lanes = lanes(isa);
        let width = self.vectors * lanes;
        assert!(panel.len() >= k.len() * width && sums.len() >= self.rows.len() * width && k.end <= self.depth);
        assert!(self.packed.len() >= self.rows.end * self.depth);
        let before = if k.start == 0 { Before::Zero } else { Before::Sum };
        for first in self.rows.clone().step_by(mr(lanes)) {
            let count = (self.rows.end - first).min(mr(lanes));
            let tile = PackedLeft(self.packed[first * self.depth + k.start * count..].as_ptr());
            let to = sums[(first - self.rows.start) * width..].as_mut_ptr();
            // SAFETY: the tile holds `count` ≤ MR rows to the full depth; panel and sums have been measured.
            unsafe { run_panel(isa, (count, self.vectors), k.len(), tile, panel.as_ptr(), to, before) };
        }
    }
}

/// f32 elements of work space a task needs for a block of `rows` rows: panel and sums.
fn task_floats(lanes: usize, rows: usize) -> usize {
    nr(lanes) * (KC + rows)
}

/// f32 elements of work space for a product on `slots` threads.
pub(crate) fn scratch_floats(lanes: usize, size: Size, slots: usize) -> usize {
    let rows = mc(lanes, size.k).min(size.m);
    rows * size.k + slots * task_floats(lanes, rows)
}

/// Result = left · right through `epilogue`, on all threads of the backend.
///
/// # Errors
/// `OutOfMemory` for the work space.
pub(crate) fn multiply(cpu: &CpuBackend, size: Size, left: &dyn Left, right: &dyn Right, epilogue: &dyn Epilogue) -> Result<()> {
    let slots = if size.work() < SERIAL_WORK { 1 } else { cpu.pool.threads() };
    let mut scratch = cpu.heap.scratch(size_of::<f32>() * scratch_floats(lanes(cpu.isa), size, slots))?;
    multiply_in(&cpu.pool, cpu.isa, size, left, right, epilogue, scratch.as_mut_slice(), slots);
    Ok(())
}

/// [`multiply`] in the work space given, of [`scratch_floats`] for as many slots. With one slot it runs on this thread.
#[allow(clippy::too_many_arguments, reason = "a kernel's operands")]
pub(crate) fn multiply_in(
    pool: &Pool,
    isa: Isa,
    size: Size,
    left: &dyn Left,
    right: &dyn Right,
    epilogue: &dyn Epilogue,
    scratch: &mut [f32],
    slots: usize,
) {
    let Size { m, n, k } = size;
    let lanes = lanes(isa);
    let (mc, mr) = (mc(lanes, k), mr(lanes));
    let strips = Strips::new(n, lanes);
    for start in (0..m).step_by(mc) {
        let rows = start..(start + mc).min(m);
        let (packed, rest) = scratch.split_at_mut(rows.len() * k);
        pack_left(pool, isa, slots, left, rows.clone(), k, packed);
        let packed = &*packed;
        let task_floats = task_floats(lanes, rows.len());
        // Few strips would leave threads idle: then the rows are cut as well, and each task makes its own panels.
        let tiles = rows.len().div_ceil(mr);
        let few = slots > 1 && strips.count() < 2 * slots;
        let row_cuts = if few { (2 * slots).div_ceil(strips.count().max(1)).min(tiles) } else { 1 };
        let rows_per_cut = tiles.div_ceil(row_cuts) * mr;
        let parts = Parts::new(rest);
        pool.run_slots(slots, strips.count() * row_cuts, &|task, slot| {
            let (strip, first) = (task / row_cuts, task % row_cuts * rows_per_cut);
            let last = (first + rows_per_cut).min(rows.len());
            if first >= last {
                return;
            }
            let (columns, vectors) = (strips.columns(strip), strips.vectors(strip));
            let part = Part { packed, rows: first..last, depth: k, strip, columns: columns.clone(), vectors };
            // SAFETY: no two running tasks share a slot.
            let own = unsafe { parts.part(slot * task_floats, task_floats) };
            let (panel, sums) = own.split_at_mut(nr(lanes) * KC);
            right.sum_strip(isa, &part, panel, sums);
            epilogue.finish(isa, rows.start + first..rows.start + last, columns, sums, vectors);
        });
    }
}

/// Packs `rows` of a left factor of depth `k` as tiles [K, MR], the last [K, its rows].
pub(crate) fn pack_left(pool: &Pool, isa: Isa, slots: usize, left: &dyn Left, rows: Range<usize>, k: usize, packed: &mut [f32]) {
    let mr = mr(lanes(isa));
    let parts = Parts::new(packed);
    let slots = if rows.len() * k < SERIAL_WORK { 1 } else { slots };
    pool.run_slots(slots, rows.len().div_ceil(mr), &|tile, _| {
        let of_tile = tile * mr..(tile * mr + mr).min(rows.len());
        // SAFETY: tiles of different numbers do not meet.
        let to = unsafe { parts.part(of_tile.start * k, of_tile.len() * k) };
        left.pack(isa, rows.start + of_tile.start..rows.start + of_tile.end, k, to);
    });
}
