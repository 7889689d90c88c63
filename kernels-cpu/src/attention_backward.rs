//! Gradient of attention over the tiles of the forward pass: the weights of a block of rows and a chunk of keys are computed again
//! from the log-sum-exp.
//!
//! Every sum is one chain: dq over rising keys, dk and dv over rising rows. So a pair of batch entry and key head may be one task
//! that computes each weight once, or many: some for dq by rows, some for dk and dv by keys; the bits are the same.

mod block;

use crate::CpuBackend;
use crate::attention::tiles::{AHEAD, Heads, Problem, dot, narrow_rows, prefetch_row};
use crate::dtypes::{floats, with_float};
use crate::gemm::blocking::lanes;
use crate::memory::{input, output};
use crate::simd::{Float, Isa};
use crate::threads::{Parts, SERIAL_WORK};
use block::{BLOCK, Block, Chunk, Space};
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

/// Rows of a task that computes dq alone: packing keys is little beside their products.
const TASK_ROWS: usize = 4 * BLOCK;

/// Products of all tasks when each computes all gradients of a pair, and when rows and keys are tasks of their own.
const TOGETHER: usize = 5;
const APART: usize = 7;

fn backward<T: Float>(cpu: &CpuBackend, args: AttentionBackward<'_>) -> Result<()> {
    let problem = Problem::new(&args.q, &args.k, &args.lengths, args.mask, args.scale)?;
    let (dq_layout, dk_layout, dv_layout) = (*args.dq.layout(), *args.dk.layout(), *args.dv.layout());
    let (dq, dk, dv) = (output::<T>(args.dq)?, output::<T>(args.dk)?, output::<T>(args.dv)?);
    let backward = Backward {
        isa: cpu.isa,
        problem,
        q: Heads::<T>::new(&args.q)?,
        k: Heads::new(&args.k)?,
        v: Heads::new(&args.v)?,
        out: Heads::new(&args.out)?,
        dout: Heads::new(&args.dout)?,
        lse: (input(&args.lse)?, *args.lse.layout()),
        dq: Gradient::new(dq, dq_layout),
        dk: Gradient::new(dk, dk_layout),
        dv: Gradient::new(dv, dv_layout),
    };
    let (rows, keys, pairs) = (problem.rows(), problem.seq_k, problem.batch * problem.kv_heads);
    let slots = if problem.work() < SERIAL_WORK { 1 } else { cpu.pool.threads() };
    let together = slots == 1 || TOGETHER * pairs.next_multiple_of(slots) <= APART * pairs;
    let chunk = block::keys_of_chunk(problem.head_dim);
    let (by_keys, by_rows) = if together { (1, 0) } else { (keys.div_ceil(chunk), rows.div_ceil(TASK_ROWS)) };
    let floats = backward.floats(if together { rows } else { rows.min(TASK_ROWS) }, rows);
    let mut scratch = cpu.heap.scratch(4 * floats * slots)?;
    let parts = Parts::new(scratch.as_mut_slice::<f32>());
    cpu.pool.run_slots(slots, (by_keys + by_rows) * pairs, &|task, slot| {
        let (pair, index) = (task % pairs, task / pairs);
        let pair = (pair / problem.kv_heads, pair % problem.kv_heads);
        // SAFETY: no two running tasks share a slot.
        let own = unsafe { parts.part(slot * floats, floats) };
        if together {
            backward.task(pair, 0..rows, 0..keys, Wanted::All, own);
        } else if index < by_keys {
            backward.task(pair, 0..rows, index * chunk..((index + 1) * chunk).min(keys), Wanted::OfKeys, own);
        } else {
            // Rows that see most keys come first, so that the last tasks are short.
            let first = (by_rows - 1 - (index - by_keys)) * TASK_ROWS;
            backward.task(pair, first..(first + TASK_ROWS).min(rows), 0..keys, Wanted::OfRows, own);
        }
    });
    Ok(())
}

/// What a task computes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wanted {
    All,
    /// dk and dv.
    OfKeys,
    /// dq.
    OfRows,
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

    /// Writes factor · rows, `width` elements apart, to head `h` + row % `group` of positions row / `group`.
    ///
    /// # Safety
    /// No other task writes these rows.
    #[allow(clippy::too_many_arguments, reason = "what, where and how")]
    unsafe fn write(
        &self,
        isa: Isa,
        (b, h, group): (usize, usize, usize),
        rows: Range<usize>,
        from: &[f32],
        width: usize,
        d: usize,
        factor: f32,
    ) {
        if d == 0 {
            return;
        }
        let strides = self.layout.strides();
        let start = self.layout.offset() + b * strides[0] + h * strides[2];
        for (first, from) in rows.clone().step_by(BLOCK).zip(from.chunks(BLOCK * width)) {
            let mut to = [std::ptr::null_mut(); BLOCK];
            let count = BLOCK.min(rows.end - first);
            for (to, row) in to.iter_mut().zip(first..first + count) {
                let at = start + row / group * strides[1] + row % group * strides[2];
                // SAFETY: by contract.
                *to = unsafe { self.parts.part(at, d) }.as_mut_ptr();
                prefetch_row(*to, d);
            }
            narrow_rows(isa, from, width, d, &[factor; BLOCK], &to[..count]);
        }
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
    dq: Gradient<'a, T>,
    dk: Gradient<'a, T>,
    dv: Gradient<'a, T>,
}

impl<T: Float> Backward<'_, T> {
    /// D rounded up to whole vectors.
    fn width(&self) -> usize {
        self.problem.head_dim.next_multiple_of(lanes(self.isa))
    }

    /// Elements of work space of a task that has `rows` rows, or with all rows but without dq, `all`.
    fn floats(&self, rows: usize, all: usize) -> usize {
        2 * all + rows * self.width() + Space::floats(self.isa, self.problem.head_dim, self.width())
    }

    /// The gradients that are wanted of `rows` and `keys`, over all pairs of one and the other.
    fn task(&self, pair: (usize, usize), rows: Range<usize>, keys: Range<usize>, wanted: Wanted, scratch: &mut [f32]) {
        let (isa, problem, d, width) = (self.isa, &self.problem, self.problem.head_dim, self.width());
        let group = problem.group;
        let (lse, rest) = scratch.split_at_mut(rows.len());
        let (delta, rest) = rest.split_at_mut(rows.len());
        self.load_statistics(pair, rows.clone(), lse, delta);
        let (dq, rest) = rest.split_at_mut(if wanted == Wanted::OfKeys { 0 } else { rows.len() * width });
        dq.fill(0.0);
        let mut space = Space::new(rest, isa, d, width);
        let (k, v) = (self.k.matrix(pair.0, pair.1), self.v.matrix(pair.0, pair.1));
        for start in keys.clone().step_by(block::keys_of_chunk(d)) {
            let of_chunk = start..(start + block::keys_of_chunk(d)).min(keys.end);
            space.clear_sums(of_chunk.len(), width);
            // The first block whose last row sees any of the chunk.
            let sees = |first: usize| problem.visible(pair.0, (first + BLOCK).min(rows.end) - 1) > start;
            let mut blocks = rows.clone().step_by(BLOCK).skip_while(|&first| !sees(first)).peekable();
            if blocks.peek().is_some() {
                space.load_keys(isa, k.from(start, 0), v.from(start, 0), of_chunk.len(), d, width);
            }
            for first in blocks {
                let of_block = first..(first + BLOCK).min(rows.end);
                let own = first - rows.start..of_block.end - rows.start;
                problem.gather(isa, &self.q, pair, of_block.clone(), width, space.q);
                problem.gather(isa, &self.dout, pair, of_block.clone(), width, space.dout);
                let mut visible = [0; BLOCK];
                for (visible, row) in visible.iter_mut().zip(of_block) {
                    *visible = problem.visible_in(pair.0, row, &of_chunk);
                }
                let chunk = Chunk { isa, d, width, scale: problem.scale, keys: of_chunk.len() };
                let block = Block { visible: &visible[..own.len()], lse: &lse[own.clone()], delta: &delta[own.clone()] };
                chunk.weights(&block, &mut space);
                if wanted != Wanted::OfRows {
                    chunk.add_to_keys(&block, &mut space);
                }
                if wanted != Wanted::OfKeys {
                    chunk.add_to_rows(&block, &space, &mut dq[own.start * width..own.end * width]);
                }
            }
            if wanted != Wanted::OfRows {
                let place = (pair.0, pair.1, 1);
                // SAFETY: each key belongs to one task that writes it.
                unsafe {
                    self.dk.write(isa, place, of_chunk.clone(), space.dk, width, d, problem.scale);
                    self.dv.write(isa, place, of_chunk, space.dv, width, d, 1.0);
                }
            }
        }
        if wanted != Wanted::OfKeys {
            // SAFETY: each row belongs to one task that writes it.
            unsafe { self.dq.write(isa, (pair.0, pair.1 * group, group), rows, dq, width, d, problem.scale) };
        }
    }

    /// Log-sum-exp and ⟨dout, out⟩ of each row.
    fn load_statistics(&self, pair: (usize, usize), rows: Range<usize>, lse: &mut [f32], delta: &mut [f32]) {
        let (d, group) = (self.problem.head_dim, self.problem.group);
        let (values, layout) = &self.lse;
        let strides = layout.strides();
        let (all_dout, all_out) = (self.dout.all(pair.0, pair.1 * group), self.out.all(pair.0, pair.1 * group));
        for (i, row) in rows.enumerate() {
            let (t, h) = ((row + AHEAD) / group, (row + AHEAD) % group);
            prefetch_row(all_dout.at(t, h), d);
            prefetch_row(all_out.at(t, h), d);
            let (t, h) = (row / group, pair.1 * group + row % group);
            lse[i] = values[layout.offset() + pair.0 * strides[0] + h * strides[1] + t * strides[2]];
            delta[i] = dot(self.isa, self.dout.row(pair.0, t, h, d), self.out.row(pair.0, t, h, d));
        }
    }
}
