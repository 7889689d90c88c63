//! Products too small to pack: the micro-kernel reads both factors where they lie, and the sums stay on the stack.

use super::blocking::{Strips, mr};
use super::micro::{self, Before, StridedLeft};
use super::pack::Strided;
use super::{Epilogue, Right, Size};
use crate::simd::{Float, simd_fn};

/// Largest product done here, in multiply-adds: both factors and the result stay in L1.
const WORK: usize = 48 * 48 * 48;

/// Whether a product is small, with rows of the right factor that can be read where they lie.
pub(crate) fn is_small(size: Size, right_col_stride: usize) -> bool {
    right_col_stride == 1 && size.work() <= WORK && size.k <= 4 * 48
}

simd_fn! {
    /// Result = left · right through `epilogue`, without work space. Both factors must have the rows and columns of `size`.
    pub fn multiply_small[T: Float, E: Epilogue](s, size: Size, left: Strided<T>, right: Strided<T>, epilogue: &E) {
        let strips = Strips::new(size.n, S::LANES);
        let mut sums = [0f32; 8 * 48]; // [MR, NR]
        for index in 0..strips.count() {
            let columns = strips.columns(index);
            let vectors = strips.vectors(index);
            let strip = right.strip::<S>(index, columns.clone());
            for first in (0..size.m).step_by(mr(S::LANES)) {
                let rows = first..(first + mr(S::LANES)).min(size.m);
                let tile = StridedLeft { start: left.at(first, 0), row_stride: left.row_stride, k_stride: left.col_stride };
                let width = vectors * S::LANES;
                // SAFETY: tile and strip lie within the factors; the sums have room for MR rows of NR elements.
                unsafe {
                    micro::run(s, (rows.len(), vectors), 0..size.k, tile, strip, sums.as_mut_ptr(), width, Before::Zero);
                    epilogue.store(s, rows, columns.clone(), sums.as_ptr(), width);
                }
            }
        }
    }
}
