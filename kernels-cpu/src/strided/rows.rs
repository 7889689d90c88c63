//! Rows: operands whose last dimension is dense and handed out whole.

use super::{Operand, Operands, Order, Sliced, TASK, TASKS, Tile, Walk};
use crate::memory::{input, output};
use crate::simd::Float;
use crate::threads::{Parts, Pool};
use kernels::{Element, Layout, Result, View, ViewMut};

/// Rows of an input: its last dimension, which is dense.
pub(crate) struct InRows<'a, T> {
    data: &'a [T],
    lead: Layout,
    width: usize,
}

/// Rows of an output: its last dimension, which is dense.
pub(crate) struct OutRows<'a, T> {
    parts: Parts<'a, T>,
    lead: Layout,
    width: usize,
}

/// The layout of the first elements of all rows, and the length of a row.
fn rows_of(layout: &Layout) -> Result<(Layout, usize)> {
    let lead = layout.shape().rank().saturating_sub(1);
    let width = layout.shape().get(lead).copied().unwrap_or(1);
    let dims = kernels::Shape::new(&layout.shape()[..lead])?;
    let rows = match width {
        0 => Layout::contiguous(dims)?, // rows without elements lie nowhere
        _ => Layout::strided(dims, &layout.strides()[..lead], layout.offset())?,
    };
    Ok((rows, width))
}

impl<'a, T: Element> InRows<'a, T> {
    /// The rows of a view.
    ///
    /// # Errors
    /// Those of [`input`].
    pub fn new(view: &View<'a>) -> Result<Self> {
        let (lead, width) = rows_of(view.layout())?;
        Ok(InRows { data: input(view)?, lead, width })
    }
}

impl<'a, T: Element> OutRows<'a, T> {
    /// The rows of a view, which must not overlap each other: `Op::check` has made sure of it.
    ///
    /// # Errors
    /// Those of [`output`].
    pub fn new(view: ViewMut<'a>) -> Result<Self> {
        let (lead, width) = rows_of(view.layout())?;
        Ok(OutRows { parts: Parts::new(output(view)?), lead, width })
    }
}

impl<T: Element> Sliced for InRows<'_, T> {
    type Slice<'s> = &'s [T];
}
impl<T: Element> Operand for InRows<'_, T> {
    type Stage = ();

    fn layout(&self) -> &Layout {
        &self.lead
    }
    fn stage(&self) {}
    unsafe fn fetch(&self, _: Tile, _: &mut ()) {}
    #[inline]
    unsafe fn line<'s>(&'s self, tile: Tile, _: usize, _: &'s mut ()) -> &'s [T] {
        self.data.get(tile.at..tile.at + self.width).unwrap_or(&[])
    }
}

impl<T: Element> Sliced for OutRows<'_, T> {
    type Slice<'s> = &'s mut [T];
}
impl<T: Element> Operand for OutRows<'_, T> {
    type Stage = ();

    fn layout(&self) -> &Layout {
        &self.lead
    }
    fn stage(&self) {}
    unsafe fn fetch(&self, _: Tile, _: &mut ()) {}
    #[inline]
    unsafe fn line<'s>(&'s self, tile: Tile, _: usize, _: &'s mut ()) -> &'s mut [T] {
        if self.width == 0 {
            return &mut [];
        }
        // SAFETY: rows of an output do not overlap.
        unsafe { self.parts.part(tile.at, self.width) }
    }
}

/// Rows of a task, if there are `rows` that count as `weight` of [`SERIAL_WORK`](crate::threads::SERIAL_WORK) each.
pub(crate) fn rows_of_task(rows: usize, weight: usize) -> usize {
    (TASK / weight.max(1)).max(rows / TASKS).max(1)
}

/// Calls `body(row, slices)` for each row; a row counts as `weight`. Operands with one element per row ([`In`](super::In),
/// [`Out`](super::Out)) give slices of length 1.
pub(crate) fn each_row<const N: usize, O: Operands<N>>(
    pool: &Pool,
    weight: usize,
    operands: &O,
    body: impl for<'s> Fn(usize, O::Slice<'s>) + Sync,
) {
    let rows = operands.layouts().first().map_or(0, |lead| lead.shape().iter().product());
    each_row_of_chunks(pool, rows_of_task(rows, weight), weight, operands, body);
}

/// As [`each_row`]; `rows_of_task` rows are a task, handled in order by one thread.
pub(crate) fn each_row_of_chunks<const N: usize, O: Operands<N>>(
    pool: &Pool,
    rows_of_task: usize,
    weight: usize,
    operands: &O,
    body: impl for<'s> Fn(usize, O::Slice<'s>) + Sync,
) {
    let walk = Walk::new(operands.layouts(), Order::RowMajor);
    let rows = walk.count(walk.rank);
    let row_at = |row| walk.at(row, walk.rank).map(|at| Tile { at, step: 0, stride: 1, lines: 1, len: 1 });
    pool.run_sized(rows.saturating_mul(weight), rows.div_ceil(rows_of_task), &|task| {
        let mut stages = operands.stages();
        let (first, end) = (task * rows_of_task, ((task + 1) * rows_of_task).min(rows));
        for row in first..end {
            // SAFETY: rows are parts of the layouts and disjoint; layouts of outputs are injective. Nothing of stride 1 is copied.
            unsafe { body(row, operands.line(&row_at(row), 0, &mut stages)) };
        }
    });
}

/// Rows of an input and the rows of an output that belong to them, in order, each once.
pub(crate) struct RowPairs<'s, T> {
    walk: &'s Walk<2>,
    x: &'s InRows<'s, T>,
    out: &'s OutRows<'s, T>,
    next: usize,
    end: usize,
}

impl<'s, T: Element> Iterator for RowPairs<'s, T> {
    type Item = (&'s [T], &'s mut [T]);

    fn next(&mut self) -> Option<Self::Item> {
        let row = (self.next < self.end).then_some(self.next)?;
        self.next += 1;
        let [x, out] = self.walk.at(row, self.walk.rank);
        // SAFETY: rows of an output do not overlap; each is in one task, whose iterator gives it once, and nobody else has the output.
        let out = unsafe { self.out.parts.part(out, self.out.width) };
        Some((&self.x.data[x..x + self.x.width], out))
    }
}

/// Calls `body(rows, slot)` for each task of `rows_of_task` rows; `slots` are those of [`Pool::run_slots`]. For what has several rows
/// in work at once.
///
/// # Panics
/// If there are not as many rows of `out` as of `x`, in the same dimensions.
pub(crate) fn each_task_of_rows<T: Element>(
    pool: &Pool,
    slots: usize,
    rows_of_task: usize,
    x: &InRows<'_, T>,
    out: OutRows<'_, T>,
    body: impl Fn(RowPairs<'_, T>, usize) + Sync,
) {
    assert!(x.lead.shape() == out.lead.shape(), "rows of different shapes");
    let (walk, out) = (&Walk::new([&x.lead, &out.lead], Order::RowMajor), &out);
    let rows = walk.count(walk.rank);
    pool.run_slots(slots, rows.div_ceil(rows_of_task), &|task, slot| {
        let first = task * rows_of_task;
        body(RowPairs { walk, x, out, next: first, end: (first + rows_of_task).min(rows) }, slot);
    });
}

/// The elements of a vector of any stride, widened into `to`.
///
/// # Errors
/// Those of [`input`].
pub(crate) fn widen<T: Float>(view: &View<'_>, to: &mut [f32]) -> Result<()> {
    let (data, layout) = (input::<T>(view)?, view.layout());
    let stride = layout.strides().last().copied().unwrap_or(1);
    if to.is_empty() {
        return Ok(());
    }
    let from = &data[layout.offset()..];
    match stride {
        0 => to.fill(from[0].to_f32()),
        1 => to.iter_mut().zip(from).for_each(|(to, from)| *to = from.to_f32()),
        _ => to.iter_mut().zip(from.iter().step_by(stride)).for_each(|(to, from)| *to = from.to_f32()),
    }
    Ok(())
}
