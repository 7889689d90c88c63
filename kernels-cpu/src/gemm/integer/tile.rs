//! The micro-kernel of integers: exact sums of a group in registers, then scaled and added in f32.
//!
//! An element of the result is one chain over the groups in rising order, sum ← sum + scale·exact and, where there are minima,
//! sum ← sum − min·Σx, each rounded once: whatever tile, panel or thread it falls to, it comes out with the same bits.
//!
//! A tile of short groups is 4 rows of 3 vectors, 12 exact and 12 scaled sums: nothing is stored between groups. One of long groups
//! has 8 rows: 3 loads of codes and 8 broadcasts of x per 24 dot products. Codes of fewer than eight bits are unpacked in registers
//! for one or two rows; for more they are unpacked once into a panel of bytes in L1.

use crate::simd::dot::{Dot, dot_fn};
use crate::simd::{Simd, prefetch, simd_fn};
use crate::weight::code::Code;

/// Quads of a group from which on it is long: the scaled sums may then leave their registers in between.
const LONG_QUADS: usize = 64;

/// Bytes by which codes are fetched ahead where they come from memory: what a core reads in one memory latency, three times.
const AHEAD_BYTES: usize = 3 << 10;

/// What becomes of the exact sums of a group.
#[derive(Clone, Copy)]
pub(crate) enum Finish {
    /// They are the result, as i32 in the bits of f32; of the last group, if there are several.
    Exact,
    /// Scaled by these factors [groups, width] they are added to the result; then, with factors of minima [groups, width] and −Σx of
    /// each group and row, −min·Σx.
    Scaled { scales: *const f32, minima: Option<(*const f32, *const f32)> },
}

/// Operands of [`sum_tile`]; strides are in elements.
#[derive(Clone, Copy)]
pub(crate) struct Tile {
    /// Words of x: quad q of row i at `x[i·x_stride + q]`.
    pub x: *const i32,
    pub x_stride: usize,
    /// What the exact sum of group g of row i starts with, or what the zero points are multiplied with to that end, at
    /// `starts[i·group_stride + g]`; −Σx of minima lies likewise.
    pub starts: *const i32,
    pub group_stride: usize,
    /// Zero points [groups, width]; `None` if the starts are whole.
    pub zeros: Option<*const f32>,
    /// Whether every product of a start with a zero point is one of i16.
    pub short: bool,
    /// Exact sums so far [rows, width], as i32 in the bits of f32, of the one group whose steps before these are done.
    pub resume: Option<*const f32>,
    /// Words of the codes, rows of `width`.
    pub codes: *const f32,
    /// Whether the first rows find them in memory, not in L1.
    pub stream: bool,
    pub width: usize,
    /// Steps of codes, and steps of a group.
    pub steps: usize,
    pub steps_per_group: usize,
    pub finish: Finish,
    /// Result [rows, width].
    pub out: *mut f32,
}

impl Tile {
    /// The tile without its first rows.
    #[inline(always)]
    fn from_row(self, row: usize) -> Self {
        let finish = match self.finish {
            Finish::Scaled { scales, minima: Some((minima, sums)) } => {
                Finish::Scaled { scales, minima: Some((minima, sums.wrapping_add(row * self.group_stride))) }
            }
            other => other,
        };
        Tile {
            x: self.x.wrapping_add(row * self.x_stride),
            starts: self.starts.wrapping_add(row * self.group_stride),
            resume: self.resume.map(|sums| sums.wrapping_add(row * self.width)),
            stream: self.stream && row == 0,
            out: self.out.wrapping_add(row * self.width),
            finish,
            ..self
        }
    }

    /// The tile without its first columns.
    #[inline(always)]
    fn from_column(self, column: usize) -> Self {
        let finish = match self.finish {
            Finish::Exact => Finish::Exact,
            Finish::Scaled { scales, minima } => Finish::Scaled {
                scales: scales.wrapping_add(column),
                minima: minima.map(|(minima, sums)| (minima.wrapping_add(column), sums)),
            },
        };
        Tile {
            zeros: self.zeros.map(|zeros| zeros.wrapping_add(column)),
            resume: self.resume.map(|sums| sums.wrapping_add(column)),
            codes: self.codes.wrapping_add(column),
            out: self.out.wrapping_add(column),
            finish,
            ..self
        }
    }
}

dot_fn! {
    /// Sums of `rows` rows with a strip of `vectors` vectors, at most 3.
    ///
    /// # Safety
    /// All operands hold what their documentation says for these rows, vectors and steps; codes are of kind C.
    pub(crate) unsafe fn sum_tile[C: Code](d, rows: usize, vectors: usize, tile: Tile) {
        let mut row = 0;
        let long = tile.steps_per_group.min(tile.steps) >= LONG_QUADS;
        // SAFETY: same contract; rows in steps of 8, 4, 2 and 1, those of codes to unpack of 2 and 1.
        unsafe {
            while C::PLAIN && long && rows - row >= 8 {
                sum_vectors::<D, C, 8>(d, vectors, tile.from_row(row));
                row += 8;
            }
            while C::PLAIN && rows - row >= 4 {
                sum_vectors::<D, C, 4>(d, vectors, tile.from_row(row));
                row += 4;
            }
            while rows - row >= 2 {
                sum_vectors::<D, C, 2>(d, vectors, tile.from_row(row));
                row += 2;
            }
            if row < rows {
                sum_vectors::<D, C, 1>(d, vectors, tile.from_row(row));
            }
        }
    }
}

/// # Safety
/// As for [`sum_tile`].
#[inline(always)]
unsafe fn sum_vectors<D: Dot, C: Code, const MR: usize>(d: D, vectors: usize, tile: Tile) {
    // SAFETY: same contract. Strips of fewer vectors are the last of a weight.
    unsafe {
        if vectors == 3 {
            return sums::<D, C, MR, 3>(d, tile);
        }
        for j in 0..vectors {
            sums::<D, C, MR, 1>(d, tile.from_column(j * D::S::LANES));
        }
    }
}

/// Runs `$body` for every quad of a step, its place in the step a constant.
macro_rules! for_quads {
    ($C:ident, |$q:ident| $body:block) => {
        for_quads!(@ $C |$q| $body; 0 1 2 3 4 5 6 7);
    };
    (@ $C:ident |$q:ident| $body:block; $($at:literal)*) => {
        $(if $at < $C::QUADS {
            const $q: usize = $at;
            $body
        })*
    };
}

/// # Safety
/// As for [`sum_tile`].
#[inline(always)]
unsafe fn sums<D: Dot, C: Code, const MR: usize, const NV: usize>(d: D, tile: Tile) {
    let s = d.simd();
    let groups = tile.steps.div_ceil(tile.steps_per_group);
    let mut totals = [[s.zero(); NV]; MR];
    // SAFETY: all accesses are those the contract of `sum_tile` grants.
    unsafe {
        // Eight rows of exact sums fill the registers: the totals of their groups, which are long, wait in memory.
        if MR < 8 {
            load_totals(s, tile, &mut totals);
        }
        for group in 0..groups {
            let mut exact = [[s.int(0); NV]; MR];
            sum_group::<D, C, MR, NV>(d, tile, group, &mut exact);
            if MR == 8 {
                load_totals(s, tile, &mut totals);
            }
            finish_group::<D, MR, NV>(s, tile, group, &exact, &mut totals);
            if MR == 8 {
                store_totals(s, tile, &totals);
            }
        }
        if MR < 8 {
            store_totals(s, tile, &totals);
        }
    }
}

/// # Safety
/// As for [`sum_tile`].
#[inline(always)]
unsafe fn load_totals<S: Simd, const MR: usize, const NV: usize>(s: S, tile: Tile, totals: &mut [[S::V; NV]; MR]) {
    for (i, row) in totals.iter_mut().enumerate() {
        for (j, v) in row.iter_mut().enumerate() {
            // SAFETY: contract.
            *v = unsafe { s.load(tile.out.add(i * tile.width + j * S::LANES)) };
        }
    }
}

/// # Safety
/// As for [`sum_tile`].
#[inline(always)]
unsafe fn store_totals<S: Simd, const MR: usize, const NV: usize>(s: S, tile: Tile, totals: &[[S::V; NV]; MR]) {
    for (i, row) in totals.iter().enumerate() {
        for (j, &v) in row.iter().enumerate() {
            // SAFETY: contract.
            unsafe { s.store(tile.out.add(i * tile.width + j * S::LANES), v) };
        }
    }
}

/// Exact sums of a group; `exact` holds zeros.
///
/// # Safety
/// As for [`sum_tile`].
#[inline(always)]
unsafe fn sum_group<D: Dot, C: Code, const MR: usize, const NV: usize>(
    d: D,
    tile: Tile,
    group: usize,
    exact: &mut [[<D::S as Simd>::I; NV]; MR],
) {
    let s = d.simd();
    let first = group * tile.steps_per_group;
    let steps = tile.steps_per_group.min(tile.steps - first);
    // SAFETY: all accesses are those the contract of `sum_tile` grants.
    unsafe {
        // One small loop for each way to start: a large one would not be unrolled, and the sums not be kept in registers.
        let start = |i: usize| *tile.starts.add(i * tile.group_stride + group);
        let zeros = |zeros: *const f32, j: usize| s.bits(s.load(zeros.add(group * tile.width + j * D::S::LANES)));
        match (tile.resume, tile.zeros) {
            (Some(sums), _) => {
                for (i, row) in exact.iter_mut().enumerate() {
                    for (j, v) in row.iter_mut().enumerate() {
                        *v = s.bits(s.load(sums.add(i * tile.width + j * D::S::LANES)));
                    }
                }
            }
            (None, None) => {
                for (i, row) in exact.iter_mut().enumerate() {
                    *row = [s.int(start(i)); NV];
                }
            }
            (None, Some(of)) if tile.short => {
                for (i, row) in exact.iter_mut().enumerate() {
                    for (j, v) in row.iter_mut().enumerate() {
                        *v = d.short_product(zeros(of, j), start(i));
                    }
                }
            }
            (None, Some(of)) => {
                for (i, row) in exact.iter_mut().enumerate() {
                    for (j, v) in row.iter_mut().enumerate() {
                        *v = d.product(zeros(of, j), start(i));
                    }
                }
            }
        }
        let codes = tile.codes.add(first * C::WORDS * tile.width);
        let x = tile.x.add(first * C::QUADS);
        // One row alone would be a chain of few accumulators: two sets of them.
        let mut other = [[s.int(0); NV]; MR];
        let two = MR == 1 && C::QUADS == 1;
        let mut step = 0;
        while step < steps {
            if tile.stream {
                let ahead = codes.wrapping_add(step * C::WORDS * tile.width).wrapping_byte_add(AHEAD_BYTES);
                let lines = C::WORDS * if two { 2 } else { 1 };
                for word in 0..lines {
                    (0..NV).for_each(|j| prefetch(ahead.wrapping_add(word * tile.width + j * D::S::LANES)));
                }
            }
            for_quads!(C, |Q| {
                let sums = if MR == 1 && Q % 2 == 1 { &mut other } else { &mut *exact };
                add_quad::<D, C, MR, NV, Q>(d, tile, codes, x, step, sums);
            });
            step += 1;
            if two && step < steps {
                add_quad::<D, C, MR, NV, 0>(d, tile, codes, x, step, &mut other);
                step += 1;
            }
        }
        if MR == 1 {
            for j in 0..NV {
                exact[0][j] = exact[0][j] + other[0][j];
            }
        }
    }
}

/// sums += codes · x of quad Q of a step.
///
/// # Safety
/// As for [`sum_tile`]; `codes` and `x` point at the group's.
#[inline(always)]
unsafe fn add_quad<D: Dot, C: Code, const MR: usize, const NV: usize, const Q: usize>(
    d: D,
    tile: Tile,
    codes: *const f32,
    x: *const i32,
    step: usize,
    sums: &mut [[<D::S as Simd>::I; NV]; MR],
) {
    let s = d.simd();
    let mut quads = [s.int(0); NV];
    // SAFETY: by contract the step exists.
    unsafe {
        for (j, quad) in quads.iter_mut().enumerate() {
            *quad = C::quad::<D::S, Q>(s, codes.add(step * C::WORDS * tile.width + j * D::S::LANES), tile.width);
        }
        for (i, row) in sums.iter_mut().enumerate() {
            let x = *x.add(i * tile.x_stride + step * C::QUADS + Q);
            for (v, &quad) in row.iter_mut().zip(&quads) {
                *v = d.dot(*v, quad, x);
            }
        }
    }
}

/// # Safety
/// As for [`sum_tile`].
#[inline(always)]
unsafe fn finish_group<D: Dot, const MR: usize, const NV: usize>(
    s: D::S,
    tile: Tile,
    group: usize,
    exact: &[[<D::S as Simd>::I; NV]; MR],
    totals: &mut [[<D::S as Simd>::V; NV]; MR],
) {
    let row_of = |factors: *const f32| {
        let mut row = [s.zero(); NV];
        for (j, v) in row.iter_mut().enumerate() {
            // SAFETY: by contract the factors of the group.
            *v = unsafe { s.load(factors.add(group * tile.width + j * D::S::LANES)) };
        }
        row
    };
    match tile.finish {
        Finish::Exact => {
            for (total, exact) in totals.iter_mut().zip(exact) {
                total.iter_mut().zip(exact).for_each(|(total, &exact)| *total = s.from_bits(exact));
            }
        }
        Finish::Scaled { scales, minima } => {
            let scales = row_of(scales);
            for (total, exact) in totals.iter_mut().zip(exact) {
                for j in 0..NV {
                    total[j] = s.fma(s.to_float(exact[j]), scales[j], total[j]);
                }
            }
            let Some((minima, x_sums)) = minima else { return };
            let minima = row_of(minima);
            for (i, total) in totals.iter_mut().enumerate() {
                // SAFETY: by contract the sum of the group and row.
                let x_sum = s.splat(unsafe { *x_sums.add(i * tile.group_stride + group) });
                total.iter_mut().zip(minima).for_each(|(total, min)| *total = s.fma(x_sum, min, *total));
            }
        }
    }
}

dot_fn! {
    /// Unpacks steps of codes, rows of `width` words, into quads [quads, width].
    ///
    /// # Safety
    /// `words` holds as many steps, `panel` has room for their quads; `width` is whole vectors.
    pub(crate) unsafe fn unpack[C: Code](d, words: *const f32, steps: usize, width: usize, panel: *mut f32) {
        let s = d.simd();
        for step in 0..steps {
            for j in (0..width).step_by(D::S::LANES) {
                for word in 0..C::WORDS {
                    let ahead = words.wrapping_add((step * C::WORDS + word) * width + j);
                    prefetch(ahead.wrapping_byte_add(AHEAD_BYTES));
                }
                // SAFETY: contract.
                unsafe {
                    let (from, to) = (words.add(step * C::WORDS * width + j), panel.add(step * C::QUADS * width + j));
                    for_quads!(C, |Q| {
                        s.store(to.add(Q * width), s.from_bits(C::quad::<D::S, Q>(s, from, width)));
                    });
                }
            }
        }
    }
}

simd_fn! {
    /// Bytes as words of 32 bits.
    pub(crate) fn widen_bytes(s, from: &[u8], to: &mut [f32]) {
        assert!(from.len() == to.len() && from.len().is_multiple_of(S::LANES));
        for at in (0..from.len()).step_by(S::LANES) {
            // SAFETY: whole vectors of both, as has been measured.
            unsafe { s.store(to.as_mut_ptr().add(at), s.from_bits(s.load_u8(from.as_ptr().add(at)))) };
        }
    }
}
