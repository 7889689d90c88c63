//! Scaled dot-product attention: tiles of queries against chunks of keys, with an online softmax.
//!
//! A task is a block of rows (see [`tiles`]) of one key head. Chunks of keys come in order and are the same for every block, batch
//! and number of threads. Masked pairs are never multiplied: whole tiles above the diagonal are skipped, and where the rows of a
//! tile see different numbers of keys, what they all see is one product and the rest one product per row.

pub(crate) mod tiles;

use crate::CpuBackend;
use crate::dtypes::{floats, with_float};
use crate::gemm::blocking::{lanes, mr};
use crate::gemm::micro::Before;
use crate::gemm::pack::{Strided, pack_columns};
use crate::gemm::{Size, add_product};
use crate::memory::output;
use crate::simd::{Float, Isa, load, math, simd_fn, store};
use crate::threads::{Parts, SERIAL_WORK};
use kernels::ops::Attention;
use kernels::{Checked, DType, Launch, Layout, Op, Result, Support};
use std::ops::Range;
use tiles::{CHUNK, Heads, Problem, block_rows, narrow_row};

impl Launch<Attention<'_>> for CpuBackend {
    fn support(&self, dtype: DType) -> Support {
        floats(dtype)
    }

    fn launch(&self, args: Checked<Attention<'_>>) -> Result<()> {
        let args = args.into_inner();
        with_float!(Attention::NAME, args.q.dtype(), T => attention::<T>(self, args))
    }
}

/// Rows of the whole problem up to which scores are dot products along D: packing the keys would cost more.
const DOT_ROWS: usize = 4;

fn attention<T: Float>(cpu: &CpuBackend, args: Attention<'_>) -> Result<()> {
    let problem = Problem::new(&args.q, &args.k, &args.lengths, args.mask, args.scale)?;
    let (q, k, v) = (Heads::<T>::new(&args.q)?, Heads::<T>::new(&args.k)?, Heads::<T>::new(&args.v)?);
    let out_layout = *args.out.layout();
    let lse_layout = args.lse.as_ref().map(|lse| *lse.layout());
    let out = Parts::new(output::<T>(args.out)?);
    let mut no_lse = [];
    let lse = Parts::new(match args.lse {
        Some(lse) => output::<f32>(lse)?,
        None => &mut no_lse[..],
    });
    let forward = Forward { isa: cpu.isa, problem, q, k, v, out: &out, out_layout, lse: &lse, lse_layout };
    let pairs = problem.batch * problem.kv_heads;
    // Rows of a block may be fewer than fit, so that all threads have work; no result depends on where blocks begin.
    let threads = cpu.pool.threads();
    let share = (problem.rows() * pairs).div_ceil(4 * threads).next_multiple_of(mr(lanes(cpu.isa)));
    let rows = block_rows(problem.head_dim).min(share).min(problem.rows()).max(1);
    let blocks = problem.rows().div_ceil(rows);
    let slots = if problem.work() < SERIAL_WORK { 1 } else { threads };
    let floats = forward.scratch_floats(rows);
    let mut scratch = cpu.heap.scratch(4 * floats * slots)?;
    let parts = Parts::new(scratch.as_mut_slice::<f32>());
    cpu.pool.run_slots(slots, blocks * pairs, &|task, slot| {
        // Blocks that see most keys come first, so that the last tasks are short.
        let (pair, block) = (task % pairs, blocks - 1 - task / pairs);
        let block = block * rows..((block + 1) * rows).min(problem.rows());
        // SAFETY: no two running tasks share a slot.
        let own = unsafe { parts.part(slot * floats, floats) };
        forward.block((pair / problem.kv_heads, pair % problem.kv_heads), block, own);
    });
    Ok(())
}

struct Forward<'a, T> {
    isa: Isa,
    problem: Problem<'a>,
    q: Heads<'a, T>,
    k: Heads<'a, T>,
    v: Heads<'a, T>,
    out: &'a Parts<'a, T>,
    out_layout: Layout,
    lse: &'a Parts<'a, f32>,
    lse_layout: Option<Layout>,
}

impl<T: Float> Forward<'_, T> {
    /// D rounded up to whole vectors.
    fn width(&self) -> usize {
        self.problem.head_dim.next_multiple_of(lanes(self.isa))
    }

    fn scratch_floats(&self, rows: usize) -> usize {
        let (d, width) = (self.problem.head_dim, self.width());
        rows * (d + CHUNK + width + 2) + CHUNK * (d + width)
    }

    /// Output and log-sum-exp of `rows` of batch entry and key head `pair`.
    fn block(&self, pair: (usize, usize), rows: Range<usize>, scratch: &mut [f32]) {
        let Problem { head_dim: d, .. } = self.problem;
        let (count, width) = (rows.len(), self.width());
        let (q, rest) = scratch.split_at_mut(count * d); // [rows, D]
        let (keys_panel, rest) = rest.split_at_mut(d * CHUNK); // [D, CHUNK]
        let (values_panel, rest) = rest.split_at_mut(CHUNK * width); // [CHUNK, width]
        let (scores, rest) = rest.split_at_mut(count * CHUNK); // [rows, CHUNK]
        let (sums, rest) = rest.split_at_mut(count * width); // [rows, width]
        let (max, rest) = rest.split_at_mut(count);
        let total = &mut rest[..count];
        self.problem.gather(self.isa, &self.q, pair, rows.clone(), q);
        sums.fill(0.0);
        max.fill(f32::NEG_INFINITY);
        total.fill(0.0);
        let seen = self.problem.visible(pair.0, rows.end - 1);
        let (k, v) = (self.k.matrix(pair.0, pair.1), self.v.matrix(pair.0, pair.1));
        for start in (0..seen).step_by(CHUNK) {
            let keys = start..(start + CHUNK).min(seen);
            let blind = (0..count).take_while(|i| self.problem.visible(pair.0, rows.start + i) <= start).count();
            if self.problem.rows() <= DOT_ROWS {
                for i in blind..count {
                    score_row(self.isa, &q[i * d..(i + 1) * d], k.from(start, 0), keys.len(), &mut scores[i * CHUNK..]);
                }
            } else {
                pack_columns(self.isa, k.transposed(), 0..d, keys.clone(), CHUNK, keys_panel);
                let left = Strided::new(q, blind * d, d, 1);
                let size = Size { m: count - blind, n: keys.len(), k: d };
                let right = Strided::new(keys_panel, 0, CHUNK, 1);
                // SAFETY: q holds `count` rows, the panel D rows of the chunk's keys.
                unsafe { add_product(self.isa, size, left, right, &mut scores[blind * CHUNK..], CHUNK, Before::Zero) };
            }
            for i in blind..count {
                let visible = self.problem.visible_in(pair.0, rows.start + i, &keys);
                let row = &mut scores[i * CHUNK..(i + 1) * CHUNK];
                let sums = &mut sums[i * width..(i + 1) * width];
                (max[i], total[i]) = online_softmax(self.isa, row, visible, self.problem.scale, max[i], total[i], sums);
            }
            let values = match v.as_f32() {
                Some(v) => v.from(start, 0),
                None => {
                    pack_columns(self.isa, v, keys.clone(), 0..d, width, values_panel);
                    Strided::new(values_panel, 0, width, 1)
                }
            };
            let visible = |i: usize| self.problem.visible_in(pair.0, rows.start + i, &keys);
            // SAFETY: the scores hold `count` rows, the values all keys of the chunk.
            unsafe { add_staircase(self.isa, blind..count, d, Strided::new(scores, 0, CHUNK, 1), values, &visible, sums, width) };
        }
        for (i, row) in rows.enumerate() {
            let (t, h) = (row / self.problem.group, pair.1 * self.problem.group + row % self.problem.group);
            let at = |layout: &Layout, index: [usize; 3]| {
                layout.offset() + index.iter().zip(layout.strides()).map(|(i, stride)| i * stride).sum::<usize>()
            };
            let factor = if total[i] == 0.0 { 0.0 } else { 1.0 / total[i] };
            if d > 0 {
                // SAFETY: each row of the output belongs to one task.
                let to = unsafe { self.out.part(at(&self.out_layout, [pair.0, t, h]), d) };
                narrow_row(self.isa, &sums[i * width..i * width + d], factor, to);
            }
            if let Some(layout) = &self.lse_layout {
                // SAFETY: as above.
                let to = unsafe { self.lse.part(at(layout, [pair.0, h, t]), 1) };
                let sum = max[i] + total[i].ln();
                to[0] = match total[i] {
                    0.0 => f32::NEG_INFINITY,
                    _ if sum.is_nan() => f32::NAN,
                    _ => sum,
                };
            }
        }
    }
}

/// sums[i] += Σ_k weights[i, k] · values[k] over the first visible(i) of k, which does not fall with i.
///
/// # Safety
/// `weights` has the rows of `rows` and their visible columns; `values` has as many rows of `d` columns.
#[allow(clippy::too_many_arguments, reason = "a kernel's operands")]
pub(crate) unsafe fn add_staircase(
    isa: Isa,
    rows: Range<usize>,
    d: usize,
    weights: Strided<f32>,
    values: Strided<f32>,
    visible: &dyn Fn(usize) -> usize,
    sums: &mut [f32],
    stride: usize,
) {
    let mr = mr(lanes(isa));
    for first in rows.clone().step_by(mr) {
        let tile = first..(first + mr).min(rows.end);
        let shared = visible(first);
        let size = Size { m: tile.len(), n: d, k: shared };
        // SAFETY: by contract, every row of the tile seeing at least what its first sees.
        unsafe {
            add_product(isa, size, weights.from(first, 0), values, &mut sums[first * stride..], stride, Before::Sum);
            for i in tile.start + 1..tile.end {
                let size = Size { m: 1, n: d, k: visible(i) - shared };
                if size.k > 0 {
                    let (left, right) = (weights.from(i, shared), values.from(shared, 0));
                    add_product(isa, size, left, right, &mut sums[i * stride..], stride, Before::Sum);
                }
            }
        }
    }
}

simd_fn! {
    /// Scores of one row with the first `count` rows of `keys`.
    fn score_row[T: Float](s, q: &[f32], keys: Strided<T>, count: usize, scores: &mut [f32]) {
        for (key, score) in scores.iter_mut().enumerate().take(count) {
            // SAFETY: `keys` has these rows of q.len() elements.
            let key = unsafe { std::slice::from_raw_parts(keys.at(key, 0), q.len()) };
            let mut sum = s.zero();
            for at in (0..q.len()).step_by(S::LANES) {
                sum = s.fma(load(s, q, at), load(s, key, at), sum);
            }
            *score = s.reduce_add(sum);
        }
    }

    /// Turns the first `visible` scores of a row into exp(scale·score − max) for the new maximum; rescales what was summed before.
    /// Returns the new maximum and the new total.
    fn online_softmax(s, row: &mut [f32], visible: usize, scale: f32, max: f32, total: f32, sums: &mut [f32]) -> (f32, f32) {
        let whole = visible.next_multiple_of(S::LANES).min(row.len());
        let factor = s.splat(scale);
        let mut highest = s.splat(f32::NEG_INFINITY);
        for at in (0..visible).step_by(S::LANES) {
            store(s, row, at, load(s, row, at) * factor);
        }
        row[visible..whole].fill(f32::NEG_INFINITY);
        for at in (0..whole).step_by(S::LANES) {
            highest = s.max(load(s, row, at), highest); // NaN is left to the sum
        }
        let highest = s.reduce_max(highest).max(max);
        // Where all are −∞, 0 is subtracted instead, so that no difference is NaN.
        let shift = s.splat(if highest == f32::NEG_INFINITY { 0.0 } else { highest });
        let mut sum = s.zero();
        for at in (0..whole).step_by(S::LANES) {
            let p = math::exp(s, load(s, row, at) - shift);
            store(s, row, at, p);
            sum = sum + p;
        }
        let sum = s.reduce_add(sum);
        if highest == max {
            return (max, total + sum);
        }
        let rescale = (max - highest).exp();
        let factor = s.splat(rescale);
        for at in (0..sums.len()).step_by(S::LANES) {
            store(s, sums, at, load(s, sums, at) * factor);
        }
        (highest, total * rescale + sum)
    }
}
