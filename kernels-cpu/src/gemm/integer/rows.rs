//! The left factor of products of integers: rows of i8 as words of four, with what the sums of a group start with.

use crate::gemm::pack::Strided;
use crate::simd::dot::dot_fn;
use crate::simd::{Isa, Simd};
use crate::threads::{Parts, Pool};
use crate::weight::code::Groups;
use std::ops::Range;

/// How rows are packed.
#[derive(Clone, Copy)]
pub(crate) struct RowLayout {
    pub groups: Groups,
    /// A group's exact sum starts with this times the sum of its x.
    pub start_factor: i32,
    /// Whether −Σx of groups is wanted as f32.
    pub sums: bool,
}

impl RowLayout {
    /// Words from row to row. No multiple of a page, so that the rows of a tile do not fall into the same lines of the cache.
    pub fn stride(self) -> usize {
        self.groups.quads().next_multiple_of(16) + 16
    }

    /// Words of work space for `rows` rows: whole cache lines, so that what follows begins one.
    pub fn room(self, rows: usize) -> usize {
        (rows * (self.stride() + self.groups.count() * (1 + usize::from(self.sums)))).next_multiple_of(16)
    }

    /// Packs `rows` of x into `room`, which has [`RowLayout::room`] words.
    pub fn pack<'a>(self, pool: &Pool, isa: Isa, x: Strided<i8>, rows: Range<usize>, room: &'a mut [i32]) -> Rows<'a> {
        let (stride, groups) = (self.stride(), self.groups.count());
        let count = rows.len();
        let (words, rest) = room.split_at_mut(count * stride);
        let (starts, sums) = rest.split_at_mut(count * groups);
        let (to_words, to_starts, to_sums) = (Parts::new(words), Parts::new(starts), Parts::new(sums));
        pool.run_sized(count * self.groups.k, count, &|i| {
            // SAFETY: each row belongs to one task; a matrix has all its elements readable.
            unsafe {
                let words = to_words.part(i * stride, stride);
                copy_row(x, rows.start + i, self.groups, bytemuck::cast_slice_mut(words));
                let starts = to_starts.part(i * groups, groups);
                let sums = if self.sums { to_sums.part(i * groups, groups) } else { &mut [] };
                sum_groups(isa, words, self.groups.quads(), self.groups.quads_per_group(), self.start_factor, starts, sums);
            }
        });
        Rows { words, starts, sums: bytemuck::cast_slice(sums), stride, groups }
    }
}

/// Packed rows.
pub(crate) struct Rows<'a> {
    words: &'a [i32],
    starts: &'a [i32],
    sums: &'a [f32],
    pub stride: usize,
    pub groups: usize,
}

impl Rows<'_> {
    /// Words of row `row` from quad `quad` on.
    pub fn words(&self, row: usize, quad: usize) -> *const i32 {
        self.words[row * self.stride + quad..].as_ptr()
    }
    /// Starts and, if they were wanted, −Σx of row `row` from group `group` on.
    pub fn starts(&self, row: usize, group: usize) -> (*const i32, *const f32) {
        let at = row * self.groups + group;
        (self.starts[at..].as_ptr(), self.sums.as_ptr().wrapping_add(at))
    }
}

/// Bytes of a row, every group beginning a step, all between them 0.
///
/// # Safety
/// The row is readable; `to` has at least 4 bytes per quad.
unsafe fn copy_row(x: Strided<i8>, row: usize, groups: Groups, to: &mut [u8]) {
    let group_bytes = 4 * groups.quads_per_group();
    // Groups that fill their steps follow each other without gaps.
    let (size, count, step) = match groups.size == group_bytes || groups.count() == 1 {
        true => (groups.k, 1, to.len()),
        false => (groups.size, groups.count(), group_bytes),
    };
    for group in 0..count {
        let start = group * size;
        let inputs = size.min(groups.k - start);
        // The last group may have fewer steps than the others; what follows it is padding of the row.
        let end = if group + 1 == count { to.len() } else { (group + 1) * step };
        let (data, rest) = to[group * step..end].split_at_mut(inputs);
        if x.col_stride == 1 {
            // SAFETY: by contract.
            let from = unsafe { std::slice::from_raw_parts(x.at(row, start).cast::<u8>(), inputs) };
            data.copy_from_slice(from);
        } else {
            // SAFETY: by contract.
            data.iter_mut().enumerate().for_each(|(i, byte)| *byte = unsafe { *x.at(row, start + i) } as u8);
        }
        rest.fill(0);
    }
}

dot_fn! {
    /// starts[g] = factor · Σ of the bytes of group g, sums[g] = −Σ; the words beyond the last are 0.
    ///
    /// # Safety
    /// None is needed.
    unsafe fn sum_groups(
        d,
        words: &[i32],
        quads: usize,
        per_group: usize,
        factor: i32,
        starts: &mut [i32],
        sums: &mut [i32],
    ) {
        let s = d.simd();
        let (flip, four_times) = (s.int(0x8080_8080u32 as i32), s.int(-512));
        for (group, start) in starts.iter_mut().enumerate() {
            let words = &words[group * per_group..quads.min((group + 1) * per_group)];
            let mut total = s.int(0);
            for at in (0..words.len()).step_by(D::S::LANES) {
                let part = &words[at..words.len().min(at + D::S::LANES)];
                let part: &[f32] = bytemuck::cast_slice(part); // bits only
                // Σ (x + 128) − 4 · 128
                let x = s.bits(crate::simd::load(s, part, 0)) ^ flip;
                total = total + d.dot(four_times, x, 0x0101_0101);
            }
            let mut lanes = [0f32; 16];
            // SAFETY: no vector has more lanes.
            unsafe { s.store(lanes.as_mut_ptr(), s.from_bits(total)) };
            let sum = lanes.iter().fold(0i32, |sum, lane| sum.wrapping_add(lane.to_bits() as i32));
            *start = factor.wrapping_mul(sum);
            if let Some(to) = sums.get_mut(group) {
                *to = (-sum as f32).to_bits() as i32;
            }
        }
    }
}
