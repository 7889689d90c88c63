//! Blocks whose rows fill whole vectors, as strips of LANES outputs: per stored column k one vector of weights.
//!
//! Few rows of x: the strip's sums are a vector per row, to which each stored column adds weights · x[k]; strips abreast hide the
//! latency of each other's multiply-adds. Many: tokens lie in lanes,
//! in a panel [K, tokens] that stays in L2. A tile of LANES/2 outputs × 3 vectors of tokens has 24 sums in registers, and per
//! stored column 3 loads of tokens and LANES/2 broadcasts of weights for 24 multiply-adds: the multipliers bind, not the loads.

use super::bands::{Band, Bands};
use super::panel::{finish, pack_panel, widen_row};
use super::{Value, filled, slots, widen_in, widened_floats, with_type};
use crate::CpuBackend;
use crate::gemm::blocking::lanes;
use crate::gemm::pack::Strided;
use crate::gemm::{Epilogue, Size};
use crate::memory::CpuStorage;
use crate::simd::{Float, Isa, Simd, prefetch, simd_fn};
use crate::threads::Parts;
use kernels::weight::Sparse;
use kernels::{DType, Result};
use std::ops::Range;

/// Most rows of x that are multiplied one by one.
const FEW: usize = 4;

/// Strips of a task.
const TASK_STRIPS: usize = 4;

/// Most vectors of tokens of a panel, and the most bytes it may have if it is wider than one vector.
const MAX_VECTORS: usize = 3;
const PANEL_BYTES: usize = 1 << 20;

/// Columns of x packed at a time.
const PACK_COLUMNS: usize = 256;

/// Strips of a packed weight.
pub(crate) struct Blocks {
    dtype: DType,
    /// u32: where the entries of each strip begin, and their end.
    starts: CpuStorage,
    /// u32: column k of each entry, rising within a strip.
    columns: CpuStorage,
    /// LANES values per entry.
    values: CpuStorage,
    /// Entries of the longest strip.
    longest: usize,
    stored: usize,
}

impl Blocks {
    /// # Errors
    /// `OutOfMemory`.
    pub fn pack<T: Value>(cpu: &CpuBackend, sparse: &Sparse, values: &[T]) -> Result<(Self, usize)> {
        let lanes = lanes(cpu.isa);
        let strips = sparse.n().div_ceil(lanes);
        let mut starts = cpu.heap.alloc(4 * (strips + 1))?;
        let start = starts.as_mut_slice::<u32>();
        // Blocks hold all rows of a strip, so that the entries of its first row are those of all.
        sparse.for_each(|n, _, _| start[n / lanes + 1] += (n % lanes == 0) as u32);
        let mut longest = 0;
        for strip in 0..strips {
            longest = longest.max(start[strip + 1] as usize);
            start[strip + 1] += start[strip];
        }
        let stored = start[strips] as usize * lanes;
        let mut columns = cpu.heap.alloc(stored / lanes * 4)?;
        let mut packed = cpu.heap.alloc(stored * size_of::<T>())?;
        let (column, value) = (columns.as_mut_slice::<u32>(), packed.as_mut_slice::<T>());
        let mut next = filled(0, sparse.n())?;
        next.iter_mut().enumerate().for_each(|(n, next)| *next = start[n / lanes] as usize);
        sparse.for_each(|n, k, at| {
            column[next[n]] = k as u32;
            value[next[n] * lanes + n % lanes] = values[at];
            next[n] += 1;
        });
        let bytes = starts.bytes() + columns.bytes() + packed.bytes();
        Ok((Blocks { dtype: T::DTYPE, starts, columns, values: packed, longest, stored }, bytes))
    }

    fn entries(&self, strip: usize) -> Range<usize> {
        let starts = self.starts.as_slice::<u32>();
        starts[strip] as usize..starts[strip + 1] as usize
    }

    /// As [`super::SparseWeight::multiply`].
    pub fn multiply<X: Float>(&self, cpu: &CpuBackend, size: Size, left: Strided<X>, epilogue: &dyn Epilogue) -> Result<()> {
        if size.m <= FEW { self.few(cpu, size, left, epilogue) } else { self.many(cpu, size, left, epilogue) }
    }

    fn few<X: Float>(&self, cpu: &CpuBackend, size: Size, left: Strided<X>, epilogue: &dyn Epilogue) -> Result<()> {
        let Size { m, n, k } = size;
        let (lanes, slots) = (lanes(cpu.isa), slots(cpu, m, self.stored));
        let task_outputs = TASK_STRIPS * lanes;
        let mut scratch = cpu.heap.scratch(4 * (m * k + slots * m * task_outputs))?;
        let (x, sums) = scratch.as_mut_slice::<f32>().split_at_mut(m * k);
        (0..m).for_each(|row| widen_row(cpu.isa, left, row, 0..k, &mut x[row * k..]));
        let (x, sums) = (&*x, Parts::new(sums));
        cpu.pool.run_slots(slots, n.div_ceil(task_outputs), &|task, slot| {
            let outputs = task * task_outputs..((task + 1) * task_outputs).min(n);
            // SAFETY: no two running tasks share a slot.
            let sums = unsafe { sums.part(slot * m * task_outputs, m * task_outputs) };
            let strips = outputs.start / lanes..outputs.end.div_ceil(lanes);
            with_type!(self.dtype, T => sum_few(cpu.isa, self, self.values.as_slice::<T>(), strips, x, m, sums));
            epilogue.finish(cpu.isa, 0..m, outputs, sums, TASK_STRIPS);
        });
        Ok(())
    }

    fn many<X: Float>(&self, cpu: &CpuBackend, size: Size, left: Strided<X>, epilogue: &dyn Epilogue) -> Result<()> {
        let Size { m, n, k } = size;
        let (lanes, slots) = (lanes(cpu.isa), slots(cpu, m, self.stored));
        let vectors = (PANEL_BYTES / (4 * lanes * k.max(1))).clamp(1, MAX_VECTORS).min(m.div_ceil(lanes));
        let (height, task_outputs) = (vectors * lanes, TASK_STRIPS * lanes);
        let room = (height + lanes) * task_outputs + widened_floats(self.dtype, self.longest * lanes);
        let (chunks, tasks) = (k.div_ceil(PACK_COLUMNS), n.div_ceil(task_outputs));
        let bands = Bands { m, height, lanes, chunks, chunk_depth: PACK_COLUMNS, tasks, room };
        let pack = |band: &Band, chunk: usize, to: &mut [f32]| {
            let depth = chunk * PACK_COLUMNS..((chunk + 1) * PACK_COLUMNS).min(k);
            pack_panel(cpu.isa, left, band.rows.clone(), depth, band.width, to);
        };
        bands.run(cpu, slots, &pack, &|band, panel, task, room| {
            let outputs = task * task_outputs..((task + 1) * task_outputs).min(n);
            self.task(cpu.isa, band, panel, outputs, room, epilogue);
        })
    }

    /// Multiplies the strips of `outputs` with a panel. `room` is for sums, and for values in f32.
    fn task(&self, isa: Isa, band: &Band, panel: &[f32], outputs: Range<usize>, room: &mut [f32], epilogue: &dyn Epilogue) {
        let (lanes, width) = (lanes(isa), band.width);
        let task_outputs = TASK_STRIPS * lanes;
        let (across, room) = room.split_at_mut(width * task_outputs);
        let (sums, room) = room.split_at_mut(lanes * task_outputs);
        for (place, strip) in (outputs.start / lanes..outputs.end.div_ceil(lanes)).enumerate() {
            let across = &mut across[place * lanes * width..];
            with_type!(self.dtype, T => sum_many(isa, self, self.values.as_slice::<T>(), strip, panel, width / lanes, across, room));
        }
        finish(isa, epilogue, across, width, band.rows.clone(), outputs, sums);
    }
}

simd_fn! {
    /// sums[rows, TASK_STRIPS · LANES] = x[rows, K] · strips.
    fn sum_few[T: Value](s, weight: &Blocks, values: &[T], strips: Range<usize>, x: &[f32], rows: usize, sums: &mut [f32]) {
        assert!(rows <= FEW && strips.len() <= TASK_STRIPS && sums.len() >= rows * TASK_STRIPS * S::LANES);
        let k = x.len() / rows;
        let (first, mut next) = (strips.start, strips.start);
        while next < strips.end {
            let abreast = (strips.end - next).min(TASK_STRIPS / rows);
            let (x, sums) = (x.as_ptr(), sums[(next - first) * S::LANES..].as_mut_ptr());
            // SAFETY: x has `rows` rows of k elements, which the columns are below; the sums have been measured.
            next += unsafe {
                match (rows, abreast) {
                    (1, TASK_STRIPS) => few_rows::<S, T, 1, TASK_STRIPS>(s, weight, values, next, x, k, sums),
                    (1, _) => few_rows::<S, T, 1, 1>(s, weight, values, next, x, k, sums),
                    (2, 2) => few_rows::<S, T, 2, 2>(s, weight, values, next, x, k, sums),
                    (2, _) => few_rows::<S, T, 2, 1>(s, weight, values, next, x, k, sums),
                    (3, _) => few_rows::<S, T, 3, 1>(s, weight, values, next, x, k, sums),
                    _ => few_rows::<S, T, FEW, 1>(s, weight, values, next, x, k, sums),
                }
            };
        }
    }

    /// across[LANES, vectors] = strip · panel [K, vectors].
    fn sum_many[T: Value](
        s, weight: &Blocks, values: &[T], strip: usize, panel: &[f32], vectors: usize, across: &mut [f32], room: &mut [f32],
    ) {
        let entries = weight.entries(strip);
        let values = &values[entries.start * S::LANES..entries.end * S::LANES];
        let (columns, values) = (&weight.columns.as_slice::<u32>()[entries], widen_in(s, values, room));
        assert!(across.len() >= S::LANES * vectors * S::LANES);
        let (values, panel, to) = (values.as_ptr(), panel.as_ptr(), across.as_mut_ptr());
        // SAFETY: the columns are below K, the rows of the panel; values and sums have been measured.
        unsafe {
            match (vectors, S::LANES) {
                (1, 16) => outputs::<S, 16, 1>(s, columns, values, panel, to),
                (1, _) => outputs::<S, 8, 1>(s, columns, values, panel, to),
                (2, 16) => outputs::<S, 8, 2>(s, columns, values, panel, to),
                (2, _) => outputs::<S, 4, 2>(s, columns, values, panel, to),
                (_, 16) => outputs::<S, 8, 3>(s, columns, values, panel, to),
                _ => outputs::<S, 4, 3>(s, columns, values, panel, to),
            }
        }
    }
}

/// Sums of P strips from `strip` on; returns P.
///
/// # Safety
/// The weight has the strips; x has M rows of k elements and the columns are below k; `sums` is writable for P vectors in each of M
/// rows.
#[inline(always)]
unsafe fn few_rows<S: Simd, T: Value, const M: usize, const P: usize>(
    s: S,
    weight: &Blocks,
    values: &[T],
    strip: usize,
    x: *const f32,
    k: usize,
    sums: *mut f32,
) -> usize {
    let (mut columns, mut weights, mut common) = ([&[][..]; P], [&[][..]; P], usize::MAX);
    for p in 0..P {
        let entries = weight.entries(strip + p);
        common = common.min(entries.len());
        columns[p] = &weight.columns.as_slice::<u32>()[entries.clone()];
        weights[p] = &values[entries.start * S::LANES..entries.end * S::LANES];
    }
    let mut all = [[s.zero(); M]; P];
    // SAFETY: each column has a vector of values; x by contract.
    let add = |sums: &mut [S::V; M], columns: &[u32], weights: &[T], at: usize| unsafe {
        let (column, w) = (*columns.get_unchecked(at) as usize, T::load(s, weights.as_ptr().add(at * S::LANES)));
        for (row, sum) in sums.iter_mut().enumerate() {
            *sum = s.fma(w, s.splat(*x.add(row * k + column)), *sum);
        }
    };
    for at in 0..common {
        for p in 0..P {
            add(&mut all[p], columns[p], weights[p], at);
        }
    }
    for p in 0..P {
        for at in common..columns[p].len() {
            add(&mut all[p], columns[p], weights[p], at);
        }
        for (row, &sum) in all[p].iter().enumerate() {
            // SAFETY: by contract.
            unsafe { s.store(sums.add((row * TASK_STRIPS + p) * S::LANES), sum) };
        }
    }
    P
}

/// Entries by which values and rows of panels are fetched ahead.
const AHEAD: usize = 8;

/// All outputs of a strip, `O` at a time.
///
/// # Safety
/// `panel` has rows of V vectors for all columns, `values` LANES elements per column; `to` is writable for LANES · V vectors.
#[inline(always)]
unsafe fn outputs<S: Simd, const O: usize, const V: usize>(
    s: S,
    columns: &[u32],
    values: *const f32,
    panel: *const f32,
    to: *mut f32,
) {
    let width = V * S::LANES;
    for first in (0..S::LANES).step_by(O) {
        let mut sums = [[s.zero(); V]; O];
        for (at, &column) in columns.iter().enumerate() {
            // SAFETY: by contract.
            unsafe {
                let (row, w) = (panel.add(column as usize * width), values.add(at * S::LANES + first));
                prefetch(w.wrapping_add(AHEAD * S::LANES));
                if let Some(&coming) = columns.get(at + AHEAD) {
                    (0..V).for_each(|v| prefetch(panel.wrapping_add(coming as usize * width + v * S::LANES)));
                }
                let mut x = [s.zero(); V];
                for (v, x) in x.iter_mut().enumerate() {
                    *x = s.load(row.add(v * S::LANES));
                }
                for (o, sums) in sums.iter_mut().enumerate() {
                    let w = s.splat(*w.add(o));
                    for (sum, &x) in sums.iter_mut().zip(&x) {
                        *sum = s.fma(w, x, *sum);
                    }
                }
            }
        }
        for (o, sums) in sums.iter().enumerate() {
            for (v, &sum) in sums.iter().enumerate() {
                // SAFETY: by contract.
                unsafe { s.store(to.add((first + o) * width + v * S::LANES), sum) };
            }
        }
    }
}
