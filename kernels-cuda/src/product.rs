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

/// Which kernels make products of 16 and 8 bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Products {
    /// What is fastest, as far as the shape tells.
    #[default]
    Auto,
    /// As `Auto` on a device of Hopper's, with its own tensor cores where they are faster.
    AutoHopper,
    /// Tiles of 64 × 64, for every shape.
    Small,
    /// Tiles of 128 × 128, for every shape.
    Large,
    /// Hopper's own tensor cores, for every shape they can make.
    Hopper,
}

/// What chooses a kind of kernels for every shape.
const VARIABLE: &str = "SIZEWISE_CUDA_PRODUCTS";

impl Products {
    /// What the environment asks for: `auto`, `small`, `large` or `hopper`.
    ///
    /// # Errors
    /// Another word; Hopper's kernels on another device.
    pub(crate) fn chosen(is_hopper: bool) -> std::result::Result<Self, String> {
        Products::of(std::env::var(VARIABLE).ok().as_deref(), is_hopper)
    }

    fn of(word: Option<&str>, is_hopper: bool) -> std::result::Result<Self, String> {
        match word {
            None | Some("" | "auto") => Ok(if is_hopper { Products::AutoHopper } else { Products::Auto }),
            Some("small") => Ok(Products::Small),
            Some("large") => Ok(Products::Large),
            Some("hopper") if is_hopper => Ok(Products::Hopper),
            Some("hopper") => Err(format!("{VARIABLE} is `hopper`, but this is no device of compute capability 9.0")),
            Some(other) => Err(format!("{VARIABLE} is `{other}`, and must be `auto`, `small`, `large` or `hopper`")),
        }
    }

    /// Whether Hopper's tensor cores make a product with so many of their tiles.
    pub(crate) fn take_hopper(self, rows: u32, columns: u32, tiles: u64, units: u64) -> bool {
        match self {
            Products::Hopper => true,
            Products::AutoHopper => rows > 64 && columns > 64 && tiles * 4 >= units,
            _ => false,
        }
    }
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
        let enough = match on.products {
            Products::Small => false,
            Products::Large => true,
            _ => rows > 64 && columns > 64 && blocks >= on.info().threads as u64,
        };
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
