//! Walks over operands of any strides, handing kernels plain slices.
//!
//! Operands of one shape are cut into tiles by their layouts alone. Along the lines of a tile each operand has one stride: where it
//! is 1 the kernel gets the elements where they lie, elsewhere a copy on the stack, scattered back afterwards if it is written. An
//! operand that runs across the lines, such as a transposed one, is copied tile by tile, so that each of its cache lines is used
//! whole. Ops on rows get whole rows.

mod operand;
mod rows;

pub(crate) use operand::{In, Maybe, Operand, Operands, Out, Sliced, Tile};
pub(crate) use rows::{InRows, OutRows, each_row, each_row_of_chunks, each_task_of_rows, rows_of_task, widen};

use crate::threads::Pool;
use kernels::{Layout, MAX_RANK};
use operand::{LINE_BYTES, STAGE};

/// Work of a task, about, in units of [`SERIAL_WORK`](crate::threads::SERIAL_WORK): enough to make its start cheap.
const TASK: usize = 1 << 14;

/// Tasks of one call, about: enough to balance threads, few enough to keep the memory streams of each long.
const TASKS: usize = 128;

/// In which order elements may be visited.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Order {
    /// As memory holds the last operand, which is best an output.
    Memory,
    /// By index.
    RowMajor,
}

/// Nested loops over layouts of one shape, as few as they allow.
struct Walk<const N: usize> {
    dims: [usize; MAX_RANK],
    strides: [[usize; N]; MAX_RANK],
    offsets: [usize; N],
    rank: usize,
}

impl<const N: usize> Walk<N> {
    fn new(layouts: [&Layout; N], order: Order) -> Self {
        let offsets = layouts.map(Layout::offset);
        let mut walk = Walk { dims: [1; MAX_RANK], strides: [[1; N]; MAX_RANK], offsets, rank: 0 };
        let shape = layouts.first().map_or(&[][..], |layout| layout.shape());
        for (axis, &dim) in shape.iter().enumerate().filter(|&(_, &dim)| dim != 1) {
            let strides = layouts.map(|layout| layout.strides()[axis]);
            let mut to = walk.rank;
            while order == Order::Memory && to > 0 && walk.strides[to - 1][N - 1] < strides[N - 1] {
                (walk.dims[to], walk.strides[to]) = (walk.dims[to - 1], walk.strides[to - 1]);
                to -= 1;
            }
            (walk.dims[to], walk.strides[to]) = (dim, strides);
            walk.rank += 1;
        }
        walk.merge();
        walk
    }

    /// Joins neighbouring loops that every operand passes as one.
    fn merge(&mut self) {
        let mut kept = 0;
        for axis in 1..self.rank {
            let (dim, strides) = (self.dims[axis], self.strides[axis]);
            let merges = (0..N).all(|k| self.strides[kept][k] == dim.wrapping_mul(strides[k]));
            kept += usize::from(!merges);
            self.dims[kept] = if merges { self.dims[kept].saturating_mul(dim) } else { dim };
            self.strides[kept] = strides;
        }
        self.rank = kept + 1;
    }

    /// Makes `axis` the loop around the innermost.
    fn move_inward(&mut self, axis: usize) {
        let last = self.rank - 1;
        self.dims[axis..last].rotate_left(1);
        self.strides[axis..last].rotate_left(1);
    }

    /// Number of indices of the first `rank` dimensions.
    fn count(&self, rank: usize) -> usize {
        self.dims[..rank].iter().product()
    }

    /// Where index `index` of the first `rank` dimensions lies in each operand.
    fn at(&self, mut index: usize, rank: usize) -> [usize; N] {
        let mut at = self.offsets;
        for axis in (0..rank).rev() {
            let i = match axis {
                0 => index,
                _ => index % self.dims[axis],
            };
            index /= self.dims[axis];
            for (at, stride) in at.iter_mut().zip(self.strides[axis]) {
                *at += i * stride;
            }
        }
        at
    }
}

/// How operands are cut into tiles, and tiles gathered into tasks: by layouts and weight alone.
pub(crate) struct Plan<const N: usize> {
    walk: Walk<N>,
    /// Loops around the tiles.
    outer: usize,
    /// Lines there are, and elements of each.
    lines: usize,
    len: usize,
    /// Those of the largest tile.
    lines_of_tile: usize,
    len_of_tile: usize,
    tiles_of_task: usize,
    work: usize,
    /// Number of tasks.
    pub tasks: usize,
}

impl<const N: usize> Plan<N> {
    /// For elements that count as `weight` of [`SERIAL_WORK`](crate::threads::SERIAL_WORK) each.
    pub fn new<O: Operands<N>>(operands: &O, weight: usize) -> Self {
        Plan::cut(operands, weight, Order::Memory)
    }

    fn cut<O: Operands<N>>(operands: &O, weight: usize, order: Order) -> Self {
        let mut walk = Walk::new(operands.layouts(), order);
        let inner = walk.rank - 1;
        let strides = walk.strides[inner];
        // The loop an operand that is not dense along the innermost would rather have there.
        let across = (0..N).filter(|&k| strides[k] > 1).find_map(|k| {
            let axes = (0..inner).filter(|&axis| (1..strides[k]).contains(&walk.strides[axis][k]));
            axes.min_by_key(|&axis| walk.strides[axis][k])
        });
        if let (Some(axis), Order::Memory) = (across, order) {
            walk.move_inward(axis);
        }
        let (outer, lines) = if inner > 0 { (inner - 1, walk.dims[inner - 1]) } else { (0, 1) };
        let len = walk.dims[inner];
        let total = walk.count(walk.rank);
        let wanted = (TASK / weight.max(1)).max(total / TASKS).max(1); // elements of a task
        let copied = strides.iter().any(|&stride| stride != 1);
        let len_of_tile = match across {
            Some(_) if order == Order::Memory => STAGE / (LINE_BYTES / O::LEAST_BYTES),
            _ if copied => STAGE,
            _ => wanted.max(STAGE),
        };
        let len_of_tile = len_of_tile.min(len).max(1);
        let lines_of_tile = match strides.iter().any(|&stride| stride > 1) {
            true => STAGE / len_of_tile,
            false => wanted / len_of_tile,
        };
        let lines_of_tile = lines_of_tile.clamp(1, lines.max(1));
        let tiles_of_task = (wanted / (lines_of_tile * len_of_tile)).max(1);
        let tiles = walk.count(outer) * lines.div_ceil(lines_of_tile) * len.div_ceil(len_of_tile);
        let (work, tasks) = (total.saturating_mul(weight), tiles.div_ceil(tiles_of_task));
        Plan { walk, outer, lines, len, lines_of_tile, len_of_tile, tiles_of_task, work, tasks }
    }

    /// Calls `body(task, index, slices)` for parts of lines that cover the operands the plan was made for. Those of one task are
    /// handled in a fixed order by one thread.
    pub fn run<O: Operands<N>>(&self, pool: &Pool, operands: &O, body: impl for<'s> Fn(usize, usize, O::Slice<'s>) + Sync) {
        let inner = self.walk.rank - 1;
        let strides = self.walk.strides[inner];
        let steps = if inner > 0 { self.walk.strides[inner - 1] } else { [0; N] };
        let (tiles_across, tiles_along) = (self.lines.div_ceil(self.lines_of_tile), self.len.div_ceil(self.len_of_tile));
        let tiles = self.walk.count(self.outer) * tiles_across * tiles_along;
        pool.run_sized(self.work, self.tasks, &|task| {
            let mut stages = operands.stages();
            let first = task * self.tiles_of_task;
            for tile in first..(first + self.tiles_of_task).min(tiles) {
                let (run, start) = (tile / tiles_along, tile % tiles_along * self.len_of_tile);
                let (block, line) = (run / tiles_across, run % tiles_across * self.lines_of_tile);
                let (lines, len) = (self.lines_of_tile.min(self.lines - line), self.len_of_tile.min(self.len - start));
                let at = self.walk.at(block, self.outer);
                let mut cut = [Tile { at: 0, step: 0, stride: 0, lines, len }; N];
                for (k, tile) in cut.iter_mut().enumerate() {
                    let at = at[k] + line * steps[k] + start * strides[k];
                    (tile.at, tile.step, tile.stride) = (at, steps[k], strides[k]);
                }
                // SAFETY: tiles are parts of the layouts and disjoint as indices; layouts of outputs are injective.
                unsafe {
                    operands.fetch(&cut, &mut stages);
                    for i in 0..lines {
                        let index = (block * self.lines + line + i) * self.len + start;
                        body(task, index, operands.line(&cut, i, &mut stages));
                    }
                    operands.flush(&cut, &mut stages);
                }
            }
        });
    }
}

/// Calls `body(slices)` for pieces that cover the operands; see [`Plan`]. The last operand decides the order in memory.
pub(crate) fn each<const N: usize, O: Operands<N>>(
    pool: &Pool,
    weight: usize,
    operands: &O,
    body: impl for<'s> Fn(O::Slice<'s>) + Sync,
) {
    if operands.layouts()[0].numel() > 0 {
        Plan::cut(operands, weight, Order::Memory).run(pool, operands, |_, _, slices| body(slices));
    }
}

/// Calls `body(index, slices)` for pieces that cover the operands, `index` being the row-major index of the first element.
pub(crate) fn each_indexed<const N: usize, O: Operands<N>>(
    pool: &Pool,
    weight: usize,
    operands: &O,
    body: impl for<'s> Fn(usize, O::Slice<'s>) + Sync,
) {
    Plan::cut(operands, weight, Order::RowMajor).run(pool, operands, |_, index, slices| body(index, slices));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{backends, raw, values};
    use kernels::{Element, Memory};

    /// Every order of the dimensions of both operands, and rows and columns of the input that are one.
    fn copies<T: Element + From<u8> + PartialEq + std::fmt::Debug>(dims: [usize; 3]) {
        let orders = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];
        let numbers: Vec<T> = (0..dims.iter().product()).map(|i: usize| T::from((i * 31 % 251) as u8)).collect();
        for cpu in backends(&[2]) {
            let x = raw(&cpu, &numbers);
            for (a, b, repeated) in
                orders.into_iter().flat_map(|a| orders.map(|b| (a, b))).flat_map(|(a, b)| [0, 1, 2, 3].map(|r| (a, b, r)))
            {
                let turned = |order: [usize; 3]| {
                    let back = [0, 1, 2].map(|axis| order.iter().position(|&o| o == axis).unwrap());
                    (order.map(|axis| dims[axis]), back)
                };
                let ((shape, back), (out_shape, out_back)) = (turned(a), turned(b));
                let mut view = x.view(shape).unwrap().permute(&back).unwrap(); // of shape `dims`
                if repeated < 3 {
                    view = view.narrow(repeated, 0, dims[repeated].min(1)).unwrap().broadcast_to(dims).unwrap();
                }
                let mut out = cpu.alloc(T::DTYPE, numbers.len()).unwrap();
                let out_view = out.view_mut(out_shape).unwrap().permute(&out_back).unwrap();
                let operands = (In::<T>::new(&view).unwrap(), Out::<T>::new(out_view).unwrap());
                each(&cpu.pool, 1, &operands, |(x, out)| out.copy_from_slice(x));
                let wanted: Vec<T> = view.layout().indices().map(|at| numbers[at]).collect();
                let (stored, layout) = (values::<T>(&out), *out.view(out_shape).unwrap().permute(&out_back).unwrap().layout());
                let got: Vec<T> = layout.indices().map(|at| stored[at]).collect();
                assert!(wanted == got, "{dims:?}: {a:?} to {b:?}, {repeated} repeated");
            }
        }
    }

    #[test]
    fn every_order_of_dimensions_is_copied_right() {
        for dims in [[1, 1, 1], [2, 3, 5], [0, 3, 2], [1, 70, 33], [3, 17, 130], [9, 64, 16], [40, 1, 40]] {
            copies::<f32>(dims);
            copies::<u8>(dims);
        }
    }
}
