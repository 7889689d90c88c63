//! Gradient of gather.
//!
//! Rows of `x` that go to one row of `out` are chained in their order; the first of a chain adds up the whole chain. So rows of
//! `out` are written by one task each, and every sum has the order of the indices.

use crate::CpuBackend;
use crate::dtypes::{floats, with_float};
use crate::gather::check_indices;
use crate::memory::{input, output};
use crate::simd::{Float, load, simd_fn, store};
use crate::strided::rows_of_task;
use crate::threads::Parts;
use kernels::ops::ScatterAdd;
use kernels::{Checked, DType, Launch, Op, Result, Support};

/// End of a chain.
const END: usize = usize::MAX;

/// Rows of `x`, and which follows which.
#[derive(Clone, Copy)]
struct Chains<'a, T> {
    x: &'a [T],
    offset: usize,
    stride: usize,
    next: &'a [usize],
}

simd_fn! {
    /// out += the rows of the chain that starts with row `first`
    fn add_chain[A: Float, B: Float](s, chains: Chains<'_, A>, first: usize, out: &mut [B]) {
        let width = out.len();
        for at in (0..width).step_by(4 * S::LANES) {
            let mut sums = [s.zero(); 4];
            for (k, sum) in sums.iter_mut().enumerate() {
                *sum = load(s, out, at + k * S::LANES);
            }
            let mut row = first;
            while row != END {
                let start = chains.offset + row * chains.stride;
                let x = &chains.x[start..start + width];
                for (k, sum) in sums.iter_mut().enumerate() {
                    *sum = *sum + load(s, x, at + k * S::LANES);
                }
                row = chains.next[row];
            }
            for (k, sum) in sums.into_iter().enumerate() {
                store(s, out, at + k * S::LANES, sum);
            }
        }
    }
}

impl Launch<ScatterAdd<'_>> for CpuBackend {
    fn support(&self, dtype: DType) -> Support {
        floats(dtype)
    }

    fn launch(&self, args: Checked<ScatterAdd<'_>>) -> Result<()> {
        let ScatterAdd { index, x, out } = args.into_inner();
        let (targets, rows, width) = (out.shape()[0], x.shape()[0], x.shape()[1]);
        check_indices(ScatterAdd::NAME, "index", &index, targets, None)?;
        if rows == 0 || width == 0 {
            return Ok(());
        }
        let (layout, places) = (*index.layout(), input::<u32>(&index)?);
        let target = |row: usize| places[layout.offset() + row * layout.strides()[0]] as usize;
        let mut scratch = self.heap.scratch((targets + rows) * size_of::<usize>())?;
        let (first, next) = scratch.as_mut_slice::<usize>().split_at_mut(targets); // [V], [M]
        first.fill(END);
        for row in (0..rows).rev() {
            next[row] = std::mem::replace(&mut first[target(row)], row);
        }
        let (first, next) = (&*first, &*next);
        with_float!(ScatterAdd::NAME, x.dtype(), A => with_float!(ScatterAdd::NAME, out.dtype(), B => {
            let chains = Chains { x: input::<A>(&x)?, offset: x.layout().offset(), stride: x.layout().strides()[0], next };
            let (offset, stride) = (out.layout().offset(), out.layout().strides()[0]);
            let parts = Parts::new(output::<B>(out)?);
            let weight = 2 * width;
            let rows_of_task = rows_of_task(rows, weight);
            self.pool.run_sized(rows.saturating_mul(weight), rows.div_ceil(rows_of_task), &|task| {
                let start = task * rows_of_task;
                for row in (start..(start + rows_of_task).min(rows)).filter(|&row| first[target(row)] == row) {
                    // SAFETY: only the first row of a chain comes here, and rows of `out` do not overlap.
                    let out = unsafe { parts.part(offset + target(row) * stride, width) };
                    add_chain(self.isa, chains, row, out);
                }
            });
            Ok(())
        }))
    }
}
