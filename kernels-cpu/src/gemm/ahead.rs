//! Fetching what will be read next while a kernel computes.
//!
//! Where weights serve many rows, the first tile of rows waits for memory, which idles under the others: the times of memory and of
//! arithmetic add up. So each tile fetches its share of the weights that come after its own.

use crate::simd::Simd;
use std::ops::Range;

/// Bytes of a cache line.
pub(crate) const LINE: usize = 64;

/// Lines side by side that are to be fetched to L2. They are never read, so that any address will do.
#[derive(Clone, Copy)]
pub(crate) struct Lines {
    /// The next.
    start: *const u8,
    count: usize,
}

impl Lines {
    /// Nothing.
    pub const NONE: Self = Lines { start: std::ptr::null(), count: 0 };

    /// `len` elements from `start` on.
    pub fn new(start: *const f32, len: usize) -> Self {
        Lines { start: start.cast(), count: (len * size_of::<f32>()).div_ceil(LINE) }
    }

    /// The share of the parts `of` when all is fetched by `parts` equal ones.
    #[inline(always)]
    pub fn share(self, of: Range<usize>, parts: usize) -> Self {
        let [from, to] = [of.start, of.end].map(|part| self.count * part / parts.max(1));
        Lines { start: self.start.wrapping_add(from * LINE), count: to - from }
    }

    /// Lines to be fetched each time so that all are by the last of `times`.
    #[inline(always)]
    pub fn each(self, times: usize) -> usize {
        self.count.div_ceil(times.max(1))
    }

    /// Fetches the next `count` lines, or those left.
    #[inline(always)]
    pub fn fetch<S: Simd>(&mut self, s: S, count: usize) {
        let count = count.min(self.count);
        for _ in 0..count {
            s.prefetch_l2(self.start);
            self.start = self.start.wrapping_add(LINE);
        }
        self.count -= count;
    }
}

/// [`Lines`], or rows of them. Apart, since kernels wait for every instruction here, and most of what is fetched lies side by side.
#[derive(Clone, Copy)]
pub(crate) struct Ahead {
    lines: Lines,
    /// Lines of a row, or usize::MAX where all lie side by side, and those left of this one.
    of_row: usize,
    left: usize,
    /// Bytes from behind a row to the next.
    gap: usize,
}

impl Ahead {
    /// Nothing.
    pub const NONE: Self = Ahead { lines: Lines::NONE, of_row: usize::MAX, left: usize::MAX, gap: 0 };

    /// `len` elements from `start` on.
    pub fn new(start: *const f32, len: usize) -> Self {
        Ahead { lines: Lines::new(start, len), ..Ahead::NONE }
    }

    /// `rows` rows of `len` elements, `stride` elements apart.
    pub fn rows<T>(start: *const T, len: usize, stride: usize, rows: usize) -> Self {
        let (bytes, stride) = (len * size_of::<T>(), stride.wrapping_mul(size_of::<T>()));
        // A row that does not begin a line ends in one more.
        let of_row = bytes.div_ceil(LINE) + usize::from(!(start.addr() | stride).is_multiple_of(LINE));
        let gap = stride.wrapping_sub(of_row * LINE);
        Ahead { lines: Lines { start: start.cast(), count: of_row * rows }, of_row, left: of_row, gap }
    }

    /// As [`Lines::share`]. Rows are shared as a whole, not what is left of them.
    #[inline(always)]
    pub fn share(self, of: Range<usize>, parts: usize) -> Self {
        if self.lines.count == 0 {
            return self;
        }
        debug_assert!(self.of_row == usize::MAX || self.left == self.of_row);
        let lines = self.lines.share(of.clone(), parts);
        let from = self.lines.count * of.start / parts.max(1);
        let (row, line) = (from / self.of_row, from % self.of_row);
        let start = lines.start.wrapping_add(row.wrapping_mul(self.gap));
        Ahead { lines: Lines { start, ..lines }, left: self.of_row - line, ..self }
    }

    /// As [`Lines::each`].
    #[inline(always)]
    pub fn each(self, times: usize) -> usize {
        self.lines.each(times)
    }

    /// As [`Lines::fetch`].
    #[inline(always)]
    pub fn fetch<S: Simd>(&mut self, s: S, count: usize) {
        if self.of_row == usize::MAX {
            return self.lines.fetch(s, count);
        }
        let count = count.min(self.lines.count);
        for _ in 0..count {
            s.prefetch_l2(self.lines.start);
            self.lines.start = self.lines.start.wrapping_add(LINE);
            self.left -= 1;
            if self.left == 0 {
                (self.lines.start, self.left) = (self.lines.start.wrapping_add(self.gap), self.of_row);
            }
        }
        self.lines.count -= count;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::Scalar;
    use std::collections::BTreeSet;

    /// Whatever tiles rows are cut into, and whether lines lie side by side or in rows: those of every element are asked for, each
    /// once but where rows meet.
    #[test]
    fn shares_hold_every_line_once() {
        for (start, len, stride, rows) in [(0, 48, 64, 5), (4, 48, 101, 7), (0, 48, 48, 3), (60, 24, 4096, 512), (0, 16, 17, 1)] {
            let start = std::ptr::without_provenance::<f32>(start);
            let line_start = start.wrapping_byte_sub(start.addr() % LINE);
            let side_by_side = (Ahead::new(line_start, rows * len), line_start, len);
            for (ahead, start, stride) in [(Ahead::rows(start, len, stride, rows), start, stride), side_by_side] {
                for (parts, tile) in [(1, 1), (37, 8), (512, 4), (7, 1)] {
                    let mut asked = Vec::new();
                    for first in (0..parts).step_by(tile) {
                        let mut share = ahead.share(first..parts.min(first + tile), parts);
                        while share.lines.count > 0 {
                            asked.push(share.lines.start.addr() / LINE);
                            share.fetch(Scalar, 1);
                        }
                    }
                    assert_eq!(asked.len(), ahead.lines.count);
                    let line = |row: usize, at: usize| start.wrapping_add(row * stride + at).addr() / LINE;
                    let wanted: BTreeSet<_> = (0..rows).flat_map(|row| (0..len).map(move |at| line(row, at))).collect();
                    let case = format!("{rows} rows of {len}, {stride} apart, by {parts}");
                    assert!(asked.len() <= rows * (len.div_ceil(16) + 1), "{case}");
                    assert!(asked.into_iter().collect::<BTreeSet<_>>().is_superset(&wanted), "{case}");
                }
            }
        }
    }

    #[test]
    fn what_is_fetched_each_time_reaches_the_last_line_in_time() {
        for (lines, times) in [(0, 3), (1, 3), (100, 7), (7, 100), (5, 0)] {
            let ahead = Lines { count: lines, ..Lines::NONE };
            assert!(ahead.each(times) * times.max(1) >= lines, "{lines} lines in {times} times");
        }
    }
}
