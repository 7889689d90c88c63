//! Products too small to pack: the micro-kernel reads both factors where they lie.

use super::blocking::{NV, mr, nr};
use super::micro::{Before, DenseRows, RowsLeft, ShortRows, Sums, run, run_vectors};
use super::pack::Strided;
use super::{Epilogue, Size};
use crate::simd::{Isa, simd_fn};
use std::mem::MaybeUninit;
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

/// Vectors of a wide tile, and its rows: with 32 registers as many sums as in one of MR rows and NV vectors.
const WIDE: (usize, usize) = (4, 6);

/// Greatest depth of those: a strip takes half of an L1 of 32 KiB.
const WIDE_DEPTH: usize = 64;

/// How a small product may be cut into tasks: tiles of some rows, and strips of some vectors of columns of about the same width; columns
/// that fill no vector are a strip of their own.
#[derive(Clone, Copy)]
struct SmallCuts {
    lanes: usize,
    n: usize,
    /// Rows of a tile.
    rows: usize,
    tiles: usize,
    /// Strips of whole vectors.
    whole: usize,
    strips: usize,
}

impl SmallCuts {
    #[inline(always)]
    fn new(lanes: usize, size: Size, parts: usize) -> Self {
        let cut = |vectors: usize, rows: usize| ((size.n / lanes).div_ceil(vectors), rows, size.m.div_ceil(rows));
        let (high, wide) = (cut(NV, mr(lanes)), cut(WIDE.0, WIDE.1));
        // Each tile costs something beside its multiply-adds. High ones are the better to share out.
        let fewer = wide.0 * wide.2 < high.0 * high.2 && parts == 1;
        let (whole, rows, tiles) = if lanes >= 16 && size.k <= WIDE_DEPTH && fewer { wide } else { high };
        let strips = whole + usize::from(!size.n.is_multiple_of(lanes));
        SmallCuts { lanes, n: size.n, rows, tiles, whole, strips }
    }

    /// The tiles and strips of part `part` of `parts`: whichever there are more of are shared out.
    #[inline(always)]
    fn part(self, (part, parts): (usize, usize)) -> (Range<usize>, Range<usize>) {
        let share = |count: usize| count * part / parts..count * (part + 1) / parts;
        match (parts, self.tiles >= self.strips) {
            (1, _) => (0..self.tiles, 0..self.strips),
            (_, true) => (share(self.tiles), 0..self.strips),
            (_, false) => (0..self.tiles, share(self.strips)),
        }
    }

    #[inline(always)]
    fn columns(self, strip: usize) -> Range<usize> {
        let vectors = self.n / self.lanes;
        let begin = |strip: usize| strip * vectors / self.whole * self.lanes;
        if strip < self.whole { begin(strip)..begin(strip + 1) } else { vectors * self.lanes..self.n }
    }
}

simd_fn! {
    /// Into how many parts, `wanted` at most, a small product can be cut.
    pub(crate) fn small_parts(_s, size: Size, wanted: usize) -> usize {
        let cuts = SmallCuts::new(S::LANES, size, wanted);
        wanted.min(cuts.tiles.max(cuts.strips)).max(1)
    }
}

/// Part `part.0` of `part.1` of result = left · right through `epilogue`, without work space.
///
/// # Safety
/// Both factors have the rows and columns of `size`; those of `right` have column stride 1.
pub(crate) unsafe fn multiply_small(
    isa: Isa,
    size: Size,
    part: (usize, usize),
    left: Strided<f32>,
    right: Strided<f32>,
    epilogue: &dyn Epilogue,
) {
    // One function from here to the registers: every size that depends on the instruction set is a constant in it.
    simd_fn! {
        fn checked(s, isa_again: Isa, size: Size, part: (usize, usize), left: Strided<f32>, right: Strided<f32>, epilogue: &dyn Epilogue) {
            let cuts = SmallCuts::new(S::LANES, size, part.1);
            let (tiles, strips) = cuts.part(part);
            let plain = epilogue.plain();
            let mut sums = [const { MaybeUninit::<f32>::uninit() }; 8 * 48]; // of a tile
            const { assert!(mr(S::LANES) * nr(S::LANES) <= 8 * 48 && WIDE.0 * WIDE.1 * S::LANES <= 8 * 48) };
            for strip in strips {
                let columns = cuts.columns(strip);
                let first = right.at(0, columns.start);
                let vectors = columns.len().div_ceil(S::LANES);
                for tile in tiles.clone() {
                    let rows = tile * cuts.rows..((tile + 1) * cuts.rows).min(size.m);
                    let tile = RowsLeft::new(left.at(rows.start, 0), left.row_stride, left.col_stride);
                    let result = plain.map(|plain| plain.part(rows.start, &columns, S::LANES));
                    let (at, stride) = (sums.as_mut_ptr().cast(), vectors * S::LANES);
                    let sums = Sums { at, stride, before: Before::Zero, result };
                    // SAFETY: tile and strip lie within the factors by the contract of `multiply_small`, the only caller; the sums
                    // hold a tile.
                    unsafe {
                        if columns.len() < S::LANES {
                            let strip = ShortRows { start: first, stride: right.row_stride, columns: columns.len() };
                            run_vectors::<S, _, _, 1>(s, rows.len(), size.k, tile, strip, None, sums);
                        } else {
                            let strip = DenseRows { start: first, stride: right.row_stride };
                            if S::LANES >= 16 && vectors == WIDE.0 {
                                run_vectors::<S, _, _, { WIDE.0 }>(s, rows.len(), size.k, tile, strip, None, sums);
                            } else {
                                run(s, (rows.len(), vectors), size.k, tile, strip, None, sums);
                            }
                        }
                    }
                    if result.is_none() {
                        // SAFETY: so many have been written.
                        let sums = unsafe { std::slice::from_raw_parts(at, rows.len() * stride) };
                        epilogue.finish(isa_again, rows, columns.clone(), sums, vectors);
                    }
                }
            }
        }
    }
    checked(isa, isa, size, part, left, right, epilogue);
}
