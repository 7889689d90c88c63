//! Products too small to pack: the micro-kernel reads both factors where they lie.

use super::blocking::{NV, lanes, mr};
use super::micro::{Before, StridedLeft, run_strided};
use super::pack::Strided;
use super::{Epilogue, Size};
use crate::simd::Isa;
use std::ops::Range;

/// Largest product done here, in multiply-adds: both factors and the result stay in L2.
const WORK: usize = 144 * 144 * 144;

/// Greatest depth of one.
const DEPTH: usize = 512;

/// Up to this many rows a right factor is read where it lies whatever its size: to pack it would cost more than the product.
const FEW_ROWS: usize = 4;

/// Whether a product of f32 is small, with rows of the right factor that can be read where they lie.
pub(crate) fn is_small(size: Size, right_col_stride: usize) -> bool {
    right_col_stride == 1 && (size.m <= FEW_ROWS || size.work() <= WORK && size.k <= DEPTH)
}

/// How a small product may be cut into tasks: tiles of rows, and strips of columns of about the same width.
#[derive(Clone, Copy)]
pub(crate) struct SmallCuts {
    lanes: usize,
    size: Size,
}

impl SmallCuts {
    pub fn new(isa: Isa, size: Size) -> Self {
        SmallCuts { lanes: lanes(isa), size }
    }
    /// Tiles of MR rows.
    pub fn tiles(self) -> usize {
        self.size.m.div_ceil(mr(self.lanes))
    }
    fn vectors(self) -> usize {
        self.size.n.div_ceil(self.lanes)
    }
    /// Strips of up to NR columns.
    pub fn strips(self) -> usize {
        self.vectors().div_ceil(NV)
    }
    fn columns(self, strip: usize) -> Range<usize> {
        let begin = |strip: usize| strip * self.vectors() / self.strips() * self.lanes;
        begin(strip)..begin(strip + 1).min(self.size.n)
    }
}

/// The part `tiles` × `strips` of result = left · right through `epilogue`, without work space.
///
/// # Safety
/// Both factors have the rows and columns of `size`; those of `right` have column stride 1.
pub(crate) unsafe fn multiply_small(
    isa: Isa,
    size: Size,
    (tiles, strips): (Range<usize>, Range<usize>),
    left: Strided<f32>,
    right: Strided<f32>,
    epilogue: &dyn Epilogue,
) {
    let cuts = SmallCuts::new(isa, size);
    let mut sums = [0f32; 8 * 48]; // [MR, NR]
    for strip in strips {
        let columns = cuts.columns(strip);
        let vectors = columns.len().div_ceil(cuts.lanes);
        let from = (right.at(0, columns.start), right.row_stride, columns.len() - (vectors - 1) * cuts.lanes);
        for tile in tiles.clone() {
            let rows = tile * mr(cuts.lanes)..((tile + 1) * mr(cuts.lanes)).min(size.m);
            let start = StridedLeft { start: left.at(rows.start, 0), row_stride: left.row_stride, k_stride: left.col_stride };
            let (to, stride) = (sums.as_mut_ptr(), vectors * cuts.lanes);
            // SAFETY: tile and strip lie within the factors; the sums hold MR rows of NR.
            unsafe { run_strided(isa, (rows.len(), vectors), size.k, start, from, to, stride, Before::Zero) };
            epilogue.finish(isa, rows, columns.clone(), &sums, vectors);
        }
    }
}
