//! Gradient of attention, in two passes over the same tiles of scores: by rows for dq, by keys for dk and dv. Every sum runs in a
//! fixed order, and masked pairs are never multiplied.

use crate::CpuBackend;
use crate::attention::tiles::{Heads, Problem, dot, narrow_row};
use crate::dtypes::{floats, with_float};
use crate::gemm::blocking::{lanes, mr};
use crate::gemm::micro::Before;
use crate::gemm::pack::{Strided, pack_columns};
use crate::gemm::{Size, add_product};
use crate::memory::{input, output};
use crate::simd::{Float, Isa, load, math, simd_fn, store};
use crate::threads::{Parts, SERIAL_WORK};
use kernels::ops::AttentionBackward;
use kernels::{Checked, DType, Launch, Layout, Op, Result, Support};
use std::ops::Range;

impl Launch<AttentionBackward<'_>> for CpuBackend {
    fn support(&self, dtype: DType) -> Support {
        floats(dtype)
    }

    fn launch(&self, args: Checked<AttentionBackward<'_>>) -> Result<()> {
        let args = args.into_inner();
        with_float!(AttentionBackward::NAME, args.q.dtype(), T => backward::<T>(self, args))
    }
}

/// Keys of a chunk.
const CHUNK: usize = 96;

/// Rows of a block: both copies and both tiles of scores should stay in L2.
fn rows_of_block(head_dim: usize) -> usize {
    (16_384 / head_dim.max(1)).clamp(8, 64)
}

fn backward<T: Float>(cpu: &CpuBackend, args: AttentionBackward<'_>) -> Result<()> {
    let problem = Problem::new(&args.q, &args.k, &args.lengths, args.mask, args.scale)?;
    let backward = Backward {
        isa: cpu.isa,
        problem,
        q: Heads::<T>::new(&args.q)?,
        k: Heads::new(&args.k)?,
        v: Heads::new(&args.v)?,
        out: Heads::new(&args.out)?,
        dout: Heads::new(&args.dout)?,
        lse: (input(&args.lse)?, *args.lse.layout()),
    };
    let (dq_layout, dk_layout, dv_layout) = (*args.dq.layout(), *args.dk.layout(), *args.dv.layout());
    let (dq, dk, dv) = (output::<T>(args.dq)?, output::<T>(args.dk)?, output::<T>(args.dv)?);
    let (dq, dk, dv) = (Gradient::new(dq, dq_layout), Gradient::new(dk, dk_layout), Gradient::new(dv, dv_layout));
    let rows = rows_of_block(problem.head_dim).min(problem.rows()).max(1);
    let (blocks, chunks) = (problem.rows().div_ceil(rows), problem.seq_k.div_ceil(CHUNK));
    let pairs = problem.batch * problem.kv_heads;
    let slots = if problem.work() < SERIAL_WORK { 1 } else { cpu.pool.threads() };
    let floats = backward.scratch_floats(rows);
    let mut scratch = cpu.heap.scratch(4 * floats * slots)?;
    let parts = Parts::new(scratch.as_mut_slice::<f32>());
    cpu.pool.run_slots(slots, (blocks + chunks) * pairs, &|task, slot| {
        let (pair, index) = (task % pairs, task / pairs);
        let pair = (pair / problem.kv_heads, pair % problem.kv_heads);
        // SAFETY: no two running tasks share a slot.
        let own = unsafe { parts.part(slot * floats, floats) };
        if index < chunks {
            let keys = index * CHUNK..((index + 1) * CHUNK).min(problem.seq_k);
            backward.keys(pair, keys, rows, &dk, &dv, own);
        } else {
            let block = blocks - 1 - (index - chunks);
            backward.queries(pair, block * rows..((block + 1) * rows).min(problem.rows()), &dq, own);
        }
    });
    Ok(())
}

/// One of the outputs.
struct Gradient<'a, T> {
    parts: Parts<'a, T>,
    layout: Layout,
}

impl<'a, T: Float> Gradient<'a, T> {
    fn new(data: &'a mut [T], layout: Layout) -> Self {
        Gradient { parts: Parts::new(data), layout }
    }

    /// Writes factor · row to (b, t, h).
    ///
    /// # Safety
    /// No other task writes this row.
    unsafe fn write(&self, isa: Isa, [b, t, h]: [usize; 3], row: &[f32], factor: f32) {
        if row.is_empty() {
            return;
        }
        let strides = self.layout.strides();
        let at = self.layout.offset() + b * strides[0] + t * strides[1] + h * strides[2];
        // SAFETY: by contract.
        narrow_row(isa, row, factor, unsafe { self.parts.part(at, row.len()) });
    }
}

struct Backward<'a, T> {
    isa: Isa,
    problem: Problem<'a>,
    q: Heads<'a, T>,
    k: Heads<'a, T>,
    v: Heads<'a, T>,
    out: Heads<'a, T>,
    dout: Heads<'a, T>,
    lse: (&'a [f32], Layout),
}

/// Copies of some rows and of a chunk of keys, and the tiles of scores between them.
struct Tiles<'s> {
    q: &'s mut [f32],      // [rows, D]
    dout: &'s mut [f32],   // [rows, D]
    delta: &'s mut [f32],  // [rows]
    lse: &'s mut [f32],    // [rows]
    keys: &'s mut [f32],   // [D, CHUNK]
    values: &'s mut [f32], // [D, CHUNK]
    p: &'s mut [f32],      // [rows, CHUNK]
    ds: &'s mut [f32],     // [rows, CHUNK]
    rest: &'s mut [f32],
}

impl<T: Float> Backward<'_, T> {
    fn width(&self) -> usize {
        self.problem.head_dim.next_multiple_of(lanes(self.isa))
    }

    fn scratch_floats(&self, rows: usize) -> usize {
        let (d, width) = (self.problem.head_dim, self.width());
        rows * (2 * d + 2 + 2 * CHUNK) + 2 * d * CHUNK + (2 * CHUNK).max(rows + CHUNK) * width + rows * d
    }

    fn tiles<'s>(&self, rows: usize, scratch: &'s mut [f32]) -> Tiles<'s> {
        let d = self.problem.head_dim;
        let (q, rest) = scratch.split_at_mut(rows * d);
        let (dout, rest) = rest.split_at_mut(rows * d);
        let (delta, rest) = rest.split_at_mut(rows);
        let (lse, rest) = rest.split_at_mut(rows);
        let (keys, rest) = rest.split_at_mut(d * CHUNK);
        let (values, rest) = rest.split_at_mut(d * CHUNK);
        let (p, rest) = rest.split_at_mut(rows * CHUNK);
        let (ds, rest) = rest.split_at_mut(rows * CHUNK);
        Tiles { q, dout, delta, lse, keys, values, p, ds, rest }
    }

    fn load_rows(&self, pair: (usize, usize), rows: Range<usize>, tiles: &mut Tiles<'_>) {
        let (problem, d) = (&self.problem, self.problem.head_dim);
        problem.gather(self.isa, &self.q, pair, rows.clone(), d, tiles.q);
        // The output is needed for delta alone: its copy uses the place of the gradient's first.
        problem.gather(self.isa, &self.out, pair, rows.clone(), d, tiles.dout);
        let copies = rows.len() * d;
        tiles.rest[..copies].copy_from_slice(&tiles.dout[..copies]);
        problem.gather(self.isa, &self.dout, pair, rows.clone(), d, tiles.dout);
        for (i, row) in rows.enumerate() {
            let of_row = i * d..(i + 1) * d;
            tiles.delta[i] = dot(self.isa, &tiles.dout[of_row.clone()], &tiles.rest[of_row]);
            let (lse, layout) = &self.lse;
            let (t, h) = (row / problem.group, pair.1 * problem.group + row % problem.group);
            let strides = layout.strides();
            tiles.lse[i] = lse[layout.offset() + pair.0 * strides[0] + h * strides[1] + t * strides[2]];
        }
    }

    fn load_keys(&self, pair: (usize, usize), keys: Range<usize>, tiles: &mut Tiles<'_>) {
        let (k, v) = (self.k.matrix(pair.0, pair.1), self.v.matrix(pair.0, pair.1));
        pack_columns(self.isa, k.transposed(), 0..self.problem.head_dim, keys.clone(), CHUNK, tiles.keys);
        pack_columns(self.isa, v.transposed(), 0..self.problem.head_dim, keys, CHUNK, tiles.values);
    }

    /// p = exp(scale·⟨q, k⟩ − lse) and ds = p·(⟨dout, v⟩ − delta) between the rows and the keys that are loaded.
    fn scores(&self, pair: (usize, usize), rows: Range<usize>, keys: &Range<usize>, tiles: &mut Tiles<'_>) {
        let d = self.problem.head_dim;
        let size = Size { m: rows.len(), n: keys.len(), k: d };
        // SAFETY: the copies hold all rows, the panels D rows of the chunk's keys.
        unsafe {
            let (q, dout) = (Strided::new(tiles.q, 0, d, 1), Strided::new(tiles.dout, 0, d, 1));
            add_product(self.isa, size, q, Strided::new(tiles.keys, 0, CHUNK, 1), tiles.p, CHUNK, Before::Zero);
            add_product(self.isa, size, dout, Strided::new(tiles.values, 0, CHUNK, 1), tiles.ds, CHUNK, Before::Zero);
        }
        for (i, row) in rows.enumerate() {
            let of_row = i * CHUNK..i * CHUNK + self.problem.visible_in(pair.0, row, keys);
            let (p, ds) = (&mut tiles.p[of_row.clone()], &mut tiles.ds[of_row]);
            softmax_gradient(self.isa, p, ds, self.problem.scale, tiles.lse[i], tiles.delta[i]);
        }
    }

    /// dq of `rows`: over the chunks of keys they see.
    fn queries(&self, pair: (usize, usize), rows: Range<usize>, dq: &Gradient<'_, T>, scratch: &mut [f32]) {
        let (d, width) = (self.problem.head_dim, self.width());
        let mut tiles = self.tiles(rows.len(), scratch);
        self.load_rows(pair, rows.clone(), &mut tiles);
        let seen = self.problem.visible(pair.0, rows.end - 1);
        tiles.rest[..rows.len() * width].fill(0.0);
        for start in (0..seen).step_by(CHUNK) {
            let keys = start..(start + CHUNK).min(seen);
            self.load_keys(pair, keys.clone(), &mut tiles);
            self.scores(pair, rows.clone(), &keys, &mut tiles);
            let (sums, copy) = tiles.rest.split_at_mut(rows.len() * width); // [rows, width], [CHUNK, width]
            let k = self.k.matrix(pair.0, pair.1);
            let k = match k.as_f32() {
                Some(k) => k.from(start, 0),
                None => {
                    pack_columns(self.isa, k, keys.clone(), 0..d, width, copy);
                    Strided::new(copy, 0, width, 1)
                }
            };
            let visible = |i: usize| self.problem.visible_in(pair.0, rows.start + i, &keys);
            // SAFETY: ds holds all rows, k all keys of the chunk.
            unsafe { add_staircase(self.isa, 0..rows.len(), d, Strided::new(tiles.ds, 0, CHUNK, 1), k, &visible, sums, width) };
        }
        for (i, row) in rows.enumerate() {
            let to = [pair.0, row / self.problem.group, pair.1 * self.problem.group + row % self.problem.group];
            // SAFETY: each row belongs to one task of this pass.
            unsafe { dq.write(self.isa, to, &tiles.rest[i * width..i * width + d], self.problem.scale) };
        }
    }

    /// dk and dv of `keys`: over the blocks of `step` rows that see them.
    fn keys(
        &self,
        pair: (usize, usize),
        keys: Range<usize>,
        step: usize,
        dk: &Gradient<'_, T>,
        dv: &Gradient<'_, T>,
        scratch: &mut [f32],
    ) {
        let (d, width, mr) = (self.problem.head_dim, self.width(), mr(lanes(self.isa)));
        let mut tiles = self.tiles(step, scratch);
        self.load_keys(pair, keys.clone(), &mut tiles);
        let kept = step * d; // of `rest`, which loading rows uses
        tiles.rest[kept..kept + 2 * keys.len() * width].fill(0.0);
        for first in (0..self.problem.rows()).step_by(step) {
            let rows = first..(first + step).min(self.problem.rows());
            let visible = |i: usize| self.problem.visible_in(pair.0, rows.start + i, &keys);
            if visible(rows.len() - 1) == 0 {
                continue;
            }
            self.load_rows(pair, rows.clone(), &mut tiles);
            self.scores(pair, rows.clone(), &keys, &mut tiles);
            let (sums_k, sums_v) = tiles.rest[kept..].split_at_mut(keys.len() * width);
            for (weights, factor, sums) in [(&*tiles.ds, &*tiles.q, sums_k), (&*tiles.p, &*tiles.dout, sums_v)] {
                let (weights, factor) = (Strided::new(weights, 0, 1, CHUNK), Strided::new(factor, 0, d, 1)); // [CHUNK, rows], [rows, D]
                // First row that sees key j of the chunk; none does after the last.
                let seer = |j: usize| (0..rows.len()).find(|&i| visible(i) > j).unwrap_or(rows.len());
                for j in (0..keys.len()).step_by(mr) {
                    let last = (j + mr).min(keys.len()) - 1;
                    let shared = seer(last);
                    let size = Size { m: last + 1 - j, n: d, k: rows.len() - shared };
                    // SAFETY: the tiles hold these rows and keys.
                    unsafe {
                        for one in j..last {
                            let from = seer(one);
                            let size = Size { m: 1, n: d, k: shared - from };
                            if size.k > 0 {
                                let to = &mut sums[one * width..];
                                add_product(
                                    self.isa,
                                    size,
                                    weights.from(one, from),
                                    factor.from(from, 0),
                                    to,
                                    width,
                                    Before::Sum,
                                );
                            }
                        }
                        let to = &mut sums[j * width..];
                        add_product(self.isa, size, weights.from(j, shared), factor.from(shared, 0), to, width, Before::Sum);
                    }
                }
            }
        }
        let (sums_k, sums_v) = tiles.rest[kept..].split_at(keys.len() * width);
        for (j, s) in keys.clone().enumerate() {
            let row = j * width..j * width + d;
            // SAFETY: each key belongs to one task of this pass.
            unsafe {
                dk.write(self.isa, [pair.0, s, pair.1], &sums_k[row.clone()], self.problem.scale);
                dv.write(self.isa, [pair.0, s, pair.1], &sums_v[row], 1.0);
            }
        }
    }
}

/// sums[i] += Σ_k weights[i, k] · values[k] over the first visible(i) of k, which does not fall with i.
///
/// # Safety
/// `weights` has the rows of `rows` and their visible columns; `values` has as many rows of `d` columns.
#[allow(clippy::too_many_arguments, reason = "a kernel's operands")]
unsafe fn add_staircase(
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
    /// Turns scores into p and ⟨dout, v⟩ into ds, in place.
    fn softmax_gradient(s, p: &mut [f32], ds: &mut [f32], scale: f32, lse: f32, delta: f32) {
        for at in (0..p.len()).step_by(S::LANES) {
            let score = load(s, p, at) * s.splat(scale);
            let probability = math::exp(s, score - s.splat(lse));
            store(s, ds, at, probability * (load(s, ds, at) - s.splat(delta)));
            store(s, p, at, probability);
        }
    }
}
