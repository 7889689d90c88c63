//! The block formats of GGUF, bit for bit.

use super::{Group, expect_len};
use crate::{Error, Result};
use half::f16;
use std::fmt;
use std::ops::Range;

/// A block format of GGUF. A row is a sequence of blocks; little-endian, scales in f16.
///
/// | format | inputs per block | bytes | w |
/// |---|---|---|---|
/// | `Q8_0` | 32 | d, 32 × i8 | d · q |
/// | `Q4_0` | 32 | d, 16 × two nibbles | d · (q − 8) |
/// | `Q4K` | 8 × 32 | d, dmin, 8 × (6-bit s, 6-bit m), 128 × two nibbles | d · s · q − dmin · m |
/// | `Q5K` | 8 × 32 | as `Q4K`, and 32 bytes of fifth bits before the nibbles | d · s · q − dmin · m |
/// | `Q6K` | 16 × 16 | 128 × two nibbles, 64 bytes of upper bits, 16 × i8 s, d | d · s · (q − 32) |
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BlockFormat {
    /// 8.5 bits per weight.
    Q8_0,
    /// 4.5 bits per weight.
    Q4_0,
    /// 4.5 bits per weight, with minima.
    Q4K,
    /// 5.5 bits per weight, with minima.
    Q5K,
    /// 6.5625 bits per weight.
    Q6K,
}

impl BlockFormat {
    /// Every format.
    pub const ALL: [BlockFormat; 5] =
        [BlockFormat::Q8_0, BlockFormat::Q4_0, BlockFormat::Q4K, BlockFormat::Q5K, BlockFormat::Q6K];

    /// As GGUF tools write it, in lower case.
    pub const fn name(self) -> &'static str {
        match self {
            BlockFormat::Q8_0 => "q8_0",
            BlockFormat::Q4_0 => "q4_0",
            BlockFormat::Q4K => "q4_k",
            BlockFormat::Q5K => "q5_k",
            BlockFormat::Q6K => "q6_k",
        }
    }

    /// Inputs of a block; K is a multiple of it.
    pub const fn block_size(self) -> usize {
        match self {
            BlockFormat::Q8_0 | BlockFormat::Q4_0 => 32,
            _ => 256,
        }
    }

    /// Inputs that share a scale.
    pub const fn group_size(self) -> usize {
        match self {
            BlockFormat::Q6K => 16,
            _ => 32,
        }
    }

    /// Bytes of a block.
    pub const fn block_bytes(self) -> usize {
        match self {
            BlockFormat::Q8_0 => 34,
            BlockFormat::Q4_0 => 18,
            BlockFormat::Q4K => 144,
            BlockFormat::Q5K => 176,
            BlockFormat::Q6K => 210,
        }
    }

    /// Largest code, and the code of zero where there are no minima. The signed codes of `Q8_0` count from −128.
    pub const fn codes(self) -> (u8, u8) {
        match self {
            BlockFormat::Q8_0 => (255, 128),
            BlockFormat::Q4_0 => (15, 8),
            BlockFormat::Q4K => (15, 0),
            BlockFormat::Q5K => (31, 0),
            BlockFormat::Q6K => (63, 32),
        }
    }

    /// Whether groups have a minimum.
    pub const fn has_minima(self) -> bool {
        matches!(self, BlockFormat::Q4K | BlockFormat::Q5K)
    }

    /// Where the scale d lies in a block.
    const fn scale_at(self) -> usize {
        if matches!(self, BlockFormat::Q6K) { 208 } else { 0 }
    }
}

impl fmt::Display for BlockFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A weight `[N, K]` in a block format of GGUF: N rows of K / [`block_size`](BlockFormat::block_size) blocks.
#[derive(Clone, Debug, PartialEq)]
pub struct Blocks {
    n: usize,
    k: usize,
    format: BlockFormat,
    bytes: Vec<u8>,
}

impl Blocks {
    /// A weight from the bytes of a GGUF tensor of shape `[K, N]` in GGUF's order of dimensions.
    ///
    /// # Errors
    /// `Value` if K is no multiple of the block size, the length does not fit, or a scale is not finite.
    pub fn new(n: usize, k: usize, format: BlockFormat, bytes: Vec<u8>) -> Result<Self> {
        let bad = |arg, wanted, got: String| Err(Error::Value { op: "weight", arg, wanted, got });
        if !k.is_multiple_of(format.block_size()) {
            return bad("k", "a multiple of the block size", format!("{k} for {format}"));
        }
        let row_bytes = (k / format.block_size()).checked_mul(format.block_bytes());
        expect_len("bytes", bytes.len(), row_bytes.and_then(|row| row.checked_mul(n)))?;
        let blocks = Blocks { n, k, format, bytes };
        for (at, block) in blocks.bytes.chunks_exact(format.block_bytes()).enumerate() {
            let (d, dmin) = blocks.scales_in(block);
            if let Some(scale) = [d, dmin].into_iter().find(|scale| !scale.is_finite()) {
                return bad("bytes", "finite scales", format!("{scale} in block {at}"));
            }
        }
        Ok(blocks)
    }

    /// Rows: out_features.
    pub fn n(&self) -> usize {
        self.n
    }
    /// Columns: in_features.
    pub fn k(&self) -> usize {
        self.k
    }
    /// Format.
    pub fn format(&self) -> BlockFormat {
        self.format
    }
    /// The blocks, row by row.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    fn block(&self, n: usize, index: usize) -> &[u8] {
        let size = self.format.block_bytes();
        let at = n * (self.k / self.format.block_size()) + index;
        &self.bytes[at * size..(at + 1) * size]
    }

    fn scales_in(&self, block: &[u8]) -> (f16, f16) {
        let read = |at: usize| f16::from_le_bytes([block[at], block[at + 1]]);
        let at = self.format.scale_at();
        (read(at), if self.format.has_minima() { read(at + 2) } else { f16::ZERO })
    }

    /// Scale and factor of the minima (0 in formats without) of block `index` of row `n`, both in range.
    pub fn scales(&self, n: usize, index: usize) -> (f16, f16) {
        self.scales_in(self.block(n, index))
    }

    /// Integer factors of scale and minimum of group `g` of row `n`, both in range; (1, 0) in formats without.
    pub fn factors(&self, n: usize, g: usize) -> (i8, u8) {
        let groups = self.format.block_size() / self.format.group_size();
        let (block, j) = (self.block(n, g / groups), g % groups);
        match self.format {
            BlockFormat::Q8_0 | BlockFormat::Q4_0 => (1, 0),
            BlockFormat::Q6K => (block[192 + j] as i8, 0),
            // Six bits each in 12 bytes: the upper two bits of the last four of each lie above the first four.
            BlockFormat::Q4K | BlockFormat::Q5K => {
                let q = &block[4..16];
                let (scale, min) = match j {
                    0..4 => (q[j] & 63, q[j + 4] & 63),
                    _ => (q[j + 4] & 15 | q[j - 4] >> 6 << 4, q[j + 4] >> 4 | q[j] >> 6 << 4),
                };
                (scale as i8, min)
            }
        }
    }

    /// Code of element (n, k), both in range.
    pub fn code(&self, n: usize, k: usize) -> u8 {
        let (block, i) = (self.block(n, k / self.format.block_size()), k % self.format.block_size());
        // In the large blocks, 64 inputs share 32 bytes of nibbles, the first 32 of them in the low ones.
        let nibble = |from: usize| block[from + i / 64 * 32 + i % 32] >> (i % 64 / 32 * 4) & 15;
        match self.format {
            BlockFormat::Q8_0 => block[2 + i] ^ 0x80,
            BlockFormat::Q4_0 => block[2 + i % 16] >> (i / 16 * 4) & 15,
            BlockFormat::Q4K => nibble(16),
            BlockFormat::Q5K => nibble(48) | (block[16 + i % 32] >> (i / 32) & 1) << 4,
            BlockFormat::Q6K => {
                // 128 inputs share 64 bytes of nibbles and 32 of upper bits.
                let (half, part, l) = (i / 128, i % 128 / 32, i % 32);
                let low = block[64 * half + part % 2 * 32 + l] >> (part / 2 * 4) & 15;
                low | (block[128 + 32 * half + l] >> (2 * part) & 3) << 4
            }
        }
    }

    /// What the codes of group `g` of row `n` stand for, both in range. The products of scales and their factors are exact.
    pub fn group(&self, n: usize, g: usize) -> Group {
        let groups = self.format.block_size() / self.format.group_size();
        let ((d, dmin), (scale, min)) = (self.scales(n, g / groups), self.factors(n, g));
        let (scale, min) = (d.to_f32() * f32::from(scale), dmin.to_f32() * f32::from(min));
        Group { scale, zero: self.format.codes().1, min }
    }

    /// The matrix it stands for, row-major `[N, K]`, to the bit as ggml dequantizes it: each value rounded once.
    pub fn to_f32(&self) -> Vec<f32> {
        let group_size = self.format.group_size();
        let mut dense = Vec::with_capacity(self.n * self.k);
        for n in 0..self.n {
            for g in 0..self.k / group_size {
                let group = self.group(n, g);
                let span: Range<usize> = g * group_size..(g + 1) * group_size;
                dense.extend(span.map(|k| group.value(self.code(n, k))));
            }
        }
        dense
    }
}
