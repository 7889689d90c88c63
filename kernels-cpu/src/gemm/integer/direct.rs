//! Rows with a weight whose groups are short and all of one size: codes and factors are unpacked in registers, so that nothing but the
//! result is stored.
//!
//! Eight rows meet one vector of outputs at a time, 8 exact and 8 scaled sums, where there are registers for so many; one or two rows
//! meet all three vectors of a strip. Sums are those of [`super::tile`], to the bit.

use super::rows::tile_height;
use super::tile::{Layer, Left, add_quad, ahead_bytes, ends_block, for_quads, store_totals};
use crate::gemm::ahead::Lines;
use crate::simd::dot::{Dot, dot_fn};
use crate::simd::{Simd, prefetch};
use crate::weight::code::Code;
use crate::weight::factors::{FactorRows, FactorValues};
use crate::weight::minima::{BLOCK_GROUPS, MinimaRows, SUM_WORDS};

/// Whether [`sum_direct`] is the faster way for so many rows at a time. Bytes are unpacked already: eight rows fill the registers here,
/// more meet three vectors at a time in less time. Other codes are unpacked for eight rows at a time in no more time than it takes to
/// store and load them. With 16 registers there are kernels for one or two rows alone.
pub(crate) fn takes<C: Code>(rows: usize, lanes: usize) -> bool {
    rows <= 2 || (lanes >= 16 && (!C::PLAIN || rows == 8))
}

/// Inputs of the steps between which nothing is decided, or of one step, if that has more.
const INPUTS: usize = 32;

/// Steps between which nothing is decided.
pub(crate) const fn steps_at_once<C: Code>() -> usize {
    // Groups of six bits have 16 inputs, one step.
    if C::QUADS == 4 { 1 } else { INPUTS / (4 * C::QUADS) }
}

/// Operands of [`sum_direct`].
#[derive(Clone, Copy)]
pub(crate) struct Direct {
    /// Tiles of [`Rows`](super::rows::Rows): x_stride words per row, and per row and group what exact sums start with, or what zero
    /// points are multiplied with to that end, and −Σx of blocks.
    pub x: *const i32,
    pub x_stride: usize,
    pub starts: *const i32,
    pub sums: *const i32,
    /// Words of the strip, rows of `width`.
    pub codes: *const f32,
    pub width: usize,
    /// Groups, and steps of each, a multiple of [`steps_at_once`].
    pub groups: usize,
    pub steps_per_group: usize,
    pub scales: FactorRows,
    /// Zero points [groups, width], whose products with starts are of i16; `None` if the starts are whole.
    pub zeros: Option<*const u8>,
    pub minima: Option<MinimaRows>,
    /// Result [rows, width], elements from row to row of it, and what becomes of it before it is stored.
    pub out: *mut f32,
    pub out_stride: usize,
    pub layer: Option<Layer>,
    /// What will be read next: fetched where bytes meet eight rows.
    pub ahead: Lines,
}

dot_fn! {
    /// Sums of rows with a strip of `vectors` vectors, at most 3.
    ///
    /// # Safety
    /// All operands hold what their documentation says for these rows, vectors and groups; codes are of kind C, and [`takes`] so many
    /// rows.
    pub(crate) unsafe fn sum_direct[C: Code](d, rows: usize, vectors: usize, op: Direct) {
        let wide = D::S::LANES >= 16;
        let mut row = 0;
        while row < rows {
            let height = tile_height(rows - row);
            let ahead = op.ahead.share(row..row + height, rows);
            let left = Left {
                words: op.x.wrapping_add(row * op.x_stride),
                starts: op.starts.wrapping_add(row * op.groups),
                sums: op.sums.wrapping_add(row * (op.groups / BLOCK_GROUPS * SUM_WORDS)),
                step: height,
            };
            let layer = op.layer.map(|layer| layer.from_row(row));
            let op = Direct { out: op.out.wrapping_add(row * op.out_stride), layer, ..op };
            // SAFETY: same contract; the rows are cut as their tiles are.
            unsafe {
                match (height, vectors) {
                    (1, 3) => columns::<D, C, 1, 3>(d, left, op, 0),
                    (2, 3) if wide => columns::<D, C, 2, 3>(d, left, op, 0),
                    _ => {
                        for of in 0..vectors {
                            let (column, ahead) = (of * D::S::LANES, ahead.share(of..of + 1, vectors));
                            let op = Direct { ahead, ..op };
                            match height {
                                8 if wide => columns::<D, C, 8, 1>(d, left, op, column),
                                4 if wide => columns::<D, C, 4, 1>(d, left, op, column),
                                2 => columns::<D, C, 2, 1>(d, left, op, column),
                                1 => columns::<D, C, 1, 1>(d, left, op, column),
                                _ => debug_assert!(false, "{height} rows"),
                            }
                        }
                    }
                }
            }
            row += height;
        }
    }
}

/// Factors of a group for NV vectors of outputs.
#[derive(Clone, Copy)]
struct Factor<S: Simd, const NV: usize> {
    rows: FactorRows,
    column: usize,
    values: FactorValues<S, NV>,
}

impl<S: Simd, const NV: usize> Factor<S, NV> {
    #[inline(always)]
    fn new(s: S, rows: FactorRows, column: usize) -> Self {
        Factor { rows, column, values: [s.zero(); NV] }
    }

    /// Those of group `group`, to be asked for in rising order.
    ///
    /// # Safety
    /// The strip has the group, and NV vectors from the column on.
    #[inline(always)]
    unsafe fn next(&mut self, s: S, group: usize) -> [S::V; NV] {
        // SAFETY: contract.
        unsafe {
            if self.rows.begins_value(group) {
                self.values = self.rows.values(s, group, self.column);
            }
            self.rows.times_bytes(s, self.values, group, self.column)
        }
    }
}

/// MR rows with NV vectors of outputs from `column` on.
///
/// # Safety
/// As for [`sum_direct`].
#[inline(always)]
unsafe fn columns<D: Dot, C: Code, const MR: usize, const NV: usize>(d: D, left: Left, op: Direct, column: usize) {
    let (s, lanes, width) = (d.simd(), D::S::LANES, op.width);
    let (mut codes, mut x, mut starts, mut sums) = (op.codes.wrapping_add(column), left.words, left.starts, left.sums);
    let mut scales = Factor::<D::S, NV>::new(s, op.scales, column);
    let minima = op.minima.map(|minima| minima.from_column(column));
    let mut totals = [[s.zero(); NV]; MR];
    let mut ahead = op.ahead;
    let each = ahead.each(op.groups);
    // SAFETY: all accesses are those the contract of `sum_direct` grants.
    unsafe {
        for group in 0..op.groups {
            let mut exact = [[s.int(0); NV]; MR];
            if let Some(zeros) = op.zeros {
                for (i, row) in exact.iter_mut().enumerate() {
                    for (j, v) in row.iter_mut().enumerate() {
                        *v = d.short_product(s.load_u8(zeros.add(group * width + column + j * lanes)), *starts.add(i));
                    }
                }
            } else {
                for (i, row) in exact.iter_mut().enumerate() {
                    *row = [s.int(*starts.add(i)); NV];
                }
            }
            for _ in 0..op.steps_per_group / steps_at_once::<C>() {
                for step in 0..steps_at_once::<C>() {
                    let codes = codes.add(step * C::WORDS * width);
                    for word in 0..C::WORDS {
                        let ahead = codes.wrapping_add(word * width).wrapping_byte_add(ahead_bytes(C::PLAIN));
                        (0..NV).for_each(|j| prefetch(ahead.wrapping_add(j * lanes)));
                    }
                    let x = x.add(step * C::QUADS * left.step);
                    for_quads!(C, |Q| {
                        add_quad::<D, C, MR, NV, Q>(d, width, codes, x.add(Q * left.step), &mut exact);
                    });
                }
                codes = codes.wrapping_add(steps_at_once::<C>() * C::WORDS * width);
                x = x.add(steps_at_once::<C>() * C::QUADS * left.step);
            }
            if MR == 8 && C::PLAIN {
                ahead.fetch(s, each);
            }
            if group < MR {
                // Where the sums of a row will go.
                (0..NV).for_each(|j| prefetch(op.out.wrapping_add(group * op.out_stride + column + j * lanes)));
            }
            let scale = scales.next(s, group);
            for (total, exact) in totals.iter_mut().zip(&exact) {
                for j in 0..NV {
                    total[j] = s.fma(s.to_float(exact[j]), scale[j], total[j]);
                }
            }
            if let Some(minima) = minima.filter(|_| ends_block(group)) {
                minima.add_block(d, group / BLOCK_GROUPS, (sums, left.step), &mut totals);
                sums = sums.add(SUM_WORDS * left.step);
            }
            starts = starts.add(left.step);
        }
        let layer = op.layer.map(|layer| layer.from_column(column));
        store_totals(s, op.out.add(column), op.out_stride, layer, &totals);
    }
}
