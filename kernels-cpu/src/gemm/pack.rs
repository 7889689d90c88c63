//! Packing: factors of any strides and float type become contiguous f32 tiles and panels.

use super::blocking::{lanes, mr};
use super::{Left, Right, Strip};
use crate::simd::{Float, Isa, Simd, simd_fn};
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
        self.start.wrapping_add(row * self.row_stride + col * self.col_stride)
    }

    /// The same matrix, if it is of f32.
    pub fn as_f32(self) -> Option<Strided<f32>>
    where
        T: kernels::Element,
    {
        let matrix = Strided { start: self.start.cast(), row_stride: self.row_stride, col_stride: self.col_stride };
        (T::DTYPE == kernels::DType::F32).then_some(matrix)
    }

    /// The part that begins at (row, col).
    pub fn from(self, row: usize, col: usize) -> Self {
        Strided { start: self.at(row, col), ..self }
    }

    pub fn transposed(self) -> Self {
        Strided { start: self.start, row_stride: self.col_stride, col_stride: self.row_stride }
    }
}

/// Columns widened at a time, so that rows of half floats pass through L1.
const CHUNK: usize = 64;

/// Rows transposed at a time.
const BAND: usize = 8;

/// to[k·to_stride + i] = from[i, k] for `rows` ≤ 8 rows and the columns of `cols`, the first of which goes to k = 0.
///
/// # Safety
/// `from` has these rows and columns; `to` is writable for cols.len() rows of `rows` elements.
#[inline(always)]
unsafe fn transpose<S: Simd, T: Float>(s: S, from: Strided<T>, rows: usize, cols: Range<usize>, to: *mut f32, to_stride: usize) {
    // SAFETY: accesses stay within the rows and columns of the contract, and within the band.
    unsafe {
        if from.col_stride != 1 {
            for (to_k, k) in cols.enumerate() {
                for i in 0..rows {
                    *to.add(to_k * to_stride + i) = (*from.at(i, k)).to_f32();
                }
            }
            return;
        }
        let mut band = [0f32; BAND * CHUNK];
        let mut k = cols.start;
        while k < cols.end {
            let len = CHUNK.min(cols.end - k);
            for i in 0..rows {
                let row = std::slice::from_raw_parts(from.at(i, k), len);
                for at in (0..len).step_by(S::LANES) {
                    crate::simd::store(s, &mut band[i * CHUNK..][..CHUNK], at, crate::simd::load(s, row, at));
                }
            }
            let to = to.add((k - cols.start) * to_stride);
            let mut done = 0;
            #[cfg(target_arch = "x86_64")]
            if S::LANES == 16 && rows == BAND {
                while done + 8 <= len {
                    transpose_8x8(band.as_ptr().add(done), CHUNK, to.add(done * to_stride), to_stride);
                    done += 8;
                }
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

/// # Safety
/// The processor has AVX2; 8 rows of 8 elements are readable and writable.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
unsafe fn transpose_8x8(from: *const f32, from_stride: usize, to: *mut f32, to_stride: usize) {
    use std::arch::x86_64::*;
    // SAFETY: by contract.
    unsafe {
        let half = |row: usize, at: usize| _mm_loadu_ps(from.add(row * from_stride + at));
        // Row i beside row i + 4, left and right halves: then four-by-four transposition of both 128-bit lanes at once.
        let pair = |i: usize, at: usize| _mm256_insertf128_ps::<1>(_mm256_castps128_ps256(half(i, at)), half(i + 4, at));
        for at in [0, 4] {
            let (r0, r1, r2, r3) = (pair(0, at), pair(1, at), pair(2, at), pair(3, at));
            let (t0, t1) = (_mm256_unpacklo_ps(r0, r1), _mm256_unpackhi_ps(r0, r1));
            let (t2, t3) = (_mm256_unpacklo_ps(r2, r3), _mm256_unpackhi_ps(r2, r3));
            _mm256_storeu_ps(to.add(at * to_stride), _mm256_shuffle_ps::<0b01_00_01_00>(t0, t2));
            _mm256_storeu_ps(to.add((at + 1) * to_stride), _mm256_shuffle_ps::<0b11_10_11_10>(t0, t2));
            _mm256_storeu_ps(to.add((at + 2) * to_stride), _mm256_shuffle_ps::<0b01_00_01_00>(t1, t3));
            _mm256_storeu_ps(to.add((at + 3) * to_stride), _mm256_shuffle_ps::<0b11_10_11_10>(t1, t3));
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

simd_fn! {
    fn pack_tile[T: Float](s, from: Strided<T>, rows: Range<usize>, k: Range<usize>, to: &mut [f32]) {
        let count = rows.len();
        assert!(count <= mr(S::LANES) && to.len() >= count * k.len());
        let (from, k) = (from.from(rows.start, k.start), k.len());
        // SAFETY: the caller's rows; `to` has been measured. Rows of a transposed factor lie side by side.
        unsafe {
            if from.row_stride == 1 && from.col_stride != 1 {
                for at in 0..k {
                    let row = std::slice::from_raw_parts(from.at(0, at), count);
                    let v = crate::simd::load(s, row, 0);
                    s.store_part(to.as_mut_ptr().add(at * count), count, v);
                }
            } else {
                transpose(s, from, count, 0..k, to.as_mut_ptr(), count);
            }
        }
    }
}

impl<T: Float> Left for Strided<T> {
    fn pack(&self, isa: Isa, rows: Range<usize>, k: Range<usize>, to: &mut [f32]) {
        pack_tile(isa, *self, rows, k, to);
    }
}

impl<T: Float> Right for Strided<T> {
    fn panel<'a>(&'a self, isa: Isa, strip: &Strip, k: Range<usize>, room: &'a mut [f32]) -> &'a [f32] {
        let width = strip.vectors * lanes(isa);
        pack_columns(isa, *self, k, strip.columns.clone(), width, room);
        room
    }
    fn makes_panels(&self) -> bool {
        true
    }
}

simd_fn! {
    /// [`pack_panel`] in work space that is measured.
    pub fn pack_columns[T: Float](s, from: Strided<T>, depth: Range<usize>, cols: Range<usize>, width: usize, panel: &mut [f32]) {
        assert!(panel.len() >= depth.len() * width && cols.len() <= width && width.is_multiple_of(S::LANES));
        // SAFETY: the factor has these rows and columns; the panel has been measured.
        unsafe { pack_panel(s, from, depth, cols, width, panel.as_mut_ptr()) };
    }
}

/// Packs rows `depth` and columns `cols` of a right factor as a panel of rows `width` elements long, zeros beyond the columns.
///
/// # Safety
/// `from` has these rows and columns; `to` is writable for depth.len() · width elements; cols.len() ≤ width.
#[inline(always)]
unsafe fn pack_panel<S: Simd, T: Float>(
    s: S,
    from: Strided<T>,
    depth: Range<usize>,
    cols: Range<usize>,
    width: usize,
    to: *mut f32,
) {
    let count = cols.len();
    let whole = count - count % S::LANES;
    // SAFETY: by contract.
    unsafe {
        if from.col_stride == 1 || from.row_stride != 1 {
            for (i, k) in depth.enumerate() {
                let to = to.add(i * width);
                if from.col_stride != 1 {
                    for j in 0..count {
                        *to.add(j) = (*from.at(k, cols.start + j)).to_f32();
                    }
                    (count..width).for_each(|j| *to.add(j) = 0.0);
                    continue;
                }
                let row = from.at(k, cols.start);
                for j in (0..whole).step_by(S::LANES) {
                    s.store(to.add(j), T::load(s, row.add(j)));
                }
                if whole < count {
                    s.store(to.add(whole), T::load_part(s, row.add(whole), count - whole));
                }
            }
            return;
        }
        let columns = from.transposed(); // [N, K], rows contiguous
        for j in (0..count).step_by(BAND) {
            let band = Strided { start: columns.at(cols.start + j, 0), ..columns };
            transpose(s, band, BAND.min(count - j), depth.clone(), to.add(j), width);
        }
        for i in 0..depth.len() {
            (count..width).for_each(|j| *to.add(i * width + j) = 0.0);
        }
    }
}
