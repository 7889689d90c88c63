//! One query of each sequence against a cache: keys and values are read where they lie, in the order in which they lie.
//!
//! Each is read once and there are more than fit the caches, so that memory is the limit. A few keys at a time meet the queries of
//! all heads: rows `[KvH, D]` are read to their end, as the processor's own prefetching expects. Sums run in the order of a prompt.

use super::Forward;
use super::pack::copy_rows;
use super::softmax::{Sums, join, weigh};
use super::tiles::{CHUNK, HeadRows};
use crate::CpuBackend;
use crate::gemm::blocking::lanes;
use crate::simd::{Float, Simd, simd_fn};
use crate::threads::{Parts, SERIAL_WORK};
use kernels::Result;
use std::ops::Range;

/// Most queries per key head: more are worth panels of keys.
const GROUP: usize = 8;

/// Keys that go through the heads together; as many as a vector has lanes or more.
const KEYS: usize = 16;

/// Work space of a task.
struct Space<'s> {
    queries: &'s mut [f32], // [heads, D]
    scores: &'s mut [f32],  // [heads, CHUNK]
    band: &'s mut [f32],    // [KEYS, D]
}

impl<T: Float> Forward<'_, T> {
    pub(super) fn decodes(&self) -> bool {
        let problem = &self.problem;
        let whole = problem.head_dim > 0 && problem.head_dim.is_multiple_of(lanes(self.isa));
        problem.seq_q == 1 && (1..=GROUP).contains(&problem.group) && whole
    }

    /// Everything, for one query per sequence: tasks are chunks of keys of some heads, a wave of them at a time. The work space is the
    /// same however long the cache has grown.
    pub(super) fn decode(&self, cpu: &CpuBackend) -> Result<()> {
        let problem = &self.problem;
        let (d, group, kv_heads, chunks) =
            (problem.head_dim, problem.group, problem.kv_heads, problem.seq_k.div_ceil(CHUNK).max(1));
        let slots = if problem.work() < SERIAL_WORK { 1 } else { cpu.pool.threads() };
        let wave = if cpu.pool.threads() == 1 { 1 } else { super::TASKS * cpu.pool.threads() };
        let parts = if slots == 1 { 1 } else { wave.div_ceil((problem.batch * chunks).max(1)) };
        let step = kv_heads.div_ceil(parts).max(1); // key heads of a task
        let parts = kv_heads.div_ceil(step);
        let rows = step * group;
        let (space, sums) = (rows * (d + CHUNK) + KEYS * d, Sums::floats(rows, d));
        // Sums of a part: over all chunks before the wave, then over each of the wave. Parts have at most as many rows as there are
        // heads, and all together less than twice as many.
        let heads = kv_heads.max(1) * group;
        let most =
            cpu.pool.threads() * (heads * (d + CHUNK) + KEYS * d) + problem.batch * (wave + 1) * Sums::floats(2 * heads, d);
        let mut scratch = cpu.heap.scratch(4 * most)?;
        let (spaces, all) = scratch.as_mut_slice::<f32>().split_at_mut(slots * space);
        let (spaces, all) = (Parts::new(spaces), Parts::new(all));
        let part_of = |part: usize| {
            let first = part % parts * step;
            (part / parts, first..(first + step).min(kv_heads))
        };
        for first in (0..chunks).step_by(wave) {
            let now = wave.min(chunks - first);
            // The first chunk of all has none before it.
            let place = |index: usize| if first == 0 { index } else { index + 1 };
            cpu.pool.run_slots(slots, problem.batch * parts * now, &|task, slot| {
                let (part, index) = (task / now, task % now);
                let (batch, heads) = part_of(part);
                let start = (first + index) * CHUNK;
                let keys = start..(start + CHUNK).min(problem.visible(batch, 0));
                // SAFETY: no two running tasks share a slot, nor does another task have these sums.
                let (own, sums) =
                    unsafe { (spaces.part(slot * space, space), all.part((part * (wave + 1) + place(index)) * sums, sums)) };
                let (queries, rest) = own.split_at_mut(rows * d);
                let (scores, band) = rest.split_at_mut(rows * CHUNK);
                let mut sums = Sums::new(sums, rows, d);
                sums.clear();
                self.decode_chunk(batch, heads, keys, Space { queries, scores, band }, sums);
            });
            cpu.pool.run_slots(slots, problem.batch * parts, &|part, _| {
                let (batch, heads) = part_of(part);
                // SAFETY: the sums of a part belong to its task.
                let of_part = unsafe { all.part(part * (wave + 1) * sums, (wave + 1) * sums) };
                let (before, of_wave) = of_part.split_at_mut(sums);
                let mut before = Sums::new(before, rows, d);
                let seen = problem.visible(batch, 0).div_ceil(CHUNK).saturating_sub(first).min(now);
                for next in of_wave.chunks_exact_mut(sums).take(place(seen).saturating_sub(1)) {
                    join(self.isa, before.of(0..rows, d), Sums::new(next, rows, d), d);
                }
                if first + now == chunks {
                    for (i, head) in heads.enumerate() {
                        self.finish((batch, head), 0..group, before.of(i * group..(i + 1) * group, d));
                    }
                }
            });
        }
        Ok(())
    }

    /// Sums over one chunk of keys for the queries of some key heads.
    fn decode_chunk(&self, batch: usize, heads: Range<usize>, keys: Range<usize>, space: Space<'_>, sums: Sums<'_>) {
        let (isa, d, group) = (self.isa, self.problem.head_dim, self.problem.group);
        let (lanes, count, rows) = (lanes(isa), keys.len(), heads.len() * group);
        if keys.is_empty() {
            return;
        }
        for (i, head) in heads.clone().enumerate() {
            self.problem.gather(isa, &self.q, (batch, head), 0..group, d, &mut space.queries[i * group * d..]);
        }
        // With the sign in the queries, the factor of the exponents is positive, as in a prompt, where keys have it.
        if self.problem.scale < 0.0 {
            super::negate(isa, &mut space.queries[..rows * d]);
        }
        let (k, v) = (self.k.all(batch, heads.start).from(keys.start), self.v.all(batch, heads.start).from(keys.start));
        for at in (0..count).step_by(lanes) {
            let left = (count - at).min(lanes);
            if left == lanes {
                score(isa, space.queries, group, k.from(at), heads.len(), d, &mut space.scores[at..]);
                continue;
            }
            for i in 0..heads.len() {
                copy_rows(isa, k.from(at).matrix(i), left, d, d, space.band);
                let band = HeadRows { start: space.band.as_ptr(), position: d, head: 0 };
                score(isa, &space.queries[i * group * d..], group, band, 1, d, &mut space.scores[i * group * CHUNK + at..]);
            }
        }
        let factor = (f64::from(self.problem.scale.abs()) * std::f64::consts::LOG2_E) as f32;
        for row in 0..rows {
            let (max, total) = (&mut sums.max[row..row + 1], &mut sums.total[row..row + 1]);
            weigh(isa, &mut space.scores[row * CHUNK..(row + 1) * CHUNK], &[count], factor, max, total);
        }
        for at in (0..count).step_by(KEYS) {
            add_values(isa, &space.scores[at..], (count - at).min(KEYS), group, v.from(at), heads.len(), d, sums.values);
        }
    }
}

/// Brings `len` elements near: a few lines of each of many rows are more streams than every processor follows by itself.
#[inline(always)]
fn prefetch_row<S: Simd, T>(s: S, from: *const T, len: usize) {
    for line in (0..len).step_by(64 / size_of::<T>()) {
        s.prefetch_l2(from.wrapping_add(line));
    }
}

/// Products of R queries of each of two heads with LANES of its keys: two heads, so that no chain waits for itself.
///
/// # Safety
/// R queries and LANES keys of `d` elements, a multiple of 8, are readable; R vectors, CHUNK apart, are writable.
#[inline(always)]
unsafe fn score_pair<S: Simd, T: Float, const R: usize>(
    s: S,
    queries: [*const f32; 2],
    keys: [*const T; 2],
    stride: usize,
    d: usize,
    to: [*mut f32; 2],
) {
    let ahead = S::LANES.div_ceil(d / 8); // rows per step
    let mut sums = [[s.zero(); R]; 2];
    // SAFETY: by contract.
    unsafe {
        for k in (0..d).step_by(8) {
            for h in 0..2 {
                for row in k / 8 * ahead..(k / 8 + 1) * ahead {
                    prefetch_row(s, keys[h].wrapping_add((S::LANES + row).wrapping_mul(stride)), d);
                }
                let columns = T::load_columns(s, keys[h].add(k), stride);
                for j in 0..8 {
                    for r in 0..R {
                        sums[h][r] = s.fma(s.splat(*queries[h].add(r * d + k + j)), columns[j], sums[h][r]);
                    }
                }
            }
        }
        for h in 0..2 {
            for r in 0..R {
                s.store(to[h].add(r * CHUNK), sums[h][r]);
            }
        }
    }
}

/// sums[r] += Σ_k weights[r, k]·values[k] for R rows and NV vectors.
///
/// # Safety
/// Weights of R rows, CHUNK apart, are readable, as are `count` rows of `values`; sums of R rows, `d` apart, are writable.
#[inline(always)]
unsafe fn add_tile<S: Simd, T: Float, const R: usize, const NV: usize>(
    s: S,
    weights: *const f32,
    count: usize,
    values: *const T,
    stride: usize,
    d: usize,
    to: *mut f32,
) {
    let mut sums = [[s.zero(); NV]; R];
    // SAFETY: by contract.
    unsafe {
        for r in 0..R {
            for j in 0..NV {
                sums[r][j] = s.load(to.add(r * d + j * S::LANES));
            }
        }
        for k in 0..count {
            prefetch_row(s, values.wrapping_add((KEYS + k).wrapping_mul(stride)), NV * S::LANES);
            let mut row = [s.zero(); NV];
            for j in 0..NV {
                row[j] = T::load(s, values.add(k * stride + j * S::LANES));
            }
            for r in 0..R {
                let weight = s.splat(*weights.add(r * CHUNK + k));
                for j in 0..NV {
                    sums[r][j] = s.fma(weight, row[j], sums[r][j]);
                }
            }
        }
        for r in 0..R {
            for j in 0..NV {
                s.store(to.add(r * d + j * S::LANES), sums[r][j]);
            }
        }
    }
}

/// `tile!(R, row)` for tiles of these sizes that cover the rows of a group, largest first.
macro_rules! for_rows {
    ($group:expr, $tile:ident, $($size:literal)+) => {
        let mut row = 0;
        $(while $group - row >= $size {
            $tile!($size, row);
            row += $size;
        })+
    };
}

simd_fn! {
    /// scores[h·group + r, ..LANES] = ⟨query r of head h, keys of head h⟩, scores [heads·group, CHUNK] and queries [heads·group, D].
    fn score[T: Float](s, queries: &[f32], group: usize, keys: HeadRows<T>, heads: usize, d: usize, scores: &mut [f32]) {
        assert!(d.is_multiple_of(8) && heads > 0 && group > 0);
        assert!(queries.len() >= heads * group * d && scores.len() >= (heads * group - 1) * CHUNK + S::LANES);
        for first in (0..heads).step_by(2) {
            let pair = [first, (first + 1).min(heads - 1)];
            macro_rules! tile {
                ($r:literal, $row:expr) => {
                    let row = pair.map(|h| h * group + $row);
                    // Both pointers from one: the last of an odd number of heads is its own partner.
                    let start = scores.as_mut_ptr();
                    let (queries, to) = (row.map(|r| queries[r * d..].as_ptr()), row.map(|r| start.wrapping_add(r * CHUNK)));
                    // SAFETY: LANES keys of these heads are readable, which the caller sees to; the rest has been measured.
                    unsafe { score_pair::<S, T, $r>(s, queries, pair.map(|h| keys.at(0, h)), keys.position, d, to) };
                };
            }
            for_rows!(group, tile, 8 4 2 1);
        }
    }

    /// sums[h·group + r] += Σ_k weights[h·group + r, k]·value k of head h over k < count, weights [heads·group, CHUNK] and sums
    /// [heads·group, D].
    fn add_values[T: Float](
        s, weights: &[f32], count: usize, group: usize, values: HeadRows<T>, heads: usize, d: usize, sums: &mut [f32],
    ) {
        assert!(d.is_multiple_of(S::LANES) && heads > 0 && group > 0);
        assert!(weights.len() >= (heads * group - 1) * CHUNK + count && sums.len() >= heads * group * d);
        for h in 0..heads {
            let start = values.at(0, h);
            macro_rules! tile {
                ($r:literal, $row:expr) => {
                    let row = h * group + $row;
                    let (weights, to) = (weights[row * CHUNK..].as_ptr(), sums[row * d..].as_mut_ptr());
                    let mut at = 0;
                    // SAFETY: `count` values of this head are readable, which the caller sees to; the rest has been measured.
                    unsafe {
                        while at + 4 * S::LANES <= d {
                            add_tile::<S, T, $r, 4>(s, weights, count, start.wrapping_add(at), values.position, d, to.add(at));
                            at += 4 * S::LANES;
                        }
                        while at < d {
                            add_tile::<S, T, $r, 1>(s, weights, count, start.wrapping_add(at), values.position, d, to.add(at));
                            at += S::LANES;
                        }
                    }
                };
            }
            for_rows!(group, tile, 4 2 1);
        }
    }
}
