//! Packing: factors of any strides become contiguous tiles and panels of elements of 32 bits.

use super::ahead::Ahead;
use super::blocking::{NV, lanes, mr, nr};
use super::micro::{PACKING_ROWS, Tile, run_packing};
use super::{Left, Right, Strip};
use crate::simd::{Float, Isa, Simd, prefetch, simd_fn};
use kernels::Element;
use std::ops::Range;

/// A matrix where it lies: element (i, k) at `start[i·row_stride + k·col_stride]`.
#[derive(Clone, Copy)]
pub(crate) struct Strided<T> {
    pub start: *const T,
    pub row_stride: usize,
    pub col_stride: usize,
}

// SAFETY: a pointer to elements that are only read, by kernels that borrow them for as long as they run.
unsafe impl<T: Sync> Send for Strided<T> {}
// SAFETY: as above.
unsafe impl<T: Sync> Sync for Strided<T> {}

impl<T: Copy> Strided<T> {
    /// A matrix within `data`, from element `offset`.
    ///
    /// A view's layout is always within its buffer, so that all its elements may be read through this.
    pub fn new(data: &[T], offset: usize, row_stride: usize, col_stride: usize) -> Self {
        Strided { start: data.as_ptr().wrapping_add(offset), row_stride, col_stride }
    }

    pub fn at(self, row: usize, col: usize) -> *const T {
        // A dimension of 1 may have any stride, and addresses beyond it are prefetched.
        self.start.wrapping_add(row.wrapping_mul(self.row_stride).wrapping_add(col.wrapping_mul(self.col_stride)))
    }

    /// The same matrix, if it is of `U`.
    pub fn of<U: Element>(self) -> Option<Strided<U>>
    where
        T: Element,
    {
        let matrix = Strided { start: self.start.cast(), row_stride: self.row_stride, col_stride: self.col_stride };
        (T::DTYPE == U::DTYPE).then_some(matrix)
    }

    /// The part that begins at (row, col).
    pub fn from(self, row: usize, col: usize) -> Self {
        Strided { start: self.at(row, col), ..self }
    }

    pub fn transposed(self) -> Self {
        Strided { start: self.start, row_stride: self.col_stride, col_stride: self.row_stride }
    }
}

/// What elements are made from: element (i, k) belongs to row i of a left factor, or to column i of a right one.
pub(crate) trait Source: Copy + Sync {
    /// Whether neighbours along i lie side by side.
    fn dense_across(self) -> bool;
    /// Whether neighbours along k lie side by side.
    fn dense_along(self) -> bool;
    /// Element (i, k).
    ///
    /// # Safety
    /// The factor has it.
    unsafe fn element(self, i: usize, k: usize) -> f32;
    /// Elements (i.., k), where they lie side by side; lanes beyond the first `count` are 0.
    ///
    /// # Safety
    /// The factor has the first `count` ≤ `LANES`.
    unsafe fn across<S: Simd>(self, s: S, i: usize, k: usize, count: usize) -> S::V;
    /// Fills `to` with elements (i, k..), where they lie side by side.
    ///
    /// # Safety
    /// The factor has them.
    unsafe fn along<S: Simd>(self, s: S, i: usize, k: usize, to: &mut [f32]);
    /// Asks for the cache line of element (i, k), which need not exist.
    fn prefetch(self, i: usize, k: usize);
    /// The factor, if its elements lie as they are multiplied, neighbours along k side by side.
    fn in_place(self) -> Option<Strided<f32>> {
        None
    }
}

/// Elements are widened. Columns are counted by k.
impl<T: Float> Source for Strided<T> {
    #[inline(always)]
    fn dense_across(self) -> bool {
        self.row_stride == 1
    }
    #[inline(always)]
    fn dense_along(self) -> bool {
        self.col_stride == 1
    }
    #[inline(always)]
    unsafe fn element(self, i: usize, k: usize) -> f32 {
        // SAFETY: by contract.
        unsafe { *self.at(i, k) }.to_f32()
    }
    #[inline(always)]
    unsafe fn across<S: Simd>(self, s: S, i: usize, k: usize, count: usize) -> S::V {
        // SAFETY: by contract.
        unsafe { if count == S::LANES { T::load(s, self.at(i, k)) } else { T::load_part(s, self.at(i, k), count) } }
    }
    #[inline(always)]
    unsafe fn along<S: Simd>(self, s: S, i: usize, k: usize, to: &mut [f32]) {
        // SAFETY: by contract.
        let row = unsafe { std::slice::from_raw_parts(self.at(i, k), to.len()) };
        for at in (0..row.len()).step_by(S::LANES) {
            crate::simd::store(s, to, at, crate::simd::load(s, row, at));
        }
    }
    #[inline(always)]
    fn prefetch(self, i: usize, k: usize) {
        prefetch(self.at(i, k));
    }
    fn in_place(self) -> Option<Strided<f32>> {
        self.of().filter(|rows| rows.col_stride == 1)
    }
}

simd_fn! {
    /// Packs rows (or columns) `i` and depth `k` of a factor as [k.len(), width], zeros beyond i.len().
    pub fn pack[F: Source](s, from: F, i: Range<usize>, k: Range<usize>, width: usize, to: &mut [f32]) {
        assert!(to.len() >= k.len() * width && i.len() <= width);
        // SAFETY: the factor has these elements; `to` has been measured.
        unsafe {
            if from.dense_along() && !from.dense_across() {
                for start in i.clone().step_by(BAND) {
                    let band = start..(start + BAND).min(i.end);
                    transpose(s, from, band, k.clone(), to.as_mut_ptr().add(start - i.start), width);
                }
                for row in to.chunks_exact_mut(width.max(1)).take(k.len()) {
                    row[i.len()..].fill(0.0);
                }
            } else if from.dense_across() && i.len() == width && (1..=NV).any(|count| width == count * S::LANES) {
                let at = to.as_mut_ptr();
                match width / S::LANES {
                    1 => copy_rows::<S, F, 1>(s, from, i.start, k, at),
                    2 => copy_rows::<S, F, 2>(s, from, i.start, k, at),
                    _ => copy_rows::<S, F, 3>(s, from, i.start, k, at),
                }
            } else if from.dense_across() {
                for (row, k) in to.chunks_exact_mut(width.max(1)).zip(k) {
                    for at in (0..width).step_by(S::LANES) {
                        from.prefetch(i.start + at, k + AHEAD);
                        let v = from.across(s, i.start + at, k, i.len().saturating_sub(at).min(S::LANES));
                        crate::simd::store(s, row, at, v);
                    }
                }
            } else {
                for (row, k) in to.chunks_exact_mut(width.max(1)).zip(k) {
                    row.fill(0.0);
                    for (to, i) in row.iter_mut().zip(i.clone()) {
                        *to = from.element(i, k);
                    }
                }
            }
        }
    }
}

/// to[(at − k.start)·COUNT + j] = vector j of column `at`, from element i on, for all of `k`.
///
/// # Safety
/// `from` has these elements, side by side; `to` is writable for as many.
#[inline(always)]
unsafe fn copy_rows<S: Simd, F: Source, const COUNT: usize>(s: S, from: F, i: usize, k: Range<usize>, to: *mut f32) {
    const { assert!(NV == 3) };
    let mut to = to;
    for k in k {
        for j in 0..COUNT {
            // SAFETY: by contract.
            unsafe {
                from.prefetch(i + j * S::LANES, k + AHEAD);
                s.store(to.add(j * S::LANES), from.across(s, i + j * S::LANES, k, S::LANES));
            }
        }
        to = to.wrapping_add(COUNT * S::LANES);
    }
}

/// How many rows ahead a copy asks for: each lies elsewhere, which no prefetcher foresees.
pub(super) const AHEAD: usize = 8;

/// Columns copied at a time, so that rows pass through L1.
const CHUNK: usize = 64;

/// Rows transposed at a time.
const BAND: usize = 8;

/// to[(k − cols.start)·to_stride + i − rows.start] = from[i, k] for at most 8 rows.
///
/// # Safety
/// `from` has these rows and columns, dense along k; `to` is writable for cols.len() rows of rows.len() elements.
#[inline(always)]
unsafe fn transpose<S: Simd, F: Source>(s: S, from: F, rows: Range<usize>, cols: Range<usize>, to: *mut f32, to_stride: usize) {
    // SAFETY: accesses stay within the rows and columns of the contract, and within the band.
    unsafe {
        let mut band = [0f32; BAND * CHUNK];
        let (first, rows) = (rows.start, rows.len());
        let mut k = cols.start;
        if let Some(lying) = from.in_place().filter(|_| S::LANES == 16 && rows == BAND) {
            while k + 16 <= cols.end {
                transpose_eight::<S>(lying.at(first, k), lying.row_stride, to.add((k - cols.start) * to_stride), to_stride);
                k += 16;
            }
        }
        while k < cols.end {
            let len = CHUNK.min(cols.end - k);
            for i in 0..rows {
                from.along(s, first + i, k, &mut band[i * CHUNK..][..len]);
            }
            let to = to.add((k - cols.start) * to_stride);
            let mut done = 0;
            while S::LANES == 16 && rows == BAND && done + 16 <= len {
                transpose_eight::<S>(band.as_ptr().add(done), CHUNK, to.add(done * to_stride), to_stride);
                done += 16;
            }
            #[cfg(target_arch = "x86_64")]
            if rows.is_multiple_of(4) {
                while done + 4 <= len {
                    for i in (0..rows).step_by(4) {
                        transpose_4x4(band.as_ptr().add(i * CHUNK + done), CHUNK, to.add(done * to_stride + i), to_stride);
                    }
                    done += 4;
                }
            }
            for column in done..len {
                for i in 0..rows {
                    *to.add(column * to_stride + i) = band[i * CHUNK + column];
                }
            }
            k += len;
        }
    }
}

/// to[k, i] = from[i, k] for 8 rows of 16 elements.
///
/// # Safety
/// Vectors of S have 16 lanes; so many elements are readable and writable.
#[inline(always)]
unsafe fn transpose_eight<S: Simd>(from: *const f32, from_stride: usize, to: *mut f32, to_stride: usize) {
    const { assert!(S::LANES == 16 || S::LANES == 8) };
    #[cfg(target_arch = "x86_64")]
    // SAFETY: only AVX-512 has 16 lanes.
    unsafe {
        transpose_8x16(from, from_stride, to, to_stride);
    }
    #[cfg(not(target_arch = "x86_64"))]
    for k in 0..16 {
        for i in 0..8 {
            // SAFETY: contract.
            unsafe { *to.add(k * to_stride + i) = from.wrapping_add(i.wrapping_mul(from_stride) + k).read_unaligned() };
        }
    }
}

/// As [`transpose_eight`].
///
/// # Safety
/// The processor has AVX-512; so many elements are readable and writable.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
unsafe fn transpose_8x16(from: *const f32, from_stride: usize, to: *mut f32, to_stride: usize) {
    use std::arch::x86_64::*;
    // SAFETY: by contract.
    unsafe {
        // No closures here: the compiler would call them, and each intrinsic in them.
        let mut rows = [_mm512_setzero_ps(); 8];
        for (i, row) in rows.iter_mut().enumerate() {
            *row = _mm512_loadu_ps(from.wrapping_add(i.wrapping_mul(from_stride)));
        }
        // Columns c, 4 + c, 8 + c and 12 + c of four rows, one in each 128 bits, for c below 4.
        let mut columns = [[_mm512_setzero_pd(); 4]; 2];
        for (half, columns) in columns.iter_mut().enumerate() {
            let (r0, r1, r2, r3) = (rows[4 * half], rows[4 * half + 1], rows[4 * half + 2], rows[4 * half + 3]);
            let (l0, l1) = (_mm512_castps_pd(_mm512_unpacklo_ps(r0, r1)), _mm512_castps_pd(_mm512_unpacklo_ps(r2, r3)));
            let (h0, h1) = (_mm512_castps_pd(_mm512_unpackhi_ps(r0, r1)), _mm512_castps_pd(_mm512_unpackhi_ps(r2, r3)));
            columns[0] = _mm512_unpacklo_pd(l0, l1);
            columns[1] = _mm512_unpackhi_pd(l0, l1);
            columns[2] = _mm512_unpacklo_pd(h0, h1);
            columns[3] = _mm512_unpackhi_pd(h0, h1);
        }
        let first_half = _mm512_setr_epi64(0, 1, 8, 9, 2, 3, 10, 11);
        let second_half = _mm512_setr_epi64(4, 5, 12, 13, 6, 7, 14, 15);
        for c in 0..4 {
            for (first, order) in [(c, first_half), (c + 8, second_half)] {
                let two = _mm512_castpd_ps(_mm512_permutex2var_pd(columns[0][c], order, columns[1][c]));
                _mm256_storeu_ps(to.add(first * to_stride), _mm512_castps512_ps256(two));
                _mm256_storeu_ps(to.add((first + 4) * to_stride), _mm512_extractf32x8_ps::<1>(two));
            }
        }
    }
}

/// # Safety
/// 4 rows of 4 elements are readable and writable.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
unsafe fn transpose_4x4(from: *const f32, from_stride: usize, to: *mut f32, to_stride: usize) {
    use std::arch::x86_64::*;
    // SAFETY: by contract; SSE is part of the architecture.
    unsafe {
        let row = |i: usize| _mm_loadu_ps(from.add(i * from_stride));
        let (mut r0, mut r1, mut r2, mut r3) = (row(0), row(1), row(2), row(3));
        _MM_TRANSPOSE4_PS(&mut r0, &mut r1, &mut r2, &mut r3);
        for (i, v) in [r0, r1, r2, r3].into_iter().enumerate() {
            _mm_storeu_ps(to.add(i * to_stride), v);
        }
    }
}

impl<F: Source> Left for F {
    fn pack(&self, isa: Isa, rows: Range<usize>, k: Range<usize>, to: &mut [f32]) {
        let width = rows.len();
        pack(isa, *self, rows, k, width, to);
    }
    fn in_place(&self) -> Option<Strided<f32>> {
        Source::in_place(*self)
    }
}

impl<T: Float> Right for Strided<T> {
    fn panel<'a>(&'a self, isa: Isa, strip: &Strip, k: Range<usize>, room: &'a mut [f32]) -> &'a [f32] {
        pack(isa, self.transposed(), strip.columns.clone(), k, strip.vectors * lanes(isa), room);
        room
    }
    unsafe fn panel_with_tile(
        &self,
        isa: Isa,
        strip: &Strip,
        k: Range<usize>,
        room: &mut [f32],
        tile: Tile,
        ahead: Ahead,
    ) -> bool {
        let from = self.transposed();
        let packs = packs_with(isa, from, strip, tile, k.len(), room);
        if packs {
            // SAFETY: by contract, and the factor has these rows and columns; the panel has been measured.
            unsafe { multiply_packing(isa, tile, ahead, from, strip.columns.start, k.start, room.as_mut_ptr()) };
        }
        packs
    }
    fn coming(&self, _isa: Isa, strip: &Strip, k: Range<usize>) -> Ahead {
        let from = self.from(k.start, strip.columns.start);
        if self.col_stride == 1 { Ahead::rows(from.start, strip.columns.len(), from.row_stride, k.len()) } else { Ahead::NONE }
    }
    fn makes_panels(&self) -> bool {
        true
    }
}

/// Lanes of vectors of which there are 32.
const PACKING_LANES: usize = 16;

/// Whether a panel is better made while `tile` is multiplied with it: both are whole, a row lies side by side, and registers are enough
/// for all sums beside it. `room` is for the panel.
///
/// # Panics
/// If it is too small.
pub(super) fn packs_with<F: Source>(isa: Isa, from: F, strip: &Strip, tile: Tile, depth: usize, room: &[f32]) -> bool {
    assert!(tile.depth == depth && room.len() >= depth * strip.vectors * lanes(isa));
    const { assert!(PACKING_ROWS == mr(PACKING_LANES)) };
    let whole = tile.size == (PACKING_ROWS, NV) && strip.columns.len() == nr(PACKING_LANES);
    lanes(isa) == PACKING_LANES && from.dense_across() && whole
}

/// # Safety
/// As for [`run_packing`], and [`packs_with`] has said that it may be.
unsafe fn multiply_packing<T: Float>(isa: Isa, tile: Tile, ahead: Ahead, from: Strided<T>, i: usize, k: usize, panel: *mut f32) {
    simd_fn! {
        fn checked[T: Float](s, tile: Tile, ahead: Ahead, from: Strided<T>, i: usize, k: usize, panel: *mut f32) {
            if S::LANES == PACKING_LANES {
                // SAFETY: the contract of `multiply_packing`, the only caller.
                unsafe { run_packing(s, tile, ahead, from, i, k, panel) }
            }
        }
    }
    checked(isa, tile, ahead, from, i, k, panel);
}
