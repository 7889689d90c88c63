//! Two of four: strips of as many outputs as those of dense products, whose values and places are read in the order of memory.
//!
//! Few rows of x: four inputs are loaded into every four lanes; the places pick from them in registers, so that a group of four inputs
//! costs an output 8 bytes of f32 values and half a byte of places. A word holds the places of an output for WORD_GROUPS groups.
//!
//! Many: picking costs as much as the multiplications it saves, so that a strip becomes a dense panel once for all rows. A sum plus a
//! product with 0 is the sum where x is finite, but for the sign of zero, which the epilogue makes positive. Where any x is not,
//! inputs are picked.

use super::panel::widen_row;
use super::{Value, slots, with_type};
use crate::CpuBackend;
use crate::gemm::blocking::{NV, lanes};
use crate::gemm::pack::Strided;
use crate::gemm::{Epilogue, Right, Size, Strip, multiply};
use crate::memory::CpuStorage;
use crate::simd::{Float, Isa, Simd, fold, simd_fn};
use crate::threads::Parts;
use kernels::weight::Sparse;
use kernels::{DType, Result};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// Groups of four inputs whose places fill a word, four bits each.
const WORD_GROUPS: usize = 8;

/// Inputs of a word.
const WORD_INPUTS: usize = 4 * WORD_GROUPS;

/// Vectors of a strip.
const VECTORS: usize = NV;

/// From so many rows on, strips become dense panels.
const MANY: usize = 16;

/// Strips of a task.
const TASK_STRIPS: usize = 2;

/// Rows of x copied at a time, which bounds the work space.
const BAND: usize = 64;

/// Most rows of x whose sums are in registers.
const fn max_rows(lanes: usize) -> usize {
    if lanes >= 16 { 4 } else { 2 }
}

/// A packed two-of-four weight. Inputs beyond K have a [`Value::filler`], where the copies of x are 0.
pub(crate) struct Pairs {
    dtype: DType,
    /// Words of places per output.
    words: usize,
    /// u32 [strips, words, width].
    places: CpuStorage,
    /// [strips, words, WORD_GROUPS, first and second, width].
    values: CpuStorage,
}

impl Pairs {
    /// # Errors
    /// `OutOfMemory`.
    pub fn pack<T: Value>(cpu: &CpuBackend, sparse: &Sparse, places: &[u8], values: &[T]) -> Result<(Self, usize)> {
        let (n, groups, width) = (sparse.n(), sparse.k().div_ceil(4), VECTORS * lanes(cpu.isa));
        let words = groups.div_ceil(WORD_GROUPS);
        let all_words = n.next_multiple_of(width).saturating_mul(words);
        let mut packed_places = cpu.heap.alloc(all_words.saturating_mul(4))?;
        let mut packed_values = cpu.heap.alloc(all_words.saturating_mul(2 * WORD_GROUPS * size_of::<T>()))?;
        let (place, value) = (packed_places.as_mut_slice::<u32>(), packed_values.as_mut_slice::<T>());
        value.fill(T::filler());
        for (at, &both) in places.iter().enumerate() {
            let (output, group) = (at / groups, at % groups);
            let word = (output / width * words + group / WORD_GROUPS) * width;
            place[word + output % width] |= (both as u32) << (4 * (group % WORD_GROUPS));
            for (which, offset) in [both & 3, both >> 2].into_iter().enumerate() {
                if 4 * group + (offset as usize) < sparse.k() {
                    let row = word * 2 * WORD_GROUPS + (2 * (group % WORD_GROUPS) + which) * width;
                    value[row + output % width] = values[2 * at + which];
                }
            }
        }
        let bytes = packed_places.bytes() + packed_values.bytes();
        Ok((Pairs { dtype: T::DTYPE, words, places: packed_places, values: packed_values }, bytes))
    }

    /// As [`super::SparseWeight::multiply`].
    pub fn multiply<X: Float>(&self, cpu: &CpuBackend, size: Size, left: Strided<X>, epilogue: &dyn Epilogue) -> Result<()> {
        let Size { m, n, k } = size;
        if m >= MANY && is_finite(cpu, left, size) {
            return multiply(cpu, size, &left, self, epilogue);
        }
        let (lanes, slots) = (lanes(cpu.isa), slots(cpu, m, n.saturating_mul(k) / 2));
        let (band, x_floats, task_outputs) = (BAND.min(m), self.words * WORD_INPUTS, TASK_STRIPS * VECTORS * lanes);
        let mut scratch = cpu.heap.scratch(4 * (band * x_floats + slots * band * task_outputs))?;
        let (x, sums) = scratch.as_mut_slice::<f32>().split_at_mut(band * x_floats);
        for start in (0..m).step_by(band) {
            let rows = start..(start + band).min(m);
            let (copies, sums) = (Parts::new(x), Parts::new(sums));
            cpu.pool.run_slots(slots, rows.len(), &|row, _| {
                // SAFETY: rows do not meet.
                let to = unsafe { copies.part(row * x_floats, x_floats) };
                widen_row(cpu.isa, left, start + row, 0..k, to);
                to[k..].fill(0.0);
            });
            let x = &x[..rows.len() * x_floats];
            cpu.pool.run_slots(slots, n.div_ceil(task_outputs), &|task, slot| {
                let outputs = task * task_outputs..((task + 1) * task_outputs).min(n);
                // SAFETY: no two running tasks share a slot.
                let sums = unsafe { sums.part(slot * band * task_outputs, rows.len() * task_outputs) };
                with_type!(self.dtype, T => sum_task(cpu.isa, self, self.values.as_slice::<T>(), outputs.start, outputs.len(), x, sums));
                epilogue.finish(cpu.isa, rows.clone(), outputs, sums, TASK_STRIPS * VECTORS);
            });
        }
        Ok(())
    }
}

/// Whether all of the left factor is finite.
fn is_finite<X: Float>(cpu: &CpuBackend, left: Strided<X>, size: Size) -> bool {
    let finite = AtomicBool::new(true);
    cpu.pool.run_sized(size.m * size.k, size.m, &|row| {
        // SAFETY: a row of x, whose elements lie side by side.
        let row = unsafe { std::slice::from_raw_parts(left.at(row, 0), size.k) };
        if zero_times(cpu.isa, row).is_nan() {
            finite.store(false, Relaxed);
        }
    });
    finite.into_inner()
}

/// A strip is made dense.
impl Right for Pairs {
    fn panel<'a>(&'a self, isa: Isa, strip: &Strip, k: Range<usize>, room: &'a mut [f32]) -> &'a [f32] {
        with_type!(self.dtype, T => unpack(isa, self, self.values.as_slice::<T>(), strip, k, room));
        room
    }
    fn makes_panels(&self) -> bool {
        true
    }
}

/// All bits in one of every four lanes.
const ONE_OF_FOUR: [[u32; 4]; 4] = [[!0, 0, 0, 0], [0, !0, 0, 0], [0, 0, !0, 0], [0, 0, 0, !0]];

simd_fn! {
    /// Σ 0 · x: 0 if all of them are finite, else NaN.
    fn zero_times[X: Float](s, x: &[X]) -> f32 {
        s.reduce_add(fold(s, [x], s.zero(), |sum, [x]| s.fma(x, s.zero(), sum), |a, b| a + b))
    }

    /// Rows `k` of a strip, which begin with a word, as a panel [k.len(), its vectors].
    fn unpack[T: Value](s, weight: &Pairs, values: &[T], strip: &Strip, k: Range<usize>, panel: &mut [f32]) {
        let (stored, width) = (VECTORS * S::LANES, strip.vectors * S::LANES);
        assert!(k.start.is_multiple_of(WORD_INPUTS) && strip.vectors <= VECTORS && panel.len() >= k.len() * width);
        let words = strip.index * weight.words + k.start / WORD_INPUTS..strip.index * weight.words + k.end.div_ceil(WORD_INPUTS);
        let places = &weight.places.as_slice::<i32>()[words.start * stored..words.end * stored];
        let values = &values[words.start * 2 * WORD_GROUPS * stored..words.end * 2 * WORD_GROUPS * stored];
        for (word, rows) in panel[..k.len() * width].chunks_mut(WORD_INPUTS * width).enumerate() {
            for v in 0..strip.vectors {
                // SAFETY: the words of the strip have been measured; each row of the panel has a vector at `v`.
                unsafe {
                    let mut place = s.load_int(places.as_ptr().add(word * stored + v * S::LANES));
                    for (group, rows) in rows.chunks_mut(4 * width).enumerate() {
                        let values = values.as_ptr().add((word * WORD_GROUPS + group) * 2 * stored + v * S::LANES);
                        let (first, second) = (s.bits(T::load(s, values)), s.bits(T::load(s, values.add(stored))));
                        let second_place = s.shr::<2>(place);
                        for (row, only) in rows.chunks_exact_mut(width).zip(&ONE_OF_FOUR) {
                            let only = s.load_four(only.as_ptr().cast());
                            let first = first & s.bits(s.pick(only, place));
                            let second = second & s.bits(s.pick(only, second_place));
                            s.store(row.as_mut_ptr().add(v * S::LANES), s.from_bits(first | second));
                        }
                        place = s.shr::<4>(place);
                    }
                }
            }
        }
    }

    /// sums[rows, task's outputs] = x[rows, words of inputs] · the strips from output `first` on.
    fn sum_task[T: Value](s, weight: &Pairs, values: &[T], first: usize, count: usize, x: &[f32], sums: &mut [f32]) {
        let (width, task_outputs) = (VECTORS * S::LANES, TASK_STRIPS * VECTORS * S::LANES);
        let (x_floats, rows) = (weight.words * WORD_INPUTS, sums.len() / task_outputs);
        assert!(x.len() == rows * x_floats && count <= task_outputs);
        for start in (0..count).step_by(width) {
            let word = (first + start) / width * weight.words * width;
            let places = &weight.places.as_slice::<i32>()[word..word + weight.words * width];
            let values = &values[word * 2 * WORD_GROUPS..][..weight.words * width * 2 * WORD_GROUPS];
            for row in (0..rows).step_by(max_rows(S::LANES)) {
                let (x, to) = (x[row * x_floats..].as_ptr(), sums[row * task_outputs + start..].as_mut_ptr());
                // SAFETY: the strip has been measured, and so have the rows of x and of the sums that are left.
                unsafe {
                    match (rows - row).min(max_rows(S::LANES)) {
                        1 => strip::<S, T, 1>(s, places, values, x, x_floats, to, task_outputs),
                        2 => strip::<S, T, 2>(s, places, values, x, x_floats, to, task_outputs),
                        3 => strip::<S, T, 3>(s, places, values, x, x_floats, to, task_outputs),
                        _ => strip::<S, T, 4>(s, places, values, x, x_floats, to, task_outputs),
                    }
                }
            }
        }
    }
}

/// # Safety
/// x has M rows of `x_floats` elements, those of all words; `values` go with `places`; `to` is writable for M rows of the strip's
/// vectors, `stride` elements apart.
#[inline(always)]
unsafe fn strip<S: Simd, T: Value, const M: usize>(
    s: S,
    places: &[i32],
    values: &[T],
    x: *const f32,
    x_floats: usize,
    to: *mut f32,
    stride: usize,
) {
    let width = VECTORS * S::LANES;
    let mut sums = [[s.zero(); VECTORS]; M];
    for (word, places) in places.chunks_exact(width).enumerate() {
        // SAFETY: by contract.
        unsafe {
            let mut at = [s.int(0); VECTORS];
            for (v, at) in at.iter_mut().enumerate() {
                *at = s.load_int(places.as_ptr().add(v * S::LANES));
            }
            for group in 0..WORD_GROUPS {
                let values = values.as_ptr().add((word * WORD_GROUPS + group) * 2 * width);
                for v in 0..VECTORS {
                    let first = T::load(s, values.add(v * S::LANES));
                    let second = T::load(s, values.add(width + v * S::LANES));
                    let second_at = s.shr::<2>(at[v]);
                    for (row, sums) in sums.iter_mut().enumerate() {
                        let four = s.load_four(x.add(row * x_floats + word * WORD_INPUTS + 4 * group));
                        sums[v] = s.fma(first, s.pick(four, at[v]), sums[v]);
                        sums[v] = s.fma(second, s.pick(four, second_at), sums[v]);
                    }
                    at[v] = s.shr::<4>(at[v]);
                }
            }
        }
    }
    for (row, sums) in sums.iter().enumerate() {
        for (v, &sum) in sums.iter().enumerate() {
            // SAFETY: by contract.
            unsafe { s.store(to.add(row * stride + v * S::LANES), sum) };
        }
    }
}
