//! Fetching what will be read next while a kernel computes.
//!
//! Where weights serve many rows, the first tile of rows waits for memory, which idles under the others: the times of memory and of
//! arithmetic add up. So each tile fetches its share of the weights that come after its own.

use crate::simd::Simd;
use std::ops::Range;

/// Bytes of a cache line.
const LINE: usize = 64;

/// Memory to be fetched to L2. It is never read, so that any address will do.
#[derive(Clone, Copy)]
pub(crate) struct Ahead {
    start: *const f32,
    lines: usize,
}

impl Ahead {
    /// Nothing.
    pub const NONE: Self = Ahead { start: std::ptr::null(), lines: 0 };

    /// `len` elements from `start` on.
    pub fn new(start: *const f32, len: usize) -> Self {
        Ahead { start, lines: (len * size_of::<f32>()).div_ceil(LINE) }
    }

    /// The share of the parts `of` when all is fetched by `parts` equal ones.
    #[inline(always)]
    pub fn share(self, of: Range<usize>, parts: usize) -> Self {
        let [from, to] = [of.start, of.end].map(|part| self.lines * part / parts.max(1));
        Ahead { start: self.start.wrapping_byte_add(from * LINE), lines: to - from }
    }

    /// Lines to be fetched each time so that all are by the last of `times`.
    #[inline(always)]
    pub fn each(self, times: usize) -> usize {
        self.lines.div_ceil(times.max(1))
    }

    /// Fetches the next `count` lines, or those left.
    #[inline(always)]
    pub fn fetch<S: Simd>(&mut self, s: S, count: usize) {
        let count = count.min(self.lines);
        for _ in 0..count {
            s.prefetch_l2(self.start);
            self.start = self.start.wrapping_byte_add(LINE);
        }
        self.lines -= count;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whatever tiles rows are cut into, nothing is fetched twice or left out.
    #[test]
    fn shares_follow_each_other_from_the_first_line_to_the_last() {
        for (len, rows, tile) in [(0, 5, 8), (1, 5, 8), (24_576, 32, 8), (24_577, 37, 8), (100, 512, 4), (1000, 7, 1)] {
            let all = Ahead::new(std::ptr::null(), len);
            let mut next = all.start;
            for first in (0..rows).step_by(tile) {
                let share = all.share(first..rows.min(first + tile), rows);
                assert_eq!(share.start, next);
                next = next.wrapping_byte_add(share.lines * LINE);
            }
            assert_eq!(next.addr(), (4 * len).next_multiple_of(LINE), "{len} elements by {rows} rows");
        }
    }

    #[test]
    fn what_is_fetched_each_time_reaches_the_last_line_in_time() {
        for (lines, times) in [(0, 3), (1, 3), (100, 7), (7, 100), (5, 0)] {
            let ahead = Ahead { start: std::ptr::null(), lines };
            assert!(ahead.each(times) * times.max(1) >= lines, "{lines} lines in {times} times");
        }
    }
}
