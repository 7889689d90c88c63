//! Scaled dot-product attention: blocks of queries against chunks of keys.
//!
//! Chunks begin at multiples of [`CHUNK`] keys. Each chunk's weights and sums are computed by themselves and joined in order, so that
//! chunks may be spread over threads, and a query alone gets the same bits as among others, in a prompt or with a cache. Masked
//! keys are never multiplied with values, and their scores are skipped by whole vectors.

mod decode;
pub(crate) mod micro;
pub(crate) mod pack;
mod softmax;
pub(crate) mod tiles;

use crate::CpuBackend;
use crate::dtypes::{floats, with_float};
use crate::gemm::blocking::lanes;
use crate::memory::output;
use crate::simd::{Float, Isa};
use crate::threads::{Parts, SERIAL_WORK};
use kernels::ops::Attention;
use kernels::{Checked, DType, Launch, Layout, Op, Result, Support};
use micro::{Begin, ROWS, Right, Rows, SMALL_ROWS, Scores, multiply, multiply_staircase, tile_rows, vectors};
use pack::{band_floats, copy_rows, negate, pack_keys};
use softmax::{Sums, finish, join, weigh};
use std::f64::consts::LOG2_E;
use std::ops::Range;
use tiles::{BLOCK, CHUNK, Heads, Problem, narrow_rows, prefetch_row};

impl Launch<Attention<'_>> for CpuBackend {
    fn support(&self, dtype: DType) -> Support {
        floats(dtype)
    }

    fn launch(&self, args: Checked<Attention<'_>>) -> Result<()> {
        let args = args.into_inner();
        with_float!(Attention::NAME, args.q.dtype(), T => attention::<T>(self, args))
    }
}

/// Tasks per thread, so that the last ones are short.
const TASKS: usize = 8;

/// Sums of the rows of a task, in elements: they should stay in L2, beside a chunk of keys and values.
const TASK_SUMS: usize = 1 << 15;

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
    if forward.decodes() {
        return forward.decode(cpu);
    }
    let (rows, pairs) = (problem.rows(), problem.batch * problem.kv_heads);
    let wanted = TASKS * cpu.pool.threads();
    let serial = cpu.pool.threads() == 1 || problem.work() < SERIAL_WORK;
    if !serial && rows <= BLOCK && pairs < wanted && problem.seq_k > CHUNK {
        return forward.over_keys(cpu);
    }
    let share = (rows * pairs).div_ceil(wanted).clamp(2 * BLOCK, (TASK_SUMS / forward.width().max(1)).max(2 * BLOCK));
    let blocks = rows.div_ceil(share).max(1);
    let step = rows.div_ceil(blocks).next_multiple_of(BLOCK).max(1);
    let blocks = rows.div_ceil(step);
    let slots = if serial { 1 } else { cpu.pool.threads() };
    let floats = forward.space_floats() + forward.rows_floats(step.min(rows));
    let mut scratch = cpu.heap.scratch(4 * floats * slots)?;
    let parts = Parts::new(scratch.as_mut_slice::<f32>());
    cpu.pool.run_slots(slots, blocks * pairs, &|task, slot| {
        // Rows that see most keys come first, so that the last tasks are short.
        let (pair, block) = (task % pairs, blocks - 1 - task / pairs);
        // SAFETY: no two running tasks share a slot.
        let own = unsafe { parts.part(slot * floats, floats) };
        forward.rows((pair / problem.kv_heads, pair % problem.kv_heads), block * step..((block + 1) * step).min(rows), own);
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

/// Work space for one chunk.
struct Space<'s> {
    panels: &'s mut [f32], // [CHUNK / W][D, W]
    values: &'s mut [f32], // [CHUNK, width]
    scores: &'s mut [f32], // [BLOCK, CHUNK]
    band: &'s mut [f32],
    sums: &'s mut [f32], // of BLOCK rows
}

/// A chunk of keys and values.
struct Chunk<'s> {
    keys: Range<usize>,
    panels: &'s [f32],
    /// In f32, unless they are read where they lie.
    values: Right<f32>,
    in_place: bool,
}

/// Up to BLOCK rows, as they meet a chunk.
struct Block {
    rows: Range<usize>,
    /// Keys of the chunk each row sees; does not fall.
    visible: [usize; BLOCK],
    queries: [*const f32; BLOCK],
}

impl<T: Float> Forward<'_, T> {
    /// D rounded up to whole vectors.
    fn width(&self) -> usize {
        self.problem.head_dim.next_multiple_of(lanes(self.isa))
    }

    /// Whether tasks of `rows` rows read values where they lie.
    fn in_place(&self, rows: usize) -> bool {
        self.width() == self.problem.head_dim && rows <= if T::IS_F32 { 2 * ROWS } else { SMALL_ROWS }
    }

    fn space_floats(&self) -> usize {
        let (d, width) = (self.problem.head_dim, self.width());
        CHUNK * (d + width) + BLOCK * CHUNK + band_floats(lanes(self.isa), d) + Sums::floats(BLOCK, width)
    }

    fn space<'s>(&self, space: &'s mut [f32]) -> (Space<'s>, &'s mut [f32]) {
        let (d, width) = (self.problem.head_dim, self.width());
        let (panels, rest) = space.split_at_mut(CHUNK * d);
        let (values, rest) = rest.split_at_mut(CHUNK * width);
        let (scores, rest) = rest.split_at_mut(BLOCK * CHUNK);
        let (band, rest) = rest.split_at_mut(band_floats(lanes(self.isa), d));
        let (sums, rest) = rest.split_at_mut(Sums::floats(BLOCK, width));
        (Space { panels, values, scores, band, sums }, rest)
    }

    /// Elements of work space for the queries and sums of `rows` rows.
    fn rows_floats(&self, rows: usize) -> usize {
        self.queries_floats(rows) + Sums::floats(rows, self.width())
    }

    /// Elements of work space for the queries of `rows` rows: f32 is read where it lies.
    fn queries_floats(&self, rows: usize) -> usize {
        if T::IS_F32 { 0 } else { rows * self.problem.head_dim }
    }

    /// Output and log-sum-exp of `rows` of batch entry and key head `pair`.
    fn rows(&self, pair: (usize, usize), rows: Range<usize>, space: &mut [f32]) {
        let width = self.width();
        let (space, rest) = self.space(space);
        let (queries, rest) = rest.split_at_mut(self.queries_floats(rows.len()));
        let mut sums = Sums::new(rest, rows.len(), width);
        self.load_queries(pair, rows.clone(), queries);
        let seen = self.problem.visible(pair.0, rows.end.saturating_sub(1));
        for start in (0..seen).step_by(CHUNK) {
            let keys = start..(start + CHUNK).min(seen);
            let chunk = self.load(pair, keys, rows.len(), space.panels, space.values, space.band);
            for first in rows.clone().step_by(BLOCK) {
                let block = self.block(pair, first..(first + BLOCK).min(rows.end), &chunk.keys, queries, rows.start);
                let of_block = block.rows.start - rows.start..block.rows.end - rows.start;
                let more = self.problem.visible(pair.0, block.rows.end - 1) > chunk.keys.end;
                self.add(&block, &chunk, space.scores, space.sums, sums.of(of_block.clone(), width));
                if !more && block.visible[block.rows.len() - 1] > 0 {
                    self.finish(pair, block.rows, sums.of(of_block, width));
                }
            }
        }
        let blind =
            rows.clone().step_by(BLOCK).take_while(|first| self.problem.visible(pair.0, (first + BLOCK).min(rows.end) - 1) == 0);
        for first in blind {
            let last = (first + BLOCK).min(rows.end);
            let mut sums = sums.of(first - rows.start..last - rows.start, width);
            sums.clear();
            self.finish(pair, first..last, sums);
        }
    }

    /// Everything, for few rows and many keys: chunks are spread over the threads.
    fn over_keys(&self, cpu: &CpuBackend) -> Result<()> {
        let (problem, width) = (&self.problem, self.width());
        let (rows, slots) = (problem.rows(), cpu.pool.threads());
        let (pairs, chunks) = (problem.batch * problem.kv_heads, problem.seq_k.div_ceil(CHUNK));
        let (space, sums) = (self.space_floats() + self.queries_floats(rows), Sums::floats(rows, width));
        let mut scratch = cpu.heap.scratch(4 * (slots * space + pairs * chunks * sums))?;
        let (spaces, all) = scratch.as_mut_slice::<f32>().split_at_mut(slots * space);
        let (spaces, all) = (Parts::new(spaces), Parts::new(all));
        let pair_of = |pair: usize| (pair / problem.kv_heads, pair % problem.kv_heads);
        cpu.pool.run_slots(slots, pairs * chunks, &|task, slot| {
            let (pair, start) = (pair_of(task / chunks), task % chunks * CHUNK);
            let keys = start..(start + CHUNK).min(problem.visible(pair.0, rows - 1));
            // SAFETY: no two running tasks share a slot, nor does another task have these sums.
            let (own, sums) = unsafe { (spaces.part(slot * space, space), all.part(task * sums, sums)) };
            let mut sums = Sums::new(sums, rows, width);
            sums.clear();
            if keys.is_empty() {
                return;
            }
            let (space, queries) = self.space(own);
            self.load_queries(pair, 0..rows, queries);
            let chunk = self.load(pair, keys, rows, space.panels, space.values, space.band);
            let block = self.block(pair, 0..rows, &chunk.keys, queries, 0);
            self.multiply(&block, &chunk, space.scores, &mut sums);
        });
        cpu.pool.run_slots(slots, pairs, &|task, _| {
            let pair = pair_of(task);
            // SAFETY: the sums of a pair belong to its task.
            let of_pair = unsafe { all.part(task * chunks * sums, chunks * sums) };
            let (first, rest) = of_pair.split_at_mut(sums);
            let mut first = Sums::new(first, rows, width);
            for (index, next) in rest.chunks_exact_mut(sums).enumerate() {
                let start = (index + 1) * CHUNK;
                let blind = (0..rows).take_while(|&row| problem.visible(pair.0, row) <= start).count();
                join(self.isa, first.of(blind..rows, width), Sums::new(next, rows, width).of(blind..rows, width), width);
            }
            self.finish(pair, 0..rows, first);
        });
        Ok(())
    }

    /// Copies queries that are not f32.
    fn load_queries(&self, pair: (usize, usize), rows: Range<usize>, to: &mut [f32]) {
        if !T::IS_F32 {
            self.problem.gather(self.isa, &self.q, pair, rows, self.problem.head_dim, to);
        }
    }

    /// Prepares a chunk of keys.
    fn load<'s>(
        &self,
        pair: (usize, usize),
        keys: Range<usize>,
        rows: usize,
        panels: &'s mut [f32],
        values: &'s mut [f32],
        band: &mut [f32],
    ) -> Chunk<'s> {
        let (d, width) = (self.problem.head_dim, self.width());
        let (k, v) = (self.k.matrix(pair.0, pair.1).from(keys.start, 0), self.v.matrix(pair.0, pair.1).from(keys.start, 0));
        pack_keys(self.isa, k, keys.len(), d, band, panels);
        // With the sign in the keys, the factor of the exponents is positive and the largest product has the largest weight.
        if self.problem.scale < 0.0 {
            negate(self.isa, panels);
        }
        let in_place = self.in_place(rows);
        let values = if in_place {
            Right { start: v.start.cast(), stride: v.row_stride }
        } else {
            copy_rows(self.isa, v, keys.len(), d, width, values);
            Right { start: values.as_ptr(), stride: width }
        };
        Chunk { keys, panels, values, in_place }
    }

    /// What `rows` are to the chunk of `keys`; `queries` are copies from row `first` on.
    fn block(&self, pair: (usize, usize), rows: Range<usize>, keys: &Range<usize>, queries: &[f32], first: usize) -> Block {
        let (group, d) = (self.problem.group, self.problem.head_dim);
        let of_pair = self.q.all(pair.0, pair.1 * group);
        let mut block = Block { rows: rows.clone(), visible: [0; BLOCK], queries: [std::ptr::null(); BLOCK] };
        let (mut t, mut h) = (rows.start / group, rows.start % group);
        let seen = |t| self.problem.visible_at(pair.0, t).saturating_sub(keys.start).min(keys.len());
        let mut visible = seen(t);
        for (i, row) in rows.enumerate() {
            block.visible[i] = visible;
            if queries.is_empty() {
                prefetch_row(of_pair.at(t + BLOCK.div_ceil(group), h), d);
            }
            block.queries[i] = match queries.is_empty() {
                true => of_pair.at(t, h).cast(),
                false => queries[(row - first) * d..].as_ptr(),
            };
            h += 1;
            if h == group {
                (t, h) = (t + 1, 0);
                visible = seen(t);
            }
        }
        block
    }

    /// Joins a chunk to the sums of a block over the keys before.
    fn add(&self, block: &Block, chunk: &Chunk<'_>, scores: &mut [f32], space: &mut [f32], mut sums: Sums<'_>) {
        let (count, width) = (block.rows.len(), self.width());
        if block.visible[count - 1] == 0 {
            return;
        }
        let blind = block.visible[..count].iter().take_while(|&&visible| visible == 0).count();
        if chunk.keys.start == 0 {
            sums.of(0..blind, width).clear();
            return self.multiply(block, chunk, scores, &mut sums);
        }
        let mut next = Sums::new(space, count, width);
        self.multiply(block, chunk, scores, &mut next);
        join(self.isa, sums.of(blind..count, width), next.of(blind..count, width), width);
    }

    /// Products of the rows of a block, from `blind` on, with the packed keys they see.
    fn score(&self, block: &Block, chunk: &Chunk<'_>, blind: usize, scores: &mut [f32]) {
        let (isa, d, lanes) = (self.isa, self.problem.head_dim, lanes(self.isa));
        let (strip, count, visible) = (vectors(lanes) * lanes, block.rows.len(), &block.visible);
        for start in (0..chunk.keys.len()).step_by(strip) {
            let right = Right { start: chunk.panels[start * d..].as_ptr(), stride: strip };
            let mut i = blind;
            while i < count {
                let rows = tile_rows(count - i);
                let seen = visible[i + rows - 1].saturating_sub(start).min(strip);
                if seen > 0 {
                    let left = Rows(block.queries[i..i + rows].as_ptr());
                    let to = scores[i * CHUNK + start..(i + rows) * CHUNK].as_mut_ptr();
                    // SAFETY: the queries have D elements, the panel D rows; the tile lies within the scores.
                    unsafe { multiply(isa, (rows, seen.div_ceil(lanes)), left, right, d, to, CHUNK) };
                }
                i += rows;
            }
        }
    }

    /// The sums of a block over one chunk, for the rows that see any of it.
    fn multiply(&self, block: &Block, chunk: &Chunk<'_>, scores: &mut [f32], sums: &mut Sums<'_>) {
        let (isa, width) = (self.isa, self.width());
        let lanes = lanes(isa);
        let (count, visible) = (block.rows.len(), &block.visible[..block.rows.len()]);
        let blind = visible.iter().take_while(|&&visible| visible == 0).count();
        self.score(block, chunk, blind, scores);
        let factor = (f64::from(self.problem.scale.abs()) * LOG2_E) as f32;
        let of = blind * CHUNK..count * CHUNK;
        weigh(isa, &mut scores[of], &visible[blind..], factor, &mut sums.max[blind..count], &mut sums.total[blind..count]);
        let all = width / lanes;
        let step = all.div_ceil(all.div_ceil(vectors(lanes)).max(1)).max(1); // vectors of a strip of values
        for first in (0..all).step_by(step) {
            let columns = first * lanes;
            let mut i = blind;
            while i < count {
                let rows = tile_rows(count - i);
                let weights = Scores::<CHUNK, 1>(scores[i * CHUNK..(i + rows) * CHUNK].as_ptr());
                let to = sums.values[i * width + columns..(i + rows) * width].as_mut_ptr();
                let (size, ends, Right { start, stride }) = ((rows, step.min(all - first)), &visible[i..], chunk.values);
                // SAFETY: rows see no more keys than the chunk has; the values have whole vectors; the tile lies within the sums.
                unsafe {
                    if chunk.in_place {
                        let right = Right { start: start.cast::<T>().wrapping_add(columns), stride };
                        multiply_staircase(isa, size, weights, right, ends, Begin::Zero, to, width);
                    } else {
                        let right = Right { start: start.wrapping_add(columns), stride };
                        multiply_staircase(isa, size, weights, right, ends, Begin::Zero, to, width);
                    }
                }
                i += rows;
            }
        }
    }

    /// Writes what `rows` have summed.
    fn finish(&self, pair: (usize, usize), rows: Range<usize>, sums: Sums<'_>) {
        let (d, width, group) = (self.problem.head_dim, self.width(), self.problem.group);
        let place = |layout: &Layout, [batch, t, h]: [usize; 3]| {
            let strides = layout.strides();
            (layout.offset() + pair.0 * strides[batch] + pair.1 * group * strides[h], strides[t], strides[h])
        };
        let (start, t_stride, h_stride) = place(&self.out_layout, [0, 1, 2]);
        let lse = self.lse_layout.as_ref().map(|layout| place(layout, [0, 2, 1]));
        let mut out = [std::ptr::null_mut(); BLOCK];
        let (mut t, mut h) = (rows.start / group, rows.start % group);
        for i in 0..rows.len() {
            if d > 0 {
                // SAFETY: each row of the output belongs to one task.
                out[i] = unsafe { self.out.part(start + t * t_stride + h * h_stride, d) }.as_mut_ptr();
                prefetch_row(out[i], d);
            }
            h += 1;
            if h == group {
                (t, h) = (t + 1, 0);
            }
        }
        finish(self.isa, sums.max, sums.total);
        if let Some((start, t_stride, h_stride)) = lse {
            for (row, &lse) in rows.clone().zip(&*sums.max) {
                // SAFETY: as above.
                let to = unsafe { self.lse.part(start + row / group * t_stride + row % group * h_stride, 1) };
                to[0] = lse;
            }
        }
        if d > 0 {
            narrow_rows(self.isa, sums.values, width, d, sums.total, &out[..rows.len()]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{Noise, backends, buffer, values};
    use half::bf16;
    use kernels::Op;
    use kernels::ops::Mask;

    /// Bits of the output and of the log-sum-exp.
    fn run<T: Float>(cpu: &CpuBackend, [q, k]: [[usize; 4]; 2], scale: f32, [qs, ks, vs]: [&[f32]; 3]) -> [Vec<u32>; 2] {
        let (mut out, mut lse) = (buffer::<T>(cpu, qs), buffer::<f32>(cpu, &vec![0.0; q[1] * q[2]]));
        let (qs, ks, vs) = (buffer::<T>(cpu, qs), buffer::<T>(cpu, ks), buffer::<T>(cpu, vs));
        let (q_view, k_view, v_view) = (qs.view(q).unwrap(), ks.view(k).unwrap(), vs.view(k).unwrap());
        let (to, lse_to) = (out.view_mut(q).unwrap(), Some(lse.view_mut([1, q[2], q[1]]).unwrap()));
        let mask = Mask::Causal;
        Attention { q: q_view, k: k_view, v: v_view, lengths: None, mask, scale, out: to, lse: lse_to }.run(cpu).unwrap();
        let bits = |values: Vec<f32>| values.into_iter().map(f32::to_bits).collect();
        [bits(values::<T>(&out).into_iter().map(T::to_f32).collect()), bits(values::<f32>(&lse))]
    }

    #[test]
    fn no_query_heads_over_some_key_heads_do_nothing() {
        for cpu in backends(&[1, 2]) {
            for seq_q in [1, 3] {
                run::<f32>(&cpu, [[1, seq_q, 0, 16], [1, 5, 2, 16]], 1.0, [&[], &[0.0; 160], &[0.0; 160]]);
            }
        }
    }

    /// More chunks than a wave of several threads has; one thread takes them one by one, as a prompt does.
    #[test]
    fn waves_of_chunks_change_no_bit_of_a_decode_step() {
        let (seq, heads, d) = (5000, 2, 64);
        let mut noise = Noise::new(11);
        let (q, k, v) = (noise.vec(heads * d), noise.vec(seq * heads * d), noise.vec(seq * heads * d));
        let shapes = [[1, 1, heads, d], [1, seq, heads, d]];
        for alone in backends(&[1]) {
            let wanted = run::<f32>(&alone, shapes, 0.3, [&q, &k, &v]);
            for cpu in backends(&[2, 3]).into_iter().filter(|cpu| cpu.isa().name() == alone.isa().name()) {
                assert_eq!(run::<f32>(&cpu, shapes, 0.3, [&q, &k, &v]), wanted, "{}", cpu.isa().name());
            }
        }
    }

    #[test]
    fn a_query_alone_gets_the_bits_it_has_in_a_prompt() {
        fn check<T: Float>(cpu: &CpuBackend, [seq, heads, kv_heads, d]: [usize; 4], scale: f32) {
            let mut noise = Noise::new(7);
            let (q, k, v) = (noise.vec(seq * heads * d), noise.vec(seq * kv_heads * d), noise.vec(seq * kv_heads * d));
            let all = run::<T>(cpu, [[1, seq, heads, d], [1, seq, kv_heads, d]], scale, [&q, &k, &v]);
            for t in [0, 15, 255, 256, seq - 1] {
                let (row, keys) = (t * heads * d..(t + 1) * heads * d, (t + 1) * kv_heads * d);
                let shapes = [[1, 1, heads, d], [1, t + 1, kv_heads, d]];
                let alone = run::<T>(cpu, shapes, scale, [&q[row.clone()], &k[..keys], &v[..keys]]);
                assert_eq!(alone[0], all[0][row], "query {t} of {seq}, {heads} heads of {d}");
                assert!((0..heads).all(|h| alone[1][h] == all[1][h * seq + t]), "log-sum-exp of query {t}");
            }
        }
        for cpu in backends(&[1, 2]) {
            for (shape, scale) in [([530, 2, 2, 64], 0.2), ([300, 6, 2, 40], -0.2), ([270, 1, 1, 59], 0.3)] {
                check::<f32>(&cpu, shape, scale);
                check::<bf16>(&cpu, shape, scale);
            }
        }
    }
}
