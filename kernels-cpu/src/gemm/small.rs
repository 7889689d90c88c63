//! Products too small to pack: the micro-kernel reads both factors where they lie, and the sums stay on the stack.

use super::blocking::{Strips, lanes, mr};
use super::micro::{StridedLeft, run_strided};
use super::pack::Strided;
use super::{Epilogue, Size};
use crate::simd::Isa;

/// Largest product done here, in multiply-adds: both factors and the result stay in L1.
const WORK: usize = 48 * 48 * 48;

/// Greatest depth.
const DEPTH: usize = 192;

/// Whether a product of f32 is small, with rows of the right factor that can be read where they lie.
pub(crate) fn is_small(size: Size, right_col_stride: usize) -> bool {
    right_col_stride == 1 && size.work() <= WORK && size.k <= DEPTH
}

/// Result = left · right through `epilogue`, without work space. Both factors must have the rows and columns of `size`.
pub(crate) fn multiply_small(isa: Isa, size: Size, left: Strided<f32>, right: Strided<f32>, epilogue: &dyn Epilogue) {
    let lanes = lanes(isa);
    let strips = Strips::new(size.n, lanes);
    let mut sums = [0f32; 8 * 48]; // [MR, NR]
    for index in 0..strips.count() {
        let (columns, vectors) = (strips.columns(index), strips.vectors(index));
        for first in (0..size.m).step_by(mr(lanes)) {
            let rows = first..(first + mr(lanes)).min(size.m);
            let tile = StridedLeft { start: left.at(first, 0), row_stride: left.row_stride, k_stride: left.col_stride };
            let (start, tail) = (right.at(0, columns.start), columns.len() - (vectors - 1) * lanes);
            // SAFETY: tile and strip lie within the factors; the sums have room for MR rows of NR elements.
            unsafe { run_strided(isa, (rows.len(), vectors), size.k, tile, (start, right.row_stride, tail), sums.as_mut_ptr()) };
            epilogue.finish(isa, rows, columns.clone(), &sums, vectors);
        }
    }
}
