//! The micro-kernel of integers: exact sums of a group in registers, then scaled and added in f32.
//!
//! An element of the result is one chain over the groups in rising order, sum ← sum + scale·exact and, where there are minima, after
//! each block of groups sum ← sum + what they contribute, each rounded once: whatever tile, panel or thread it falls to, it comes out
//! with the same bits.
//!
//! A tile of short groups is 4 rows of 3 vectors, 12 exact and 12 scaled sums: nothing is stored between groups. One of long groups
//! has 8 rows: 3 loads of codes and 8 broadcasts of x per 24 dot products. Codes of fewer than eight bits are unpacked in registers
//! for one or two rows; for more they are unpacked once into a panel of bytes in L1. Few rows with short groups are
//! [`super::direct`]'s.

use super::rows::tile_height;
use crate::gemm::ahead::Lines;
use crate::gemm::one_nan;
use crate::simd::dot::{Dot, dot_fn};
use crate::simd::{Simd, prefetch, simd_fn};
use crate::weight::code::{Bytes, Code};
use crate::weight::minima::{BLOCK_GROUPS, MinimaRows, SUM_WORDS};
use std::ops::Range;

/// Quads of a group from which on it is long: the scaled sums may then leave their registers in between.
const LONG_QUADS: usize = 64;

/// Bytes by which codes are fetched ahead where they come from memory: more than a core reads in one memory latency. Processors fetch
/// by themselves what is near of a stream that keeps up with memory, as plain bytes do.
pub(crate) const fn ahead_bytes(plain: bool) -> usize {
    if plain { 9 << 9 } else { 9 << 10 }
}

/// Cache lines that a row of a strip's result may touch.
const SOON_LINES: usize = 4;

/// What becomes of the exact sums of a group.
#[derive(Clone, Copy)]
pub(crate) enum Finish {
    /// They are the result, as i32 in the bits of f32; of the last group, if there are several.
    Exact,
    /// Scaled by these factors [groups, width] they are added to the result; so are, after whole blocks, minima of the strip with −Σx.
    Scaled { scales: *const f32, minima: Option<(MinimaRows, *const i32)> },
}

/// Operands of [`sum_tile`]; strides are in elements.
#[derive(Clone, Copy)]
pub(crate) struct Tile {
    /// Tiles of [`Rows`](super::rows::Rows): x_stride words and group_stride groups per row.
    pub x: *const i32,
    pub x_stride: usize,
    /// What the exact sums of groups start with, or what the zero points are multiplied with to that end. −Σx of minima lies by blocks.
    pub starts: *const i32,
    pub group_stride: usize,
    /// The quad and the group that the codes begin with; where there are minima, a block.
    pub quad: usize,
    pub group: usize,
    /// Zero points [groups, width]; `None` if the starts are whole.
    pub zeros: Option<*const f32>,
    /// Whether every product of a start with a zero point is one of i16.
    pub short: bool,
    /// Exact sums so far [rows, width], as i32 in the bits of f32, of the one group whose steps before these are done.
    pub resume: Option<*const f32>,
    /// Words of the codes, rows of `width`.
    pub codes: *const f32,
    /// Whether these are the first rows to meet them. If they are a single tile, codes come from memory as they are read.
    pub stream: bool,
    /// What will be read next: fetched by all tiles but such a single one.
    pub ahead: Lines,
    pub width: usize,
    /// Steps of codes, and steps of a group.
    pub steps: usize,
    pub steps_per_group: usize,
    pub finish: Finish,
    /// Whether scaled sums are added to the result, of groups before these, or begin it.
    pub add: bool,
    /// Where rows of the result will go from `out`, and bytes from row to row: any address will do.
    pub soon: (*const u8, usize),
    /// Result [rows, width], and elements from row to row of it.
    pub out: *mut f32,
    pub out_stride: usize,
    /// What becomes of the result of the last group before it is stored.
    pub layer: Option<Layer>,
}

/// result ← scale of the row · result + bias, every NaN in the same bits.
#[derive(Clone, Copy)]
pub(crate) struct Layer {
    /// Scales of rows, and elements from one to the next.
    pub scales: *const f32,
    pub stride: usize,
    /// A row of `width`, if any.
    pub bias: Option<*const f32>,
}

impl Layer {
    /// That of the rows from `row` on.
    #[inline(always)]
    pub(super) fn from_row(self, row: usize) -> Self {
        Layer { scales: self.scales.wrapping_add(row * self.stride), ..self }
    }

    /// That of the columns from `column` on.
    #[inline(always)]
    pub(super) fn from_column(self, column: usize) -> Self {
        Layer { bias: self.bias.map(|bias| bias.wrapping_add(column)), ..self }
    }
}

impl Tile {
    /// The tile without its first rows.
    #[inline(always)]
    fn from_row(self, row: usize) -> Self {
        Tile {
            resume: self.resume.map(|sums| sums.wrapping_add(row * self.width)),
            soon: (self.soon.0.wrapping_add(row * self.soon.1), self.soon.1),
            out: self.out.wrapping_add(row * self.out_stride),
            layer: self.layer.map(|layer| layer.from_row(row)),
            ..self
        }
    }

    /// Rows from `i` on of the tile of `height` rows at row `row`.
    #[inline(always)]
    fn left(self, row: usize, height: usize, i: usize) -> Left {
        let of_groups = row * self.group_stride + self.group * height + i;
        let sums = match self.finish {
            Finish::Scaled { minima: Some((_, sums)), .. } => sums.wrapping_add(
                self.group / BLOCK_GROUPS * SUM_WORDS * height + row * (self.group_stride / BLOCK_GROUPS * SUM_WORDS) + i,
            ),
            _ => std::ptr::null(),
        };
        let words = self.x.wrapping_add(row * self.x_stride + self.quad * height + i);
        Left { words, starts: self.starts.wrapping_add(of_groups), sums, step: height }
    }

    /// The tile without its first columns.
    #[inline(always)]
    fn from_column(self, column: usize) -> Self {
        let finish = match self.finish {
            Finish::Exact => Finish::Exact,
            Finish::Scaled { scales, minima } => Finish::Scaled {
                scales: scales.wrapping_add(column),
                minima: minima.map(|(minima, sums)| (minima.from_column(column), sums)),
            },
        };
        Tile {
            zeros: self.zeros.map(|zeros| zeros.wrapping_add(column)),
            resume: self.resume.map(|sums| sums.wrapping_add(column)),
            codes: self.codes.wrapping_add(column),
            out: self.out.wrapping_add(column),
            layer: self.layer.map(|layer| layer.from_column(column)),
            finish,
            ..self
        }
    }
}

/// Whether the group is the last of a block; blocks begin with the first.
#[inline(always)]
pub(super) fn ends_block(group: usize) -> bool {
    group % BLOCK_GROUPS == BLOCK_GROUPS - 1
}

/// Rows of x: quad q of row i at `words[q·step + i]`, and so what belongs to its groups, and to their blocks.
#[derive(Clone, Copy)]
pub(super) struct Left {
    pub words: *const i32,
    pub starts: *const i32,
    pub sums: *const i32,
    pub step: usize,
}

dot_fn! {
    /// Sums of `rows` rows with a strip of `vectors` vectors, at most 3.
    ///
    /// # Safety
    /// All operands hold what their documentation says for these rows, vectors and steps; codes are of kind C.
    pub(crate) unsafe fn sum_tile[C: Code](d, rows: usize, vectors: usize, tile: Tile) {
        let long = D::S::LANES >= 16 && tile.steps_per_group.min(tile.steps) >= LONG_QUADS;
        let most = if !C::PLAIN { 2 } else if long { 8 } else { 4 };
        let stream = tile.stream && tile_height(rows).min(most) == rows;
        let tile = Tile { stream, ahead: if stream { Lines::NONE } else { tile.ahead }, ..tile };
        let mut row = 0;
        while row < rows {
            let height = tile_height(rows - row);
            let mr = height.min(most);
            for i in (0..height).step_by(mr) {
                let ahead = tile.ahead.share(row + i..row + i + mr, rows);
                let (left, tile) = (tile.left(row, height, i), Tile { ahead, ..tile.from_row(row + i) });
                // SAFETY: same contract; the rows are cut as their tiles are.
                unsafe {
                    match mr {
                        8 if C::PLAIN && D::S::LANES >= 16 => sum_vectors::<D, C, 8>(d, vectors, left, tile),
                        4 if C::PLAIN => sum_vectors::<D, C, 4>(d, vectors, left, tile),
                        2 => sum_vectors::<D, C, 2>(d, vectors, left, tile),
                        _ => sum_vectors::<D, C, 1>(d, vectors, left, tile),
                    }
                }
            }
            row += height;
        }
    }
}

/// # Safety
/// As for [`sum_tile`].
#[inline(always)]
unsafe fn sum_vectors<D: Dot, C: Code, const MR: usize>(d: D, vectors: usize, left: Left, tile: Tile) {
    // SAFETY: same contract. Strips of fewer vectors are the last of a weight.
    unsafe {
        if vectors == 3 {
            return sums::<D, C, MR, 3>(d, left, tile);
        }
        for j in 0..vectors {
            sums::<D, C, MR, 1>(d, left, tile.from_column(j * D::S::LANES));
        }
    }
}

/// Runs `$body` for every quad of a step, its place in the step a constant.
macro_rules! for_quads {
    ($C:ident, |$q:ident| $body:block) => {
        $crate::gemm::integer::tile::for_quads!(@ $C |$q| $body; 0 1 2 3 4 5 6 7);
    };
    (@ $C:ident |$q:ident| $body:block; $($at:literal)*) => {
        $(if $at < $C::QUADS {
            const $q: usize = $at;
            $body
        })*
    };
}
pub(super) use for_quads;

/// # Safety
/// As for [`sum_tile`].
#[inline(always)]
unsafe fn sums<D: Dot, C: Code, const MR: usize, const NV: usize>(d: D, left: Left, tile: Tile) {
    let s = d.simd();
    if C::PLAIN && MR == 4 && NV == 3 && tile.resume.is_none() {
        // SAFETY: same contract.
        if unsafe { short_sums::<D>(d, left, tile) } {
            return;
        }
    }
    let groups = tile.steps.div_ceil(tile.steps_per_group);
    if MR == 8 && groups == 1 && !tile.add && tile.zeros.is_none() && tile.resume.is_none() {
        // SAFETY: same contract.
        return unsafe { one_group::<D, C, MR, NV>(d, left, tile) };
    }
    let mut totals = [[s.zero(); NV]; MR];
    // SAFETY: all accesses are those the contract of `sum_tile` grants.
    unsafe {
        // Eight rows of exact sums fill the registers: the totals of their groups, which are long, wait in memory.
        if MR < 8 && tile.add {
            load_totals(s, tile, &mut totals);
        }
        for group in 0..groups {
            let mut exact = [[s.int(0); NV]; MR];
            let tile = Tile { ahead: tile.ahead.share(group..group + 1, groups), ..tile };
            sum_group::<D, C, MR, NV>(d, left, tile, group, &mut exact);
            if MR == 8 {
                if tile.add || group > 0 {
                    load_totals(s, tile, &mut totals);
                } else {
                    totals = [[s.zero(); NV]; MR];
                }
            }
            finish_group::<D, MR, NV>(d, left, tile, group, &exact, &mut totals);
            if MR == 8 {
                let layer = tile.layer.filter(|_| group + 1 == groups);
                store_totals(s, tile.out, tile.out_stride, layer, &totals);
            }
        }
        if MR < 8 {
            store_totals(s, tile.out, tile.out_stride, tile.layer, &totals);
        }
    }
}

/// Sums of a single group, which stay in registers to the end.
///
/// # Safety
/// As for [`sum_tile`]; the starts are whole. The group may be the first part of a longer one.
#[inline(always)]
unsafe fn one_group<D: Dot, C: Code, const MR: usize, const NV: usize>(d: D, left: Left, tile: Tile) {
    let s = d.simd();
    let (mut exact, mut totals) = ([[s.int(0); NV]; MR], [[s.zero(); NV]; MR]);
    // SAFETY: all accesses are those the contract of `sum_tile` grants.
    unsafe {
        for (i, row) in exact.iter_mut().enumerate() {
            *row = [s.int(*left.starts.add(i)); NV];
        }
        add_steps::<D, C, MR, NV>(d, left, tile, 0..tile.steps, &mut exact);
        finish_group::<D, MR, NV>(d, left, tile, 0, &exact, &mut totals);
        store_totals(s, tile.out, tile.out_stride, tile.layer, &totals);
    }
}

/// Sums of 4 rows with 3 vectors, if their groups are all of a size that there is a kernel for; whether they are.
///
/// # Safety
/// As for [`sum_tile`], of plain codes.
#[inline(always)]
unsafe fn short_sums<D: Dot>(d: D, left: Left, tile: Tile) -> bool {
    let Finish::Scaled { scales, minima } = tile.finish else { return false };
    let (quads, whole) = (tile.steps_per_group, tile.steps.is_multiple_of(tile.steps_per_group));
    let minima = minima.map(|(minima, _)| minima);
    // SAFETY: same contract, here and below.
    unsafe {
        match (quads % 8, tile.zeros, minima) {
            (0, None, None) if whole => equal_groups::<D, 8, false, false>(d, left, tile, scales, None, None),
            (0, None, Some(_)) if whole => equal_groups::<D, 8, false, true>(d, left, tile, scales, None, minima),
            (0, Some(_), None) if whole && tile.short => {
                equal_groups::<D, 8, true, false>(d, left, tile, scales, tile.zeros, None)
            }
            (4, None, None) if whole && quads == 4 => equal_groups::<D, 4, false, false>(d, left, tile, scales, None, None),
            _ => return false,
        }
    }
    true
}

/// Nothing is decided between groups, which are QUADS quads or several times as many.
///
/// # Safety
/// As for [`sum_tile`], of plain codes; zero points and minima are there if ZEROS and MINIMA say so.
#[inline(always)]
unsafe fn equal_groups<D: Dot, const QUADS: usize, const ZEROS: bool, const MINIMA: bool>(
    d: D,
    left: Left,
    tile: Tile,
    mut scales: *const f32,
    zeros: Option<*const f32>,
    minima: Option<MinimaRows>,
) {
    let s = d.simd();
    let width = 3 * D::S::LANES;
    let (mut codes, mut x, mut starts, mut sums) = (tile.codes, left.words, left.starts, left.sums);
    let mut zeros = zeros.unwrap_or(scales);
    let mut totals = [[s.zero(); 3]; 4];
    let mut ahead = tile.ahead;
    let each = ahead.each(tile.steps / QUADS);
    let mut lines = 0;
    // SAFETY: all accesses are those the contract of `sum_tile` grants.
    unsafe {
        if tile.add {
            load_totals(s, tile, &mut totals);
        }
        for group in 0..tile.steps / tile.steps_per_group {
            let mut exact = [[s.int(0); 3]; 4];
            for (i, row) in exact.iter_mut().enumerate() {
                for (j, v) in row.iter_mut().enumerate() {
                    let start = *starts.add(i);
                    *v = if ZEROS { d.short_product(s.bits(s.load(zeros.add(j * D::S::LANES))), start) } else { s.int(start) };
                }
            }
            for _ in 0..tile.steps_per_group / QUADS {
                if tile.stream {
                    (0..3 * QUADS)
                        .for_each(|line| prefetch(codes.wrapping_add(line * D::S::LANES).wrapping_byte_add(ahead_bytes(true))));
                }
                ahead.fetch(s, each);
                if lines < 4 * SOON_LINES {
                    prefetch(tile.soon.0.wrapping_add(lines / SOON_LINES * tile.soon.1 + lines % SOON_LINES * 64));
                    lines += 1;
                }
                for quad in 0..QUADS {
                    add_quad::<D, Bytes, 4, 3, 0>(d, width, codes.add(quad * width), x.add(quad * left.step), &mut exact);
                }
                (codes, x) = (codes.add(QUADS * width), x.add(QUADS * left.step));
            }
            for j in 0..3 {
                let scale = s.load(scales.add(j * D::S::LANES));
                for (total, exact) in totals.iter_mut().zip(&exact) {
                    total[j] = s.fma(s.to_float(exact[j]), scale, total[j]);
                }
            }
            if let Some(minima) = minima.filter(|_| MINIMA && ends_block(group)) {
                minima.add_block(d, (tile.group + group) / BLOCK_GROUPS, (sums, left.step), &mut totals);
                sums = sums.add(SUM_WORDS * left.step);
            }
            (starts, scales, zeros) = (starts.add(left.step), scales.add(width), zeros.wrapping_add(width));
        }
        store_totals(s, tile.out, tile.out_stride, tile.layer, &totals);
    }
}

/// # Safety
/// As for [`sum_tile`].
#[inline(always)]
unsafe fn load_totals<S: Simd, const MR: usize, const NV: usize>(s: S, tile: Tile, totals: &mut [[S::V; NV]; MR]) {
    for (i, row) in totals.iter_mut().enumerate() {
        for (j, v) in row.iter_mut().enumerate() {
            // SAFETY: contract.
            *v = unsafe { s.load(tile.out.add(i * tile.out_stride + j * S::LANES)) };
        }
    }
}

/// Stores totals at rows of `out`.
///
/// # Safety
/// `out` has the rows and vectors, the layer what its documentation says for them.
#[inline(always)]
pub(super) unsafe fn store_totals<S: Simd, const MR: usize, const NV: usize>(
    s: S,
    out: *mut f32,
    stride: usize,
    layer: Option<Layer>,
    totals: &[[S::V; NV]; MR],
) {
    let Some(layer) = layer else {
        for (i, row) in totals.iter().enumerate() {
            for (j, &v) in row.iter().enumerate() {
                // SAFETY: contract.
                unsafe { s.store(out.add(i * stride + j * S::LANES), v) };
            }
        }
        return;
    };
    // Without a bias, what changes nothing.
    let mut bias = [s.splat(-0.0); NV];
    if let Some(from) = layer.bias {
        for (j, bias) in bias.iter_mut().enumerate() {
            // SAFETY: contract.
            *bias = unsafe { s.load(from.add(j * S::LANES)) };
        }
    }
    for (i, row) in totals.iter().enumerate() {
        // SAFETY: contract.
        let scale = s.splat(unsafe { *layer.scales.add(i * layer.stride) });
        for (j, &v) in row.iter().enumerate() {
            // SAFETY: contract.
            unsafe { s.store(out.add(i * stride + j * S::LANES), one_nan(s, v * scale + bias[j])) };
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
    left: Left,
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
        let start = |i: usize| *left.starts.add(group * left.step + i);
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
    }
    // SAFETY: same contract.
    unsafe { add_steps::<D, C, MR, NV>(d, left, tile, first..first + steps, exact) }
}

/// exact += codes · x of some steps.
///
/// # Safety
/// As for [`sum_tile`].
#[inline(always)]
unsafe fn add_steps<D: Dot, C: Code, const MR: usize, const NV: usize>(
    d: D,
    left: Left,
    tile: Tile,
    steps: Range<usize>,
    exact: &mut [[<D::S as Simd>::I; NV]; MR],
) {
    let s = d.simd();
    // SAFETY: all accesses are those the contract of `sum_tile` grants.
    unsafe {
        // All rows of the tile, if it is one of eight: then the distance of its quads is a constant.
        let step = if MR == 8 { 8 } else { left.step };
        let mut at = (tile.codes.add(steps.start * C::WORDS * tile.width), left.words.add(steps.start * C::QUADS * step));
        // One row alone would be a chain of few accumulators: two sets of them.
        let mut other = [[s.int(0); NV]; MR];
        let mut left_steps = steps.len();
        let (mut soon, mut lines, mut ahead) = (tile.soon.0, 0, tile.ahead);
        let each = ahead.each(left_steps / 4);
        while C::QUADS <= 2 && left_steps >= 4 {
            if MR == 8 && lines < MR * SOON_LINES {
                // One line at a time: all at once they would keep the codes waiting.
                prefetch(soon.wrapping_add(lines % SOON_LINES * 64));
                lines += 1;
                if lines % SOON_LINES == 0 {
                    soon = soon.wrapping_add(tile.soon.1);
                }
            }
            if MR >= 4 {
                ahead.fetch(s, each);
            }
            add_step::<D, C, MR, NV, 0>(d, tile, at, step, exact, &mut other);
            at = (at.0.add(C::WORDS * tile.width), at.1.add(C::QUADS * step));
            add_step::<D, C, MR, NV, 1>(d, tile, at, step, exact, &mut other);
            at = (at.0.add(C::WORDS * tile.width), at.1.add(C::QUADS * step));
            add_step::<D, C, MR, NV, 0>(d, tile, at, step, exact, &mut other);
            at = (at.0.add(C::WORDS * tile.width), at.1.add(C::QUADS * step));
            add_step::<D, C, MR, NV, 1>(d, tile, at, step, exact, &mut other);
            at = (at.0.add(C::WORDS * tile.width), at.1.add(C::QUADS * step));
            left_steps -= 4;
        }
        for _ in 0..left_steps {
            add_step::<D, C, MR, NV, 0>(d, tile, at, step, exact, &mut other);
            at = (at.0.add(C::WORDS * tile.width), at.1.add(C::QUADS * step));
        }
        if MR == 1 {
            for j in 0..NV {
                exact[0][j] = exact[0][j] + other[0][j];
            }
        }
    }
}

/// Adds a step, whose codes and x are at `at`. Of one row, every other quad is added to `other`, the first if PARITY is 1.
///
/// # Safety
/// As for [`sum_tile`].
#[inline(always)]
unsafe fn add_step<D: Dot, C: Code, const MR: usize, const NV: usize, const PARITY: usize>(
    d: D,
    tile: Tile,
    at: (*const f32, *const i32),
    x_step: usize,
    exact: &mut [[<D::S as Simd>::I; NV]; MR],
    other: &mut [[<D::S as Simd>::I; NV]; MR],
) {
    if tile.stream {
        for word in 0..C::WORDS {
            let ahead = at.0.wrapping_add(word * tile.width).wrapping_byte_add(ahead_bytes(C::PLAIN));
            (0..NV).for_each(|j| prefetch(ahead.wrapping_add(j * D::S::LANES)));
        }
    }
    for_quads!(C, |Q| {
        let sums = if MR == 1 && (Q + PARITY) % 2 == 1 { &mut *other } else { &mut *exact };
        // SAFETY: same contract.
        unsafe { add_quad::<D, C, MR, NV, Q>(d, tile.width, at.0, at.1.add(Q * x_step), sums) };
    });
}

/// sums += codes · x of quad Q of the step at `codes`, x lying at `x`.
///
/// # Safety
/// As for [`sum_tile`].
#[inline(always)]
pub(super) unsafe fn add_quad<D: Dot, C: Code, const MR: usize, const NV: usize, const Q: usize>(
    d: D,
    width: usize,
    codes: *const f32,
    x: *const i32,
    sums: &mut [[<D::S as Simd>::I; NV]; MR],
) {
    let s = d.simd();
    let mut quads = [s.int(0); NV];
    // SAFETY: by contract the step exists.
    unsafe {
        for (j, quad) in quads.iter_mut().enumerate() {
            *quad = C::quad::<D::S, Q>(s, codes.add(j * D::S::LANES), width);
        }
        for (i, row) in sums.iter_mut().enumerate() {
            let x = *x.add(i);
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
    d: D,
    left: Left,
    tile: Tile,
    group: usize,
    exact: &[[<D::S as Simd>::I; NV]; MR],
    totals: &mut [[<D::S as Simd>::V; NV]; MR],
) {
    let s = d.simd();
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
            if let Some((minima, _)) = minima.filter(|_| ends_block(group)) {
                let sums = left.sums.wrapping_add(group / BLOCK_GROUPS * SUM_WORDS * left.step);
                // SAFETY: by contract the strip has the block, and the rows its sums.
                unsafe { minima.add_block(d, (tile.group + group) / BLOCK_GROUPS, (sums, left.step), totals) };
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
                    prefetch(ahead.wrapping_byte_add(ahead_bytes(C::PLAIN)));
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
