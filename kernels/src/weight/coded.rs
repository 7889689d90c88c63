//! What all weights of integer codes have in common.

use super::{Blocks, Quant};

/// What the codes of a group stand for: w = scale · (code − zero) − min.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Group {
    /// Factor of the codes.
    pub scale: f32,
    /// The code of zero, where there is no minimum.
    pub zero: u8,
    /// What is taken off; 0 in most formats.
    pub min: f32,
}

impl Group {
    /// The weight a code stands for. One rounding: where there is a minimum, scale · code is exact.
    pub fn value(self, code: u8) -> f32 {
        self.scale * (i32::from(code) - i32::from(self.zero)) as f32 - self.min
    }
}

/// A weight `[N, K]` of integer codes in groups along K.
#[derive(Clone, Copy, Debug)]
pub enum Coded<'a> {
    /// Groups of any size, a scale for each.
    Quant(&'a Quant),
    /// A block format of GGUF.
    Blocks(&'a Blocks),
}

impl Coded<'_> {
    /// Rows: out_features.
    pub fn n(self) -> usize {
        match self {
            Coded::Quant(quant) => quant.n(),
            Coded::Blocks(blocks) => blocks.n(),
        }
    }

    /// Columns: in_features.
    pub fn k(self) -> usize {
        match self {
            Coded::Quant(quant) => quant.k(),
            Coded::Blocks(blocks) => blocks.k(),
        }
    }

    /// Inputs that share a scale; at most K, at least 1.
    pub fn group_size(self) -> usize {
        let size = match self {
            Coded::Quant(quant) => quant.scheme().group_size,
            Coded::Blocks(blocks) => blocks.format().group_size(),
        };
        size.min(self.k()).max(1)
    }

    /// Groups of a row.
    pub fn groups(self) -> usize {
        self.k().div_ceil(self.group_size())
    }

    /// Largest code.
    pub fn max_code(self) -> u8 {
        match self {
            Coded::Quant(quant) => quant.scheme().max_code(),
            Coded::Blocks(blocks) => blocks.format().codes().0,
        }
    }

    /// Code of element (n, k), both in range.
    pub fn code(self, n: usize, k: usize) -> u8 {
        match self {
            Coded::Quant(quant) => quant.code(n, k),
            Coded::Blocks(blocks) => blocks.code(n, k),
        }
    }

    /// What the codes of group `g` of row `n` stand for, both in range.
    pub fn group(self, n: usize, g: usize) -> Group {
        match self {
            Coded::Quant(quant) => {
                let (scale, zero) = quant.group(n, g);
                Group { scale, zero, min: 0.0 }
            }
            Coded::Blocks(blocks) => blocks.group(n, g),
        }
    }
}
