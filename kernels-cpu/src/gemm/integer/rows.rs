//! The left factor of products of integers: tiles of rows of i8 as words of four, with what the sums of a group start with.

use crate::gemm::pack::Strided;
use crate::simd::dot::{dot_fn, transpose_words};
use crate::simd::{Isa, Simd};
use crate::threads::{Parts, Pool};
use crate::weight::code::Groups;
use crate::weight::minima::{self, BLOCK_GROUPS, SUM_WORDS};
use std::ops::Range;

/// Rows of a tile. Quad q of row i of a tile of `height` rows is its word q·height + i, and so lies what belongs to groups: a tile
/// is read as one stream.
const TILE_ROWS: usize = 8;

/// How rows are packed.
#[derive(Clone, Copy)]
pub(crate) struct RowLayout {
    pub groups: Groups,
    /// A group's exact sum starts with this times the sum of its x.
    pub start_factor: i32,
    /// Whether −Σx of groups is wanted, for minima.
    pub sums: bool,
}

/// Rows of the tile that begins where `left` rows are left: 8, and of the last ones 4, 2 and 1.
#[inline(always)]
pub(crate) fn tile_height(left: usize) -> usize {
    if left >= TILE_ROWS { TILE_ROWS } else { 1 << left.max(1).ilog2() }
}

impl RowLayout {
    /// Words per row.
    pub fn stride(self) -> usize {
        self.groups.quads().next_multiple_of(16)
    }

    /// Words of work space for `rows` rows: whole cache lines, so that what follows begins one.
    pub fn room(self, rows: usize) -> usize {
        (rows * (self.stride() + self.groups.count() + self.sum_words())).next_multiple_of(16)
    }

    /// Words of −Σx per row.
    fn sum_words(self) -> usize {
        if self.sums { self.groups.count() / BLOCK_GROUPS * SUM_WORDS } else { 0 }
    }

    /// Packs `rows` of x into `room`, which has [`RowLayout::room`] words.
    pub fn pack<'a>(self, pool: &Pool, isa: Isa, x: Strided<i8>, rows: Range<usize>, room: &'a mut [i32]) -> Rows<'a> {
        let (stride, groups, sum_words) = (self.stride(), self.groups.count(), self.sum_words());
        let count = rows.len();
        let (words, rest) = room.split_at_mut(count * stride);
        let (starts, sums) = rest.split_at_mut(count * groups);
        let (to_words, to_starts, to_sums) = (Parts::new(words), Parts::new(starts), Parts::new(sums));
        pool.run_sized(count * self.groups.k, count.div_ceil(TILE_ROWS), &|task| {
            let mut row = task * TILE_ROWS;
            let end = count.min(row + TILE_ROWS);
            while row < end {
                let height = tile_height(end - row);
                // SAFETY: each tile belongs to one task; a matrix has all its elements readable.
                unsafe {
                    let words = to_words.part(row * stride, height * stride);
                    interleave_rows(x.from(rows.start + row, 0), height, self.groups, words);
                    let starts = to_starts.part(row * groups, height * groups);
                    let sums = to_sums.part(row * sum_words, height * sum_words);
                    sum_groups(isa, words, height, self.groups, self.start_factor, starts, sums);
                }
                row += height;
            }
        });
        Rows { words, starts, sums, stride, groups, sum_words }
    }
}

/// Packed rows.
pub(crate) struct Rows<'a> {
    words: &'a [i32],
    starts: &'a [i32],
    sums: &'a [i32],
    pub stride: usize,
    pub groups: usize,
    sum_words: usize,
}

impl Rows<'_> {
    /// Words of the tiles from row `row` on, with which one begins.
    pub fn words(&self, row: usize) -> *const i32 {
        self.words[row * self.stride..].as_ptr()
    }
    /// Starts and, if they were wanted, −Σx of the tiles from row `row` on: words of blocks as [`minima`](crate::weight::minima) has
    /// them.
    pub fn starts(&self, row: usize) -> (*const i32, *const i32) {
        (self.starts[row * self.groups..].as_ptr(), self.sums.as_ptr().wrapping_add(row * self.sum_words))
    }
}

/// Words [quads, height] of the first rows of x, every group beginning a step, all between them 0.
///
/// # Safety
/// The rows are readable; `to` has whole rows of `height` words, at least as many as there are quads.
unsafe fn interleave_rows(x: Strided<i8>, height: usize, groups: Groups, to: &mut [i32]) {
    let group_words = groups.quads_per_group() * height;
    // Groups that fill their steps follow each other without gaps.
    let whole = groups.size == 4 * groups.quads_per_group() || groups.count() == 1;
    let (size, count) = if whole { (groups.k, 1) } else { (groups.size, groups.count()) };
    for group in 0..count {
        let start = group * size;
        let inputs = size.min(groups.k - start);
        // The last group may have fewer steps than the others; what follows it is padding of the rows.
        let end = if group + 1 == count { to.len() } else { (group + 1) * group_words };
        let to = &mut to[group * group_words..end];
        // SAFETY: by contract, here and below.
        let done = if x.col_stride == 1 { unsafe { interleave_quads(x.from(0, start), height, inputs, to) } } else { 0 };
        for (quad, words) in to.chunks_exact_mut(height).enumerate().skip(done) {
            let bytes = inputs.saturating_sub(4 * quad).min(4);
            for (i, word) in words.iter_mut().enumerate() {
                let mut quad_bytes = [0; 4];
                for (p, byte) in quad_bytes.iter_mut().enumerate().take(bytes) {
                    // SAFETY: contract.
                    *byte = unsafe { *x.at(i, start + 4 * quad + p) } as u8;
                }
                *word = i32::from_le_bytes(quad_bytes);
            }
        }
    }
}

/// Interleaves quads of rows without gaps, as many as vectors hold, and returns how many.
///
/// # Safety
/// `height` rows of `inputs` bytes are readable; `to` has room for their words.
unsafe fn interleave_quads(x: Strided<i8>, height: usize, inputs: usize, to: &mut [i32]) -> usize {
    let at_once = if height >= 4 { 4 } else { 1 };
    let quads = inputs / 4 / at_once * at_once;
    let to = &mut to[..quads * height];
    for (step, words) in to.chunks_exact_mut(at_once * height).enumerate() {
        let column = 4 * at_once * step;
        for i in (0..height).step_by(at_once) {
            // SAFETY: 4 · at_once bytes follow `column` in every row.
            unsafe {
                if at_once == 4 {
                    let rows = [0, 1, 2, 3].map(|row| x.at(i + row, column));
                    transpose_words(rows, words[i..].as_mut_ptr(), height);
                } else {
                    words[i] = i32::from_le(x.at(i, column).cast::<i32>().read_unaligned());
                }
            }
        }
    }
    quads
}

dot_fn! {
    /// starts[g, i] = factor · Σ of the bytes of group g of row i; of whole blocks, if there are sums, the words of −Σ. The words between
    /// groups are 0.
    ///
    /// # Safety
    /// None is needed.
    unsafe fn sum_groups(d, words: &[i32], height: usize, groups: Groups, factor: i32, starts: &mut [i32], sums: &mut [i32]) {
        let s = d.simd();
        let (flip, four_times) = (s.int(0x8080_8080u32 as i32), s.int(-512));
        let (quads, per_group, count) = (groups.quads(), groups.quads_per_group(), groups.count());
        for group in 0..count {
            let words = &words[group * per_group * height..quads.min((group + 1) * per_group) * height];
            let mut totals = [s.int(0); 2];
            for at in (0..words.len()).step_by(2 * D::S::LANES) {
                for (chain, total) in totals.iter_mut().enumerate() {
                    let from = words.len().min(at + chain * D::S::LANES);
                    let part = &words[from..words.len().min(from + D::S::LANES)];
                    let part: &[f32] = bytemuck::cast_slice(part); // bits only
                    // Σ (x + 128) − 4 · 128
                    let x = s.bits(crate::simd::load(s, part, 0)) ^ flip;
                    *total = *total + d.dot(four_times, x, 0x0101_0101);
                }
            }
            let mut lanes = [0f32; 16];
            // SAFETY: no vector has more lanes.
            unsafe { s.store(lanes.as_mut_ptr(), s.from_bits(totals[0] + totals[1])) };
            // Lanes are those of whole columns of the tile.
            let mut lanes = lanes.map(|lane| lane.to_bits() as i32);
            let mut left = lanes.len();
            while left > height {
                left /= 2;
                let (low, high) = lanes.split_at_mut(left);
                low.iter_mut().zip(high).for_each(|(low, high)| *low = low.wrapping_add(*high));
            }
            let of_rows = group * height..(group + 1) * height;
            starts[of_rows].iter_mut().zip(lanes).for_each(|(start, sum)| *start = factor.wrapping_mul(sum));
            let (word, shift) = minima::place(group);
            let at = (group / BLOCK_GROUPS * SUM_WORDS + word) * height;
            if let Some(to) = sums.get_mut(at..at + height) {
                for (to, sum) in to.iter_mut().zip(lanes) {
                    // |Σ| ≤ 32 · 128; the low half comes first.
                    let half = i32::from(-sum as i16 as u16) << shift;
                    *to = if shift == 0 { half } else { *to | half };
                }
            }
        }
    }
}
