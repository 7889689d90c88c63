//! Sparse weights [N, K]: what is not stored is neither read nor multiplied.
//!
//! Two layouts. Blocks whose rows fill whole vectors become strips of LANES outputs: per stored column one vector of weights, which
//! every row of the left factor multiplies with one broadcast element. All other patterns become compressed rows: per stored value
//! a column and a weight, which multiplies the elements of that column for a whole band of left rows at once.

use crate::CpuBackend;
use crate::gemm::blocking::{lanes, mc, mr};
use crate::gemm::micro::{self, Before, PackedLeft, Strip};
use crate::gemm::pack::{Strided, pack_columns};
use crate::gemm::{Epilogue, Size, pack_left};
use crate::memory::CpuStorage;
use crate::simd::{Float, Simd, simd_fn};
use crate::threads::{Parts, SERIAL_WORK};
use kernels::Result;
use kernels::weight::{Pattern, Sparse};
use std::ops::Range;

/// A packed sparse weight; values in f32.
pub(crate) struct SparseRows {
    layout: Layout,
    /// u32: where the entries of each strip or row begin, and their end.
    starts: CpuStorage,
    /// u32: column k of each entry.
    columns: CpuStorage,
    /// f32: LANES values per entry of a strip, one per entry of a row.
    values: CpuStorage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Layout {
    Strips,
    Rows,
}

/// Output rows of a task on compressed rows.
const TASK_ROWS: usize = 32;

/// Left rows of a band are at most this many vectors.
const BAND_VECTORS: usize = 2;

impl SparseRows {
    /// Packs a weight. Returns the bytes it occupies, too.
    ///
    /// # Errors
    /// `OutOfMemory`.
    pub fn pack(cpu: &CpuBackend, sparse: &Sparse) -> Result<(Self, usize)> {
        let lanes = lanes(cpu.isa);
        let layout = match sparse.pattern() {
            Pattern::Block { rows, .. } if rows % lanes == 0 => Layout::Strips,
            _ => Layout::Rows,
        };
        // Entries in the order of `for_each` belong to one unit (strip or row) after the other, except that a block visits its rows
        // in turn: counting per unit first, then placing, puts them in order for either layout.
        let per_unit = if layout == Layout::Strips { lanes } else { 1 };
        let units = sparse.n().div_ceil(per_unit);
        let mut starts = cpu.heap.alloc(4 * (units + 1))?;
        let start = starts.as_mut_slice::<u32>();
        sparse.for_each(|n, _, _| {
            if n % per_unit == 0 {
                start[n / per_unit + 1] += 1;
            }
        });
        for unit in 0..units {
            start[unit + 1] += start[unit];
        }
        let entries = start[units] as usize;
        let mut columns = cpu.heap.alloc(4 * entries)?;
        let mut values = cpu.heap.alloc(4 * entries.saturating_mul(per_unit))?;
        let (column, value) = (columns.as_mut_slice::<u32>(), values.as_mut_slice::<f32>());
        let mut next = Vec::new();
        let room = next.try_reserve_exact(sparse.n());
        room.map_err(|_| kernels::Error::OutOfMemory { backend: crate::NAME, wanted_bytes: 8 * sparse.n() as u64 })?;
        next.extend((0..sparse.n()).map(|n| start[n / per_unit] as usize)); // next entry of each output row
        sparse.for_each(|n, k, at| {
            column[next[n]] = k as u32;
            value[next[n] * per_unit + n % per_unit] = sparse.values().get_f32(at);
            next[n] += 1;
        });
        let bytes = starts.bytes() + columns.bytes() + values.bytes();
        Ok((SparseRows { layout, starts, columns, values }, bytes))
    }

    /// Result = left · weightᵀ through `epilogue`.
    ///
    /// # Errors
    /// `OutOfMemory` for the work space.
    pub fn multiply<T: Float>(&self, cpu: &CpuBackend, size: Size, left: Strided<T>, epilogue: &dyn Epilogue) -> Result<()> {
        match self.layout {
            Layout::Strips => self.multiply_strips(cpu, size, left, epilogue),
            Layout::Rows => self.multiply_rows(cpu, size, left, epilogue),
        }
    }

    fn entries(&self, unit: usize) -> Range<usize> {
        let starts = self.starts.as_slice::<u32>();
        starts[unit] as usize..starts[unit + 1] as usize
    }

    /// Multiply-adds of a product with `rows` left rows.
    fn work(&self, rows: usize) -> usize {
        rows * self.values.as_slice::<f32>().len()
    }

    fn multiply_strips<T: Float>(&self, cpu: &CpuBackend, size: Size, left: Strided<T>, epilogue: &dyn Epilogue) -> Result<()> {
        let Size { m, n, k } = size;
        let (lanes, slots) = (lanes(cpu.isa), cpu.pool.threads());
        let block_rows = mc(lanes, k).min(m);
        let mut scratch = cpu.heap.scratch(4 * (block_rows * k + slots * block_rows * lanes))?;
        for start in (0..m).step_by(block_rows.max(1)) {
            let rows = start..(start + block_rows).min(m);
            let (packed, sums) = scratch.as_mut_slice::<f32>().split_at_mut(block_rows * k);
            pack_left(&cpu.pool, cpu.isa, slots, &left, rows.clone(), k, packed);
            let (packed, sums) = (&*packed, Parts::new(sums));
            let busy = if self.work(rows.len()) < SERIAL_WORK { 1 } else { slots };
            cpu.pool.run_slots(busy, n.div_ceil(lanes), &|unit, slot| {
                // SAFETY: no two running tasks share a slot.
                let sums = unsafe { sums.part(slot * block_rows * lanes, rows.len() * lanes) };
                multiply_strip(cpu.isa, self, unit, packed, k, sums);
                epilogue.finish(cpu.isa, rows.clone(), unit * lanes..((unit + 1) * lanes).min(n), sums, 1);
            });
        }
        Ok(())
    }

    fn multiply_rows<T: Float>(&self, cpu: &CpuBackend, size: Size, left: Strided<T>, epilogue: &dyn Epilogue) -> Result<()> {
        let Size { m, n, k } = size;
        let (lanes, slots) = (lanes(cpu.isa), cpu.pool.threads());
        let band = (BAND_VECTORS * lanes).min(m.next_multiple_of(lanes));
        let task_floats = TASK_ROWS * (band + band);
        let mut scratch = cpu.heap.scratch(4 * (band * k + slots * task_floats))?;
        for start in (0..m).step_by(band.max(1)) {
            let rows = start..(start + band).min(m);
            let (panel, rest) = scratch.as_mut_slice::<f32>().split_at_mut(band * k);
            let vectors = rows.len().div_ceil(lanes);
            pack_columns(cpu.isa, left.transposed(), 0..k, rows.clone(), vectors * lanes, panel);
            let (panel, rest) = (&*panel, Parts::new(rest));
            let busy = if self.work(rows.len()) < SERIAL_WORK { 1 } else { slots };
            cpu.pool.run_slots(busy, n.div_ceil(TASK_ROWS), &|task, slot| {
                let outputs = task * TASK_ROWS..((task + 1) * TASK_ROWS).min(n);
                // SAFETY: no two running tasks share a slot.
                let own = unsafe { rest.part(slot * task_floats, task_floats) };
                let (across, sums) = own.split_at_mut(TASK_ROWS * band);
                multiply_band(cpu.isa, self, outputs.clone(), vectors, panel, across);
                let width = outputs.len().next_multiple_of(lanes); // sums [rows, width]
                for i in 0..rows.len() {
                    for j in 0..outputs.len() {
                        sums[i * width + j] = across[j * vectors * lanes + i];
                    }
                }
                epilogue.finish(cpu.isa, rows.clone(), outputs, sums, width / lanes);
            });
        }
        Ok(())
    }
}

/// A strip of LANES outputs of which only some rows k are stored.
#[derive(Clone, Copy)]
struct StoredRows {
    columns: *const u32,
    values: *const f32,
}

impl<S: Simd> Strip<S> for StoredRows {
    const ROWS: usize = 1;
    type Unit<const NV: usize> = [S::V; NV];

    #[inline(always)]
    fn span(self, unit: usize) -> (usize, usize) {
        // SAFETY: units are entries of the strip, by the contract of the micro-kernel.
        (unsafe { *self.columns.add(unit) } as usize, 1)
    }
    #[inline(always)]
    unsafe fn unit<const NV: usize>(self, s: S, unit: usize) -> [S::V; NV] {
        // SAFETY: as above; the layout has one vector per entry.
        [unsafe { s.load(self.values.add(unit * S::LANES)) }; NV]
    }
    #[inline(always)]
    fn row<const NV: usize, const ROW: usize>(self, _: S, unit: [S::V; NV]) -> [S::V; NV] {
        unit
    }
}

simd_fn! {
    /// sums[rows, LANES] = packed tiles [rows, K] · strip `unit`.
    fn multiply_strip(s, weight: &SparseRows, unit: usize, packed: &[f32], depth: usize, sums: &mut [f32]) {
        let entries = weight.entries(unit);
        let rows = sums.len() / S::LANES;
        let values = weight.values.as_slice::<f32>()[entries.start * S::LANES..entries.end * S::LANES].as_ptr();
        let strip = StoredRows { columns: weight.columns.as_slice::<u32>()[entries.clone()].as_ptr(), values };
        assert!(packed.len() >= rows * depth);
        for first in (0..rows).step_by(mr(S::LANES)) {
            let count = (rows - first).min(mr(S::LANES));
            let tile = PackedLeft(packed[first * depth..].as_ptr());
            let to = sums[first * S::LANES..].as_mut_ptr();
            // SAFETY: the tile has `depth` columns, which all entries' columns are below; sums have `count` rows left.
            unsafe { micro::run_one_vector(s, count, 0..entries.len(), tile, strip, to, S::LANES, Before::Zero) };
        }
    }

    /// across[outputs, vectors] = compressed rows `outputs` · panel[K, vectors].
    fn multiply_band(s, weight: &SparseRows, outputs: Range<usize>, vectors: usize, panel: &[f32], across: &mut [f32]) {
        match vectors {
            1 => band::<S, 1>(s, weight, outputs, panel, across),
            _ => band::<S, 2>(s, weight, outputs, panel, across),
        }
    }
}

/// Rows that are summed side by side, so that one row's multiply-add need not wait for its last.
const ABREAST: usize = 4;

#[inline(always)]
fn band<S: Simd, const V: usize>(s: S, weight: &SparseRows, outputs: Range<usize>, panel: &[f32], across: &mut [f32]) {
    let width = V * S::LANES;
    let (columns, values) = (weight.columns.as_slice::<u32>(), weight.values.as_slice::<f32>());
    for first in outputs.clone().step_by(ABREAST) {
        let count = ABREAST.min(outputs.end - first);
        let mut left: [Range<usize>; ABREAST] = Default::default();
        for (i, left) in left.iter_mut().enumerate().take(count) {
            *left = weight.entries(first + i);
        }
        let shared = left.iter().map(Range::len).min().unwrap_or(0);
        let mut sums = [[s.zero(); V]; ABREAST];
        for _ in 0..shared {
            for (sums, left) in sums.iter_mut().zip(&mut left) {
                *sums = add_entry(s, *sums, columns[left.start], values[left.start], panel);
                left.start += 1;
            }
        }
        for (sums, left) in sums.iter_mut().zip(left) {
            for at in left {
                *sums = add_entry(s, *sums, columns[at], values[at], panel);
            }
        }
        for (i, sums) in sums.iter().enumerate().take(count) {
            for (v, &sum) in sums.iter().enumerate() {
                crate::simd::store(s, across, (first - outputs.start + i) * width + v * S::LANES, sum);
            }
        }
    }
}

/// sums + value · row `column` of the panel.
#[inline(always)]
fn add_entry<S: Simd, const V: usize>(s: S, mut sums: [S::V; V], column: u32, value: f32, panel: &[f32]) -> [S::V; V] {
    let row = &panel[column as usize * V * S::LANES..][..V * S::LANES];
    let w = s.splat(value);
    for (v, sum) in sums.iter_mut().enumerate() {
        // SAFETY: the row has V vectors.
        *sum = s.fma(w, unsafe { s.load(row.as_ptr().add(v * S::LANES)) }, *sum);
    }
    sums
}
