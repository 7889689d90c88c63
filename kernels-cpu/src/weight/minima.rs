//! Minima of a weight in blocks (Q4_K, Q5_K): an f16 for every block of eight groups times a byte for each group.
//!
//! With a row x a block contributes −value · Σ byte·Σx over its groups. That sum is of at most 8 · 63 · 32 · 128 < 2²⁴: exact in i32,
//! and in f32, so that a block costs one rounding.

use super::quant::Placed;
use crate::CpuBackend;
use crate::memory::CpuStorage;
use crate::simd::Simd;
use crate::simd::dot::Dot;
use half::f16;
use kernels::Result;

/// Groups of a block.
pub(crate) const BLOCK_GROUPS: usize = 8;

/// Words per row of x and block, two sums of i16 each.
pub(crate) const SUM_WORDS: usize = BLOCK_GROUPS / 2;

/// The word and the shift of −Σx of a group, among those of its block: pairs 0 and 2, 1 and 3, 4 and 6, 5 and 7, whose bytes a mask
/// leaves in the halves of a word.
pub(crate) fn place(group: usize) -> (usize, u32) {
    let at = group % BLOCK_GROUPS;
    (at / 4 * 2 + at % 2, 16 * (at as u32 / 2 % 2))
}

pub(crate) struct Minima {
    /// f16 [strips, blocks, NR].
    values: CpuStorage,
    /// u32 [strips, blocks · 2, NR], the bytes of four groups each.
    words: CpuStorage,
    blocks: usize,
}

impl Minima {
    /// Lays out `values` of (n, block) and `bytes` of (n, group).
    ///
    /// # Errors
    /// `OutOfMemory`.
    pub fn pack(
        cpu: &CpuBackend,
        placed: Placed,
        groups: usize,
        values: &dyn Fn(usize, usize) -> f16,
        bytes: &dyn Fn(usize, usize) -> u8,
    ) -> Result<Self> {
        let blocks = groups / BLOCK_GROUPS;
        let word = |n, word: usize| u32::from_le_bytes([0, 1, 2, 3].map(|i| bytes(n, 4 * word + i)));
        Ok(Minima { values: placed.fill(cpu, blocks, values)?, words: placed.fill(cpu, 2 * blocks, &word)?, blocks })
    }

    /// Bytes they occupy.
    pub fn bytes(&self) -> usize {
        self.values.bytes() + self.words.bytes()
    }

    /// Those of the strip that begins at column `start`, whose rows are `width` long.
    #[inline(always)]
    pub fn rows(&self, start: usize, width: usize) -> MinimaRows {
        let at = start * self.blocks;
        MinimaRows {
            values: self.values.as_slice::<u16>().as_ptr().wrapping_add(at),
            words: self.words.as_slice::<f32>().as_ptr().wrapping_add(2 * at),
            width,
        }
    }
}

/// Minima of a strip.
#[derive(Clone, Copy)]
pub(crate) struct MinimaRows {
    values: *const u16,
    words: *const f32,
    width: usize,
}

impl MinimaRows {
    /// Those of the columns from `column` on.
    #[inline(always)]
    pub fn from_column(self, column: usize) -> Self {
        MinimaRows { values: self.values.wrapping_add(column), words: self.words.wrapping_add(column), ..self }
    }

    /// Minima of group `group` for the outputs from column `j` on, exact.
    ///
    /// # Safety
    /// The strip has the group, and a whole vector at `j`.
    #[inline(always)]
    pub unsafe fn at<S: Simd>(self, s: S, group: usize, j: usize) -> S::V {
        let block = group / BLOCK_GROUPS;
        // SAFETY: contract.
        let (value, word) = unsafe {
            let word = s.bits(s.load(self.words.add((2 * block + group % BLOCK_GROUPS / 4) * self.width + j)));
            (s.load_f16(self.values.add(block * self.width + j)), word)
        };
        let byte = match group % 4 {
            0 => word,
            1 => s.shr::<8>(word),
            2 => s.shr::<16>(word),
            _ => s.shr::<24>(word),
        };
        value * s.to_float(byte & s.int(0xff))
    }

    /// totals += what block `block` contributes to MR rows and NV vectors of outputs. Word w of row i is at `sums[w·step + i]`.
    ///
    /// # Safety
    /// The strip has the block and the vectors, `sums` what has been said.
    #[inline(always)]
    pub unsafe fn add_block<D: Dot, const MR: usize, const NV: usize>(
        self,
        d: D,
        block: usize,
        (sums, step): (*const i32, usize),
        totals: &mut [[<D::S as Simd>::V; NV]; MR],
    ) {
        let s = d.simd();
        let mask = s.int(0x00ff_00ff);
        for j in 0..NV {
            let column = j * D::S::LANES;
            // SAFETY: contract.
            let (value, words) = unsafe {
                let word = |i: usize| s.bits(s.load(self.words.add((2 * block + i) * self.width + column)));
                (s.load_f16(self.values.add(block * self.width + column)), [word(0), word(1)])
            };
            let pairs = [words[0] & mask, s.shr::<8>(words[0]) & mask, words[1] & mask, s.shr::<8>(words[1]) & mask];
            for (i, total) in totals.iter_mut().enumerate() {
                let mut sum = s.int(0);
                for (w, &pair) in pairs.iter().enumerate() {
                    // SAFETY: contract.
                    sum = d.dot_pairs(sum, pair, unsafe { *sums.add(w * step + i) });
                }
                total[j] = s.fma(s.to_float(sum), value, total[j]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{BLOCK_GROUPS, place};

    #[test]
    fn places_are_those_of_the_pairs() {
        for group in 0..2 * BLOCK_GROUPS {
            let (word, shift) = place(group);
            let pair = [(0, 2), (1, 3), (4, 6), (5, 7)][word];
            assert_eq!(if shift == 0 { pair.0 } else { pair.1 }, group % BLOCK_GROUPS);
        }
    }
}
