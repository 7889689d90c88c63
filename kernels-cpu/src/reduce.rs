//! Sums and maxima along one dimension.

use crate::CpuBackend;
use crate::dtypes::{floats, with_float};
use crate::memory::input;
use crate::simd::{Float, Simd, fold, load, simd_fn, store};
use crate::strided::{Operand, Out, Sliced, Tile, each};
use kernels::ops::{Reduce, ReduceOp};
use kernels::{Checked, DType, Element, Launch, Layout, Op, Result, Support, View, ViewMut};

/// Elements that are copied to the stack where neither dimension is dense.
const STAGE: usize = 256;

/// The input: an operand of the shape of `out`, each element of which stands for `count` elements `step` apart.
struct Axis<'a, T> {
    data: &'a [T],
    layout: Layout,
    count: usize,
    step: usize,
}

/// `len` lines to reduce, the first element of line j at `j·stride`.
#[derive(Clone, Copy)]
struct Lines<'a, T> {
    data: &'a [T],
    stride: usize,
    count: usize,
    step: usize,
}

impl<T: Element> Sliced for Axis<'_, T> {
    type Slice<'s> = Lines<'s, T>;
}
impl<T: Element> Operand for Axis<'_, T> {
    type Stage = ();

    fn layout(&self) -> &Layout {
        &self.layout
    }
    fn stage(&self) {}
    unsafe fn fetch(&self, _: Tile, _: &mut ()) {}
    unsafe fn line<'s>(&'s self, tile: Tile, i: usize, _: &'s mut ()) -> Lines<'s, T> {
        Lines { data: &self.data[tile.at + i * tile.step..], stride: tile.stride, count: self.count, step: self.step }
    }
}

/// Of no elements, and what the accumulation starts from.
fn identity(op: ReduceOp) -> f32 {
    match op {
        ReduceOp::Sum | ReduceOp::Mean => 0.0,
        ReduceOp::Max => f32::NEG_INFINITY,
    }
}

#[inline(always)]
fn join<S: Simd>(s: S, op: ReduceOp, a: S::V, b: S::V) -> S::V {
    match op {
        ReduceOp::Sum | ReduceOp::Mean => a + b,
        ReduceOp::Max => s.max_nan(a, b),
    }
}

/// One line that is dense in memory.
#[inline(always)]
fn dense_line<S: Simd, T: Float>(s: S, op: ReduceOp, x: &[T]) -> f32 {
    let all = fold(
        s,
        [x],
        s.splat(identity(op)),
        #[inline(always)]
        |all, [x]| join(s, op, all, x),
        #[inline(always)]
        |a, b| join(s, op, a, b),
    );
    match op {
        ReduceOp::Sum | ReduceOp::Mean => s.reduce_add(all),
        ReduceOp::Max => {
            let mut lanes = [f32::NEG_INFINITY; 16];
            store(s, &mut lanes, 0, all);
            lanes.into_iter().fold(f32::NEG_INFINITY, |a, b| if b > a || b.is_nan() { b } else { a })
        }
    }
}

simd_fn! {
    fn reduce_lines[A: Float, B: Float](s, op: ReduceOp, lines: Lines<'_, A>, out: &mut [B]) {
        let Lines { data, stride, count, step } = lines;
        let last = |line: f32| match op {
            ReduceOp::Mean => line / count as f32,
            ReduceOp::Sum | ReduceOp::Max => line,
        };
        if step == 1 {
            for (j, out) in out.iter_mut().enumerate() {
                *out = B::from_f32(last(dense_line(s, op, &data[j * stride..j * stride + count])));
            }
        } else if stride == 1 {
            // Lines side by side: four vectors of them at a time.
            let width = out.len();
            let divisor = s.splat(if op == ReduceOp::Mean { count as f32 } else { 1.0 });
            for at in (0..width).step_by(4 * S::LANES) {
                let mut all = [s.splat(identity(op)); 4];
                for i in 0..count {
                    let row = &data[i * step..i * step + width];
                    for (k, all) in all.iter_mut().enumerate() {
                        *all = join(s, op, *all, load(s, row, at + k * S::LANES));
                    }
                }
                for (k, all) in all.into_iter().enumerate() {
                    store(s, out, at + k * S::LANES, all / divisor);
                }
            }
        } else {
            let mut stage = [0f32; STAGE];
            for (j, out) in out.iter_mut().enumerate() {
                let mut all = s.splat(identity(op));
                for first in (0..count).step_by(STAGE) {
                    let here = STAGE.min(count - first);
                    for (i, to) in stage[..here].iter_mut().enumerate() {
                        *to = data[j * stride + (first + i) * step].to_f32();
                    }
                    all = join(s, op, all, s.splat(dense_line(s, op, &stage[..here])));
                }
                let mut lanes = [0f32; 16];
                store(s, &mut lanes, 0, all);
                *out = B::from_f32(last(lanes[0]));
            }
        }
    }
}

fn reduce<A: Float, B: Float>(on: &CpuBackend, op: ReduceOp, x: View<'_>, axis: usize, out: ViewMut<'_>) -> Result<()> {
    let (count, step) = (x.shape()[axis], x.layout().strides()[axis]);
    let out = Out::<B>::new(out)?;
    if count == 0 {
        let value = if op == ReduceOp::Mean { f32::NAN } else { identity(op) };
        each(&on.pool, 1, &(out,), |(out,)| out.fill(B::from_f32(value)));
        return Ok(());
    }
    let first = x.layout().narrow(axis, 0, 1)?;
    let operands = (Axis { data: input::<A>(&x)?, layout: first, count, step }, out);
    each(&on.pool, count, &operands, |(lines, out)| reduce_lines(on.isa, op, lines, out));
    Ok(())
}

impl Launch<Reduce<'_>> for CpuBackend {
    fn support(&self, dtype: DType) -> Support {
        floats(dtype)
    }

    fn launch(&self, args: Checked<Reduce<'_>>) -> Result<()> {
        let Reduce { op, x, axis, out } = args.into_inner();
        with_float!(Reduce::NAME, x.dtype(), A => with_float!(Reduce::NAME, out.dtype(), B => {
            reduce::<A, B>(self, op, x, axis, out)
        }))
    }
}
