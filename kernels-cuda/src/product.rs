//! What launchers of products share: tiles, and how factors are staged, as `cu/product.cuh` and `cu/tile.cuh` have it.

use crate::CudaBackend;
use crate::driver::Address;
use kernels::{Backend, DType};

/// Ways to stage a factor and to store results.
pub(crate) mod ways {
    pub const SCATTERED: u32 = 0;
    pub const ALONG: u32 = 1;
    pub const ACROSS: u32 = 2;

    pub const ONE_BY_ONE: u32 = 0;
    pub const ROW_PAIRS: u32 = 1;
    pub const COLUMN_PAIRS: u32 = 2;
}

/// Results of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tile {
    /// 128 × 128.
    Large,
    /// 64 × 64.
    Small,
}

impl Tile {
    /// The large one, if that leaves a block to each multiprocessor.
    pub fn of(on: &CudaBackend, rows: u32, columns: u32, batch: u64) -> Self {
        let blocks = Tile::Large.blocks(rows, columns).saturating_mul(batch);
        let enough = rows > 64 && columns > 64 && blocks >= on.info().threads as u64;
        if enough { Tile::Large } else { Tile::Small }
    }

    /// Blocks for a result of this size.
    pub fn blocks(self, rows: u32, columns: u32) -> u64 {
        let size = if self == Tile::Large { 128 } else { 64 };
        u64::from(rows.div_ceil(size)) * u64::from(columns.div_ceil(size))
    }

    /// Threads of a block.
    pub fn threads(self, dtype: DType) -> u32 {
        if self == Tile::Small && dtype != DType::F32 { 128 } else { 256 }
    }
}

/// A matrix in memory; strides in elements.
#[derive(Clone, Copy)]
pub(crate) struct Matrix {
    pub address: Address,
    pub row: u64,
    pub column: u64,
    pub dtype: DType,
}

impl Matrix {
    pub fn transposed(self) -> Self {
        Matrix { row: self.column, column: self.row, ..self }
    }

    /// How a factor `[rows, K]` is staged.
    pub fn way(&self, [rows, k]: [u32; 2], lead: &[u64; 4]) -> u32 {
        let size = self.dtype.size_bytes() as u64;
        let aligned = |stride: u64| (stride * size).is_multiple_of(16);
        if !self.address.is_multiple_of(16) || !lead.iter().all(|&stride| aligned(stride)) {
            ways::SCATTERED
        } else if self.column == 1 && (rows == 1 || aligned(self.row)) {
            ways::ALONG
        } else if self.row == 1 && (k == 1 || aligned(self.column)) {
            ways::ACROSS
        } else {
            ways::SCATTERED
        }
    }

    /// How results are stored: two at a time on tensor cores, four in tiles on CUDA cores.
    pub fn store_way(&self, fours: bool, lead: &[u64; 4]) -> u32 {
        let together = if fours { 4 } else { 2 };
        let aligned = |stride: u64| stride.is_multiple_of(together);
        if !self.address.is_multiple_of(together * self.dtype.size_bytes() as u64) || !lead.iter().all(|&stride| aligned(stride))
        {
            ways::ONE_BY_ONE
        } else if self.column == 1 && aligned(self.row) {
            ways::ROW_PAIRS
        } else if self.row == 1 && aligned(self.column) && !fours {
            ways::COLUMN_PAIRS
        } else {
            ways::ONE_BY_ONE
        }
    }
}
