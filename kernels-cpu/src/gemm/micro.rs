//! The micro-kernel: a tile of the result in registers, written once for all instruction sets and forms of the factors, but for few
//! rows with what [`stored`](super::stored) widens.
//!
//! Elements have 32 bits: they are f32, or pairs of bf16 along K where [`Products`] are of those; then K counts pairs.

use super::ahead::Ahead;
use super::blocking::{NV as MAX_NV, mr as max_mr};
use super::pack::{AHEAD as PACK_AHEAD, Source};
use super::{Plain, PlainStart, one_nan};
use crate::simd::{Bf16Pairs, Float, Isa, Products, Simd, keep_rolled, prefetch, products_fn};
use std::ops::Range;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::atomic::compiler_fence;

/// A tile of the left factor, [MR, K].
pub(crate) trait LeftTile: Copy {
    /// Whether there may be so many strips that their sums leave L2. Then those of the next tile are fetched, which lie behind its own.
    const MEETS_MANY_STRIPS: bool = false;
    /// Element (i, k).
    ///
    /// # Safety
    /// i < MR and k < K of the tile this was made for.
    unsafe fn at<const MR: usize>(self, i: usize, k: usize) -> f32;
}

/// A packed tile, [K, MR] contiguous.
#[derive(Clone, Copy)]
pub(crate) struct PackedLeft(pub *const f32);

impl LeftTile for PackedLeft {
    const MEETS_MANY_STRIPS: bool = true;

    #[inline(always)]
    unsafe fn at<const MR: usize>(self, i: usize, k: usize) -> f32 {
        // SAFETY: by contract within the tile.
        unsafe { *self.0.add(k * MR + i) }
    }
}

/// Rows where they lie, aligned or not.
#[derive(Clone, Copy)]
pub(crate) struct RowsLeft {
    rows: [*const f32; 8],
    k_stride: usize,
}

impl RowsLeft {
    /// Rows `row_stride` elements apart, from `start` on, neighbours along K `k_stride` apart.
    #[inline(always)]
    pub fn new(start: *const f32, row_stride: usize, k_stride: usize) -> Self {
        let rows = std::array::from_fn(|row| start.wrapping_add(row.wrapping_mul(row_stride)));
        // As values of their own the addresses stay in registers. If the compiler knows how they hang together, it computes each
        // from the one before for every column.
        RowsLeft { rows: std::hint::black_box(rows), k_stride }
    }
}

impl LeftTile for RowsLeft {
    #[inline(always)]
    unsafe fn at<const MR: usize>(self, i: usize, k: usize) -> f32 {
        // SAFETY: by contract within the tile. Pairs are aligned as their halves.
        unsafe { self.rows[i].add(k * self.k_stride).read_unaligned() }
    }
}

/// A strip of the right factor: rows of up to NR columns.
pub(crate) trait Strip<S: Simd>: Copy {
    /// Row k.
    ///
    /// # Safety
    /// The strip has this row and NV vectors.
    unsafe fn row<const NV: usize>(self, s: S, k: usize) -> [S::V; NV];
    /// Vector j of row k alone, if vectors may be loaded one by one.
    ///
    /// # Safety
    /// The strip has this row and vector.
    #[inline(always)]
    unsafe fn vector(self, _s: S, _k: usize, _j: usize) -> Option<S::V> {
        None
    }
}

/// Rows of floats, or of pairs read as f32, `stride` elements apart. All vectors are read whole.
#[derive(Clone, Copy)]
pub(crate) struct DenseRows<T> {
    pub start: *const T,
    pub stride: usize,
}

impl<S: Simd, T: Float> Strip<S> for DenseRows<T> {
    #[inline(always)]
    unsafe fn row<const NV: usize>(self, s: S, k: usize) -> [S::V; NV] {
        // SAFETY: by contract the row exists, and all its vectors.
        std::array::from_fn(|j| unsafe { T::load(s, self.start.add(k * self.stride + j * S::LANES)) })
    }
    #[inline(always)]
    unsafe fn vector(self, s: S, k: usize, j: usize) -> Option<S::V> {
        // SAFETY: by contract.
        Some(unsafe { T::load(s, self.start.add(k * self.stride + j * S::LANES)) })
    }
}

/// Rows of f32 shorter than a vector, `stride` elements apart.
#[derive(Clone, Copy)]
pub(crate) struct ShortRows {
    pub start: *const f32,
    pub stride: usize,
    /// Their columns.
    pub columns: usize,
}

impl<S: Simd> Strip<S> for ShortRows {
    #[inline(always)]
    unsafe fn row<const NV: usize>(self, s: S, k: usize) -> [S::V; NV] {
        // SAFETY: by contract the row exists; no more of it is read.
        [unsafe { s.load_part(self.start.add(k * self.stride), self.columns) }; NV]
    }
}

/// What the result tile holds before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Before {
    /// Nothing: the sum starts at 0.
    Zero,
    /// The sum over the rows before.
    Sum,
}

/// Sums of a tile: rows of whole vectors.
#[derive(Clone, Copy)]
pub(crate) struct Sums {
    /// Where they wait between panels.
    pub at: *mut f32,
    /// Elements from one row of them to the next.
    pub stride: usize,
    pub before: Before,
    /// Where finished sums are stored instead, rounded, every NaN in the same bits, if that is all to be done with them.
    pub result: Option<Plain>,
}

/// Rows between the fetches of what lies ahead: few enough that each time only a few lines are asked for, which is as many as wait
/// beside the tile's own.
const FETCH_ROWS: usize = 8;

/// sums[i, j] (+)= Σ a[i, k] · b[k, j] over k < `depth`, one chain of products added in rising k. Of what `fetching`
/// names so many lines are fetched every `FETCH_ROWS`, and a row of the result; of a small product nothing.
///
/// # Safety
/// `a` and `b` hold MR rows, NV vectors and `depth` columns and rows; the sums are writable for MR rows of NV vectors, or
/// else the result to the end of its tail, and the sums initialised if `before` is `Sum`.
#[inline(always)]
unsafe fn tile<P: Products, A: LeftTile, B: Strip<P::S>, const MR: usize, const NV: usize>(
    p: P,
    depth: usize,
    a: A,
    b: B,
    fetching: Option<(&mut Ahead, usize)>,
    sums: Sums,
) {
    let (s, lanes) = (p.simd(), P::S::LANES);
    let mut sum = [[s.zero(); NV]; MR];
    // SAFETY: all accesses are those the contract of this function grants.
    unsafe {
        if sums.before == Before::Sum {
            for (i, row) in sum.iter_mut().enumerate() {
                for (j, v) in row.iter_mut().enumerate() {
                    *v = s.load(sums.at.add(i * sums.stride + j * lanes));
                }
            }
        }
        if let Some((ahead, each)) = fetching {
            for (row, first) in (0..depth).step_by(FETCH_ROWS).enumerate() {
                ahead.fetch(s, each);
                if let Some(plain) = sums.result.filter(|_| row < MR) {
                    plain.prefetch(row, NV * lanes);
                }
                if A::MEETS_MANY_STRIPS && sums.before == Before::Sum && row < MR {
                    let next = sums.at.wrapping_add((MR + row) * sums.stride);
                    (0..NV).for_each(|j| prefetch(next.wrapping_add(j * lanes)));
                }
                add_rows(p, first..(first + FETCH_ROWS).min(depth), a, b, &mut sum);
            }
        } else {
            add_rows(p, 0..depth, a, b, &mut sum);
        }
        match sums.result {
            Some(plain) => match plain.start {
                PlainStart::F32(start) => store_plain(s, plain, start, &sum),
                PlainStart::Bf16(start) => store_plain(s, plain, start, &sum),
            },
            None => {
                for (i, row) in sum.iter().enumerate() {
                    for (j, &v) in row.iter().enumerate() {
                        s.store(sums.at.add(i * sums.stride + j * lanes), v);
                    }
                }
            }
        }
    }
}

/// sum[i, j] += Σ a[i, k] · b[k, j] over the k of `rows`.
///
/// # Safety
/// As for [`tile`], of these rows.
#[inline(always)]
unsafe fn add_rows<P: Products, A: LeftTile, B: Strip<P::S>, const MR: usize, const NV: usize>(
    p: P,
    rows: Range<usize>,
    a: A,
    b: B,
    sum: &mut [[<P::S as Simd>::V; NV]; MR],
) {
    let s = p.simd();
    // SAFETY: by contract.
    unsafe {
        for k in rows {
            keep_rolled();
            if P::S::LANES < 16 && MR * NV == 12 && add_by_halves(p, a, b, k, sum) {
                continue;
            }
            let row = b.row::<NV>(s, k);
            for (i, sum) in sum.iter_mut().enumerate() {
                let x = s.splat(a.at::<MR>(i, k));
                for (v, &w) in sum.iter_mut().zip(&row) {
                    *v = p.add(x, w, *v);
                }
            }
        }
    }
}

/// Stores finished sums at `start`, rounded, every NaN in the same bits.
///
/// # Safety
/// The result is writable for MR rows of NV vectors, to the end of its tail.
#[inline(always)]
unsafe fn store_plain<S: Simd, T: Float, const MR: usize, const NV: usize>(
    s: S,
    plain: Plain,
    start: *mut T,
    sum: &[[S::V; NV]; MR],
) {
    const { assert!(MR <= 8) };
    // Row by row by hand: as a loop this is too long for the compiler to unroll, and sums would not stay in registers.
    macro_rules! rows {
        ($($i:literal)*) => {$(
            if $i < MR {
                for j in 0..NV {
                    let v = one_nan(s, sum[$i][j]);
                    // SAFETY: contract.
                    unsafe {
                        let to = start.add($i * plain.row_stride + j * S::LANES);
                        if j + 1 == NV && plain.tail < S::LANES { T::store_part(s, to, plain.tail, v) } else { T::store(s, to, v) }
                    }
                }
            }
        )*};
    }
    rows!(0 1 2 3 4 5 6 7);
}

/// Adds row `k` of a strip whose vectors may be loaded one by one: the last for all rows of the tile after the others, for which a
/// and b are read twice. With 16 registers, 12 sums, three vectors and an element of the tile leave none free, and the compiler moves
/// sums to memory and back. Returns whether the strip is such a one.
///
/// # Safety
/// As for [`tile`], of this row.
#[inline(always)]
unsafe fn add_by_halves<P: Products, A: LeftTile, B: Strip<P::S>, const MR: usize, const NV: usize>(
    p: P,
    a: A,
    b: B,
    k: usize,
    sum: &mut [[<P::S as Simd>::V; NV]; MR],
) -> bool {
    let s = p.simd();
    // SAFETY: the strip has this row and its vectors, the tile this column.
    unsafe {
        let mut row = [s.zero(); NV];
        for (j, v) in row.iter_mut().enumerate().take(NV - 1) {
            let Some(w) = b.vector(s, k, j) else { return false };
            *v = w;
        }
        for (i, sum) in sum.iter_mut().enumerate() {
            let x = s.splat(a.at::<MR>(i, k));
            for (v, &w) in sum.iter_mut().zip(&row).take(NV - 1) {
                *v = p.add(x, w, *v);
            }
        }
        // Else the compiler reads everything once, into registers that there are not.
        compiler_fence(SeqCst);
        let Some(w) = b.vector(s, k, NV - 1) else { return false };
        for (i, sum) in sum.iter_mut().enumerate() {
            sum[NV - 1] = p.add(s.splat(a.at::<MR>(i, k)), w, sum[NV - 1]);
        }
    }
    true
}

/// [`tile`] of NV vectors for `rows` rows: at most MR, or 6 where NV is 4.
///
/// # Safety
/// As for [`run`].
#[inline(always)]
pub(crate) unsafe fn run_vectors<P: Products, A: LeftTile, B: Strip<P::S>, const NV: usize>(
    p: P,
    rows: usize,
    depth: usize,
    a: A,
    b: B,
    fetching: Option<(&mut Ahead, usize)>,
    sums: Sums,
) {
    // SAFETY: the contract of `run`, passed on with the row count as a constant.
    unsafe {
        match rows {
            1 => tile::<P, A, B, 1, NV>(p, depth, a, b, fetching, sums),
            2 => tile::<P, A, B, 2, NV>(p, depth, a, b, fetching, sums),
            3 => tile::<P, A, B, 3, NV>(p, depth, a, b, fetching, sums),
            4 => tile::<P, A, B, 4, NV>(p, depth, a, b, fetching, sums),
            5 if max_mr(P::S::LANES) == 8 => tile::<P, A, B, 5, NV>(p, depth, a, b, fetching, sums),
            6 if max_mr(P::S::LANES) == 8 => tile::<P, A, B, 6, NV>(p, depth, a, b, fetching, sums),
            7 if max_mr(P::S::LANES) == 8 && NV <= MAX_NV => tile::<P, A, B, 7, NV>(p, depth, a, b, fetching, sums),
            8 if max_mr(P::S::LANES) == 8 && NV <= MAX_NV => tile::<P, A, B, 8, NV>(p, depth, a, b, fetching, sums),
            _ => debug_assert!(false, "a tile of {rows} rows"),
        }
    }
}

/// [`tile`] for `rows` ≤ MR rows and `vectors` ≤ 3 vectors.
///
/// # Safety
/// `a` holds `rows` rows, `b` `vectors` vectors, both to `depth`; the sums are writable for `rows` rows of
/// `vectors` vectors, or else the result to the end of its tail, and the sums initialised if `before` is `Sum`.
#[inline(always)]
pub(crate) unsafe fn run<P: Products, A: LeftTile, B: Strip<P::S>>(
    p: P,
    (rows, vectors): (usize, usize),
    depth: usize,
    a: A,
    b: B,
    fetching: Option<(&mut Ahead, usize)>,
    sums: Sums,
) {
    const { assert!(MAX_NV == 3) };
    // SAFETY: same contract, with the vector count as a constant.
    unsafe {
        match vectors {
            1 => run_vectors::<P, A, B, 1>(p, rows, depth, a, b, fetching, sums),
            2 => run_vectors::<P, A, B, 2>(p, rows, depth, a, b, fetching, sums),
            3 => run_vectors::<P, A, B, 3>(p, rows, depth, a, b, fetching, sums),
            _ => debug_assert!(false, "a tile of {vectors} vectors"),
        }
    }
}

/// A tile of a large product.
#[derive(Clone, Copy)]
pub(crate) struct Tile {
    /// Rows and vectors.
    pub size: (usize, usize),
    /// Rows of the panel it is multiplied with.
    pub depth: usize,
    pub rows: TileRows,
    pub sums: Sums,
}

/// Tiles of the same size: `count` below each other with each of `panels`.
pub(crate) struct Tiles<'a> {
    pub first: Tile,
    pub count: usize,
    /// How many there are with those that other calls multiply, which fetch their share.
    pub of: usize,
    pub panels: &'a [*const f32],
    /// What the tiles of each panel fetch meanwhile.
    pub aheads: &'a mut [Ahead],
    /// Elements from the sums of a panel's tiles, which follow each other, to those of the next.
    pub across: usize,
}

/// Where left rows lie.
#[derive(Clone, Copy)]
pub(crate) enum TileRows {
    /// Tiles one after the other.
    Packed(PackedLeft),
    /// In place: elements side by side along K, from the first row's on, and from row to row.
    InPlace(*const f32, usize),
}

/// Tiles times panels, whose rows are the vectors of a tile: the kernel of all large products, compiled once.
///
/// # Safety
/// As for [`run`], for each tile; all panels have as many columns as the first.
pub(crate) unsafe fn run_panels(isa: Isa, pairs: Option<Bf16Pairs>, tiles: Tiles<'_>) {
    products_fn! {
        fn packed(p, tiles: Tiles<'_>, first: PackedLeft) {
            let each = tiles.first.size.0 * tiles.first.depth;
            // SAFETY: the contract of `run_panels`, the only caller.
            unsafe { run_tiles(p, tiles, #[inline(always)] |at| PackedLeft(first.0.wrapping_add(at * each))) }
        }
    }
    products_fn! {
        fn in_place(p, tiles: Tiles<'_>, start: *const f32, row_stride: usize) {
            let each = tiles.first.size.0.wrapping_mul(row_stride);
            // SAFETY: as above.
            unsafe {
                run_tiles(p, tiles, #[inline(always)] |at| RowsLeft::new(start.wrapping_add(at.wrapping_mul(each)), row_stride, 1))
            }
        }
    }
    match tiles.first.rows {
        TileRows::Packed(first) => packed(isa, pairs, tiles, first),
        TileRows::InPlace(start, row_stride) => in_place(isa, pairs, tiles, start, row_stride),
    }
}

/// [`run_panels`] with the left rows of tile `at` from `left`.
///
/// # Safety
/// As for [`run_panels`].
#[inline(always)]
unsafe fn run_tiles<P: Products, A: LeftTile>(p: P, tiles: Tiles<'_>, left: impl Fn(usize) -> A) {
    let Tile { size, depth, sums, .. } = tiles.first;
    let width = size.1 * P::S::LANES;
    for at in 0..tiles.count {
        let a = left(at);
        for (across, (&panel, ahead)) in tiles.panels.iter().zip(tiles.aheads.iter_mut()).enumerate() {
            let strip = DenseRows { start: panel, stride: width };
            let sums = Sums {
                at: sums.at.wrapping_add(across * tiles.across + at * size.0 * width),
                result: sums.result.map(|plain| plain.moved(at * size.0, across * width)),
                ..sums
            };
            let each = ahead.each((tiles.of - at) * depth.div_ceil(FETCH_ROWS));
            // SAFETY: same contract.
            unsafe { run(p, size, depth, a, strip, Some((ahead, each)), sums) };
        }
    }
}

/// Rows of a right factor where they lie, from column `i` and row `k` on, that are packed as they are read.
#[derive(Clone, Copy)]
struct PackedOnTheWay<F> {
    from: F,
    i: usize,
    k: usize,
    panel: *mut f32,
}

impl<S: Simd, F: Source> Strip<S> for PackedOnTheWay<F> {
    #[inline(always)]
    unsafe fn row<const NV: usize>(self, s: S, k: usize) -> [S::V; NV] {
        let mut row = [s.zero(); NV];
        for (j, v) in row.iter_mut().enumerate() {
            let i = self.i + j * S::LANES;
            self.from.prefetch(i, self.k + k + PACK_AHEAD);
            // SAFETY: by contract the row exists, and all its vectors, in the factor and in the panel.
            unsafe {
                *v = self.from.across(s, i, self.k + k, S::LANES);
                s.store(self.panel.add((k * NV + j) * S::LANES), *v);
            }
        }
        row
    }
}

/// Rows of a tile of [`run_packing`].
pub(crate) const PACKING_ROWS: usize = 8;

/// [`run_panels`] for one tile of `PACKING_ROWS` rows and NR columns, with the rows from `k` on of a factor whose elements from `i` on
/// lie side by side, which go to `panel` meanwhile: the multiply-adds of a row hide its stores.
///
/// # Safety
/// As for [`run`]; the factor has these rows and NR columns, `panel` is writable for as many.
#[inline(always)]
pub(crate) unsafe fn run_packing<P: Products, F: Source>(
    p: P,
    one: Tile,
    mut ahead: Ahead,
    from: F,
    i: usize,
    k: usize,
    panel: *mut f32,
) {
    let strip = PackedOnTheWay { from, i, k, panel };
    let Tile { size, depth, rows, sums } = one;
    debug_assert!(size == (PACKING_ROWS, MAX_NV));
    let each = ahead.each(depth.div_ceil(FETCH_ROWS));
    let fetching = Some((&mut ahead, each));
    // SAFETY: same contract, with both sizes as constants.
    unsafe {
        match rows {
            TileRows::Packed(rows) => tile::<P, _, _, PACKING_ROWS, MAX_NV>(p, depth, rows, strip, fetching, sums),
            TileRows::InPlace(start, row_stride) => {
                let rows = RowsLeft::new(start, row_stride, 1);
                tile::<P, _, _, PACKING_ROWS, MAX_NV>(p, depth, rows, strip, fetching, sums);
            }
        }
    }
}

/// How far ahead of their reads streams are fetched, all together: beyond what a core reads in one memory latency, within L1.
const AHEAD_BYTES: usize = 8 << 10;

/// `rows` ≤ MR rows of a packed tile with `strips` neighbouring strips of NR columns each, `depth` rows deep: strips are read side
/// by side, since several streams get more out of memory than one. c is [strips, rows, NR].
///
/// # Safety
/// The tile holds `rows` rows and the strips, one after the other, NR columns, both to the full depth; `c` is writable for all sums.
pub(crate) unsafe fn run_streams(
    isa: Isa,
    pairs: Option<Bf16Pairs>,
    (rows, strips): (usize, usize),
    depth: usize,
    a: PackedLeft,
    b: *const f32,
    c: *mut f32,
) {
    products_fn! {
        fn checked(p, size: (usize, usize), depth: usize, a: PackedLeft, b: *const f32, c: *mut f32) {
            let (rows, strips) = size;
            // Accumulators fill the registers that a row of each strip and an element of the tile leave.
            let abreast = match rows {
                1 => 4,
                2 if P::S::LANES >= 16 => 4,
                2 => 2,
                3 | 4 if P::S::LANES >= 16 => 2,
                _ => 1,
            };
            let mut done = 0;
            while done < strips {
                let now = if strips - done >= abreast { abreast } else { 1 };
                // SAFETY: the contract of `run_streams`, the only caller: strips `done..done + now` exist.
                unsafe {
                    let b = b.add(done * depth * MAX_NV * P::S::LANES);
                    let c = c.add(done * rows * MAX_NV * P::S::LANES);
                    match (rows, now) {
                        (1, 4) => streams::<P, 1, 4>(p, depth, a, b, c),
                        (2, 4) => streams::<P, 2, 4>(p, depth, a, b, c),
                        (2, 2) => streams::<P, 2, 2>(p, depth, a, b, c),
                        (3, 2) => streams::<P, 3, 2>(p, depth, a, b, c),
                        (4, 2) => streams::<P, 4, 2>(p, depth, a, b, c),
                        (1, _) => streams::<P, 1, 1>(p, depth, a, b, c),
                        (2, _) => streams::<P, 2, 1>(p, depth, a, b, c),
                        (3, _) => streams::<P, 3, 1>(p, depth, a, b, c),
                        (4, _) => streams::<P, 4, 1>(p, depth, a, b, c),
                        (5, _) if max_mr(P::S::LANES) == 8 => streams::<P, 5, 1>(p, depth, a, b, c),
                        (6, _) if max_mr(P::S::LANES) == 8 => streams::<P, 6, 1>(p, depth, a, b, c),
                        (7, _) if max_mr(P::S::LANES) == 8 => streams::<P, 7, 1>(p, depth, a, b, c),
                        (8, _) if max_mr(P::S::LANES) == 8 => streams::<P, 8, 1>(p, depth, a, b, c),
                        _ => debug_assert!(false, "a tile of {rows} rows"),
                    }
                }
                done += now;
            }
        }
    }
    checked(isa, pairs, (rows, strips), depth, a, b, c);
}

/// # Safety
/// As for [`run_streams`], with STRIPS strips of MR rows.
#[inline(always)]
unsafe fn streams<P: Products, const MR: usize, const STRIPS: usize>(
    p: P,
    depth: usize,
    a: PackedLeft,
    b: *const f32,
    c: *mut f32,
) {
    let (s, lanes) = (p.simd(), P::S::LANES);
    let width = MAX_NV * lanes;
    let mut sums = [[[s.zero(); MAX_NV]; MR]; STRIPS];
    // SAFETY: by contract.
    unsafe {
        for k in 0..depth {
            keep_rolled();
            for (strip, sums) in sums.iter_mut().enumerate() {
                let row = b.add((strip * depth + k) * width);
                let row: [_; MAX_NV] = std::array::from_fn(|j| {
                    let from = row.add(j * lanes);
                    prefetch(from.wrapping_byte_add(AHEAD_BYTES / STRIPS));
                    s.load(from)
                });
                for (i, sums) in sums.iter_mut().enumerate() {
                    // As late as can be: eight of them beside the sums and the row are more than there are registers.
                    let x = s.splat(a.at::<MR>(i, k));
                    for (sum, &w) in sums.iter_mut().zip(&row) {
                        *sum = p.add(x, w, *sum);
                    }
                }
            }
        }
        // Nested, since all loops over the sums must be unrolled for these to stay in registers, and the compiler weighs each alone.
        for (strip, sums) in sums.iter().enumerate() {
            for (i, row) in sums.iter().enumerate() {
                for (j, &v) in row.iter().enumerate() {
                    s.store(c.add((strip * MR + i) * width + j * lanes), v);
                }
            }
        }
    }
}
