//! The matrix product all dense and quantized kernels share: result = left · right, where the right factor may be stored in any
//! form and the result goes through an epilogue of the op's own.

pub(crate) mod blocking;
pub(crate) mod integer;
pub(crate) mod micro;
pub(crate) mod pack;
mod small;

pub(crate) use small::{is_small, multiply_small};

use crate::CpuBackend;
use crate::simd::{Float, Isa, Simd, simd_fn};
use crate::threads::{Parts, Pool, SERIAL_WORK};
use blocking::{KC, Strips, lanes, mc, mr, nr};
use kernels::Result;
use micro::{Before, DenseRows, PackedLeft, Strip};
use pack::{Strided, pack_panel, pack_tile};
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

/// The right factor [K, N] of a product, in strips of columns.
pub(crate) trait Right: Sync {
    /// How the micro-kernel reads a strip where it lies.
    type Rows<S: Simd>: Strip<S>;

    /// Units (see [`Strip::ROWS`]) of a strip of depth `k`.
    fn units(&self, k: usize) -> usize;
    /// The strip of these columns.
    fn strip<S: Simd>(&self, index: usize, columns: Range<usize>) -> Self::Rows<S>;
    /// Whether a block of `rows` rows is multiplied straight from the stored form; if not, a panel of it is made first.
    fn is_direct(&self, rows: usize) -> bool;
    /// Writes `units` of a strip as f32 rows of `vectors` vectors.
    ///
    /// # Safety
    /// The strip has these units; `panel` is writable for all their rows.
    #[inline(always)]
    unsafe fn panel<S: Simd>(
        &self,
        s: S,
        index: usize,
        columns: Range<usize>,
        units: Range<usize>,
        vectors: usize,
        panel: *mut f32,
    ) {
        // SAFETY: same contract.
        unsafe { micro::widen(s, vectors, units, self.strip::<S>(index, columns), panel) }
    }
}

/// What becomes of the sums.
pub(crate) trait Epilogue: Sync {
    /// Takes the finished sums of a block: row i of the block at `sums[i·stride..]`.
    ///
    /// # Safety
    /// `sums` is readable for rows.len() rows of columns.len() elements rounded up to whole vectors. No other task is given any
    /// of these elements of the result.
    unsafe fn store<S: Simd>(&self, s: S, rows: Range<usize>, columns: Range<usize>, sums: *const f32, stride: usize);
}

/// A strided matrix as right factor.
impl<T: Float> Right for Strided<T> {
    type Rows<S: Simd> = DenseRows<T>;

    fn units(&self, k: usize) -> usize {
        k
    }
    #[inline(always)]
    fn strip<S: Simd>(&self, _: usize, columns: Range<usize>) -> DenseRows<T> {
        let over = columns.len() % S::LANES;
        DenseRows { start: self.at(0, columns.start), stride: self.row_stride, tail: if over == 0 { S::LANES } else { over } }
    }
    fn is_direct(&self, rows: usize) -> bool {
        self.col_stride == 1 && rows <= 8
    }
    #[inline(always)]
    unsafe fn panel<S: Simd>(&self, s: S, _: usize, columns: Range<usize>, units: Range<usize>, vectors: usize, panel: *mut f32) {
        // SAFETY: same contract; units of a strided matrix are its rows.
        unsafe { pack_panel(s, *self, units, columns, vectors * S::LANES, panel) }
    }
}

/// f32 elements of work space a task needs for a block of `rows` rows, panel and sums.
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
pub(crate) fn multiply<T: Float, R: Right, E: Epilogue>(
    cpu: &CpuBackend,
    size: Size,
    left: Strided<T>,
    right: &R,
    epilogue: &E,
) -> Result<()> {
    let slots = cpu.pool.threads();
    let mut scratch = cpu.heap.scratch(size_of::<f32>() * scratch_floats(lanes(cpu.isa), size, slots))?;
    multiply_in(&cpu.pool, cpu.isa, size, left, right, epilogue, scratch.as_mut_slice(), slots);
    Ok(())
}

/// [`multiply`] in the work space given, which is [`scratch_floats`] for as many slots. With one slot it runs on this thread.
#[allow(clippy::too_many_arguments, reason = "a kernel's operands")]
pub(crate) fn multiply_in<T: Float, R: Right, E: Epilogue>(
    pool: &Pool,
    isa: Isa,
    size: Size,
    left: Strided<T>,
    right: &R,
    epilogue: &E,
    scratch: &mut [f32],
    slots: usize,
) {
    let Size { m, n, k } = size;
    let lanes = lanes(isa);
    let (mc, mr) = (mc(lanes, k), mr(lanes));
    let strips = Strips::new(n, lanes);
    let slots_for = |work: usize| if work < SERIAL_WORK { 1 } else { slots };
    for start in (0..m).step_by(mc) {
        let rows = start..(start + mc).min(m);
        let (packed, rest) = scratch.split_at_mut(rows.len() * k);
        let tiles = rows.len().div_ceil(mr);
        let parts = Parts::new(packed);
        pool.run_slots(slots_for(rows.len() * k), tiles, &|tile, _| {
            let tile_rows = tile * mr..(tile * mr + mr).min(rows.len());
            // SAFETY: tiles of different numbers do not meet.
            let to = unsafe { parts.part(tile_rows.start * k, tile_rows.len() * k) };
            pack_tile(isa, left, rows.start + tile_rows.start..rows.start + tile_rows.end, k, to);
        });
        let block = Block { rows, k, packed, strips, right, epilogue };
        let task_floats = task_floats(lanes, block.rows.len());
        // Few strips would leave threads idle: then the rows are cut as well, and each task makes its own panels.
        let row_cuts =
            if strips.count() >= 2 * slots { 1 } else { (2 * slots).div_ceil(strips.count().max(1)).min(tiles).max(1) };
        let tiles_per_cut = tiles.div_ceil(row_cuts);
        let parts = Parts::new(rest);
        pool.run_slots(slots_for(block.rows.len() * n * k), strips.count() * row_cuts, &|task, slot| {
            let first = task % row_cuts * tiles_per_cut * mr;
            let last = (first + tiles_per_cut * mr).min(block.rows.len());
            if first < last {
                // SAFETY: no two running tasks share a slot.
                let own = unsafe { parts.part(slot * task_floats, task_floats) };
                block.strip(isa, task / row_cuts, first..last, own);
            }
        });
    }
}

/// A packed block of the left factor, to be multiplied with strips of the right one.
struct Block<'a, R, E> {
    /// Rows of the result.
    rows: Range<usize>,
    k: usize,
    /// [tiles, K, MR]; the last tile [K, its rows].
    packed: &'a [f32],
    strips: Strips,
    right: &'a R,
    epilogue: &'a E,
}

impl<R: Right, E: Epilogue> Block<'_, R, E> {
    /// Multiplies `rows` of the block, from a tile's first, with one strip.
    fn strip(&self, isa: Isa, index: usize, rows: Range<usize>, scratch: &mut [f32]) {
        let columns = self.strips.columns(index);
        let vectors = self.strips.vectors(index);
        let (panel, sums) = scratch.split_at_mut(nr(lanes(isa)) * KC);
        sum_strip(isa, isa, self.right, index, columns.clone(), vectors, self.packed, self.k, rows.clone(), panel, sums);
        finish(isa, self.epilogue, self.rows.start + rows.start..self.rows.start + rows.end, columns, sums, vectors);
    }
}

simd_fn! {
    /// sums[rows, vectors] = rows of the packed block · one strip. Panel and sums are work space of [`task_floats`].
    fn sum_strip[R: Right](
        s, set: Isa, right: &R, index: usize, columns: Range<usize>, vectors: usize, packed: &[f32], depth: usize,
        rows: Range<usize>, panel: &mut [f32], sums: &mut [f32],
    ) {
        let width = vectors * S::LANES;
        assert!(sums.len() >= rows.len() * width && packed.len() >= rows.end * depth && panel.len() >= KC * width);
        let (panel, sums) = (panel.as_mut_ptr(), sums.as_mut_ptr()); // [KC, width], [rows, width]
        let strip = right.strip::<S>(index, columns.clone());
        let units = right.units(depth);
        let units_per_panel = KC / R::Rows::<S>::ROWS;
        let is_direct = right.is_direct(rows.len());
        let mut done = 0;
        // K = 0 also passes here once, to set the sums to zero.
        while done < units || done == 0 {
            let now = done..(done + units_per_panel).min(units);
            let before = if done == 0 { Before::Zero } else { Before::Sum };
            let k_start = if now.is_empty() { 0 } else { strip.span(now.start).0 };
            let k_end = if now.is_empty() { 0 } else { let (k, count) = strip.span(now.end - 1); k + count };
            // SAFETY: the strip has all units below `units`; the packed tiles hold their rows to the full depth; panel and sums have
            // been measured, units_per_panel units having at most KC rows; the tiles' rows are at most MR.
            unsafe {
                if !is_direct {
                    right.panel(s, index, columns.clone(), now.clone(), vectors, panel);
                }
                for first in rows.clone().step_by(mr(S::LANES)) {
                    let count = (rows.end - first).min(mr(S::LANES));
                    let tile = packed.as_ptr().add(first * depth);
                    let to = sums.add((first - rows.start) * width);
                    if is_direct {
                        micro::run(s, (count, vectors), now.clone(), PackedLeft(tile), strip, to, width, before);
                    } else {
                        let tile = PackedLeft(tile.add(k_start * count));
                        micro::run_panel(set, (count, vectors), k_end - k_start, tile, panel.cast_const(), to, before);
                    }
                }
            }
            done = now.end.max(1);
        }
    }

    fn finish[E: Epilogue](s, epilogue: &E, rows: Range<usize>, columns: Range<usize>, sums: &[f32], vectors: usize) {
        assert!(sums.len() >= rows.len() * vectors * S::LANES && columns.len() <= vectors * S::LANES);
        // SAFETY: the sums of these rows and columns are complete; each task has its own.
        unsafe { epilogue.store(s, rows, columns, sums.as_ptr(), vectors * S::LANES) };
    }
}
