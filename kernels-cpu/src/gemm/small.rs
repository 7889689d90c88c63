//! Products too small to pack: the micro-kernel reads both factors where they lie.

use super::blocking::{Strips, lanes, mr};
use super::micro::{Before, StridedLeft, run_strided};
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

/// Result = left · right through `epilogue`, without work space.
///
/// # Safety
/// Both factors have the rows and columns of `size`; those of `right` have column stride 1.
pub(crate) unsafe fn multiply_small(isa: Isa, size: Size, left: Strided<f32>, right: Strided<f32>, epilogue: &dyn Epilogue) {
    let lanes = lanes(isa);
    let strips = Strips::new(size.n, lanes);
    let mut sums = [0f32; 8 * 48]; // [MR, NR]
    for index in 0..strips.count() {
        let (columns, vectors) = (strips.columns(index), strips.vectors(index));
        for first in (0..size.m).step_by(mr(lanes)) {
            let rows = first..(first + mr(lanes)).min(size.m);
            let tile = Size { m: rows.len(), n: columns.len(), k: size.k };
            let (a, b) = (left.from(first, 0), right.from(0, columns.start));
            // SAFETY: the tile lies within the factors.
            unsafe { add_product(isa, tile, a, b, &mut sums, vectors * lanes, Before::Zero) };
            epilogue.finish(isa, rows, columns.clone(), &sums, vectors);
        }
    }
}

/// sums (+)= left · right, rows of `sums` being `stride` elements apart and padded to whole vectors.
///
/// # Panics
/// If `sums` is too short.
///
/// # Safety
/// Both factors have the rows and columns of `size`; those of `right` have column stride 1.
pub(crate) unsafe fn add_product(
    isa: Isa,
    size: Size,
    left: Strided<f32>,
    right: Strided<f32>,
    sums: &mut [f32],
    stride: usize,
    before: Before,
) {
    if size.m == 0 || size.n == 0 {
        return;
    }
    let lanes = lanes(isa);
    assert!(sums.len() >= (size.m - 1) * stride + size.n.next_multiple_of(lanes));
    let strips = Strips::new(size.n, lanes);
    for index in 0..strips.count() {
        let (columns, vectors) = (strips.columns(index), strips.vectors(index));
        let from = (right.at(0, columns.start), right.row_stride, columns.len() - (vectors - 1) * lanes);
        for first in (0..size.m).step_by(mr(lanes)) {
            let rows = (size.m - first).min(mr(lanes));
            let tile = StridedLeft { start: left.at(first, 0), row_stride: left.row_stride, k_stride: left.col_stride };
            let to = sums[first * stride + columns.start..].as_mut_ptr();
            // SAFETY: tile and strip lie within the factors by contract; the sums have been measured.
            unsafe { run_strided(isa, (rows, vectors), size.k, tile, from, to, stride, before) };
        }
    }
}
