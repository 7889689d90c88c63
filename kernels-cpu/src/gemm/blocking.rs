//! The sizes of the five loops, one table for all instruction sets.
//!
//! | loop | step | what stays where |
//! |---|---|---|
//! | rows of the left factor | MC | the packed left block in L2/L3, shared by all threads |
//! | columns of the right factor | NR | one strip per task, with its f32 result [MC, NR] in L2 |
//! | depth | KC | the panel [KC, NR] of the strip in L1/L2 |
//! | rows of the block | MR | the left tile [MR, KC] in L1 |
//! | depth of the panel | 1 | the result tile [MR, NR] in registers |
//!
//! | instruction set | registers | MR | NR | why |
//! |---|---|---|---|---|
//! | AVX-512 | 32 of 16 lanes | 8 | 48 | 24 accumulators, 3 for the panel row; 11 loads per 24 multiply-adds |
//! | AVX2, scalar | 16 of 8 lanes | 4 | 24 | 12 accumulators, 3 for the panel row, 1 for the left element |
//!
//! An element of the result is one chain of fused multiply-adds over k = 0, 1, …, K − 1 whatever these sizes are: no choice of
//! block, path or thread changes a bit of it, and a row of a batch equals the row alone.

use crate::simd::simd_fn;
use std::ops::Range;

/// Vectors in a row of the result tile.
pub(crate) const NV: usize = 3;

/// Depth of a panel.
pub(crate) const KC: usize = 256;

/// Largest number of rows of a packed left block.
const MC: usize = 512;

/// Largest packed left block, unless MR rows are larger: it should stay in the last-level cache.
const LEFT_BYTES: usize = 8 << 20;

simd_fn! {
    /// f32 lanes of a vector.
    pub(crate) fn lanes(_s) -> usize { S::LANES }
}

/// Rows of the result tile.
pub(crate) const fn mr(lanes: usize) -> usize {
    if lanes >= 16 { 8 } else { 4 }
}

/// Columns of a strip.
pub(crate) const fn nr(lanes: usize) -> usize {
    NV * lanes
}

/// Rows of a left block of depth `k`: a multiple of MR.
pub(crate) fn mc(lanes: usize, k: usize) -> usize {
    let fitting = (LEFT_BYTES / size_of::<f32>() / k.max(1)).min(MC);
    fitting.next_multiple_of(mr(lanes)).max(mr(lanes))
}

/// The columns of a matrix, cut into strips.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Strips {
    columns: usize,
    lanes: usize,
}

impl Strips {
    pub fn new(columns: usize, lanes: usize) -> Self {
        Strips { columns, lanes }
    }
    /// How many strips.
    pub fn count(self) -> usize {
        self.columns.div_ceil(nr(self.lanes))
    }
    /// Columns of strip `index`.
    pub fn columns(self, index: usize) -> Range<usize> {
        let start = index * nr(self.lanes);
        start..(start + nr(self.lanes)).min(self.columns)
    }
    /// Vectors that hold a row of strip `index`; the last may be partly filled.
    pub fn vectors(self, index: usize) -> usize {
        self.columns(index).len().div_ceil(self.lanes)
    }
    /// Elements of a row over all strips, the padding of the last among them.
    pub fn padded(self) -> usize {
        self.columns.next_multiple_of(self.lanes)
    }
}
