//! Keys transposed to panels, and rows in f32.

use super::micro::vectors;
use super::tiles::{AHEAD, prefetch_row};
use crate::gemm::pack::Strided;
use crate::simd::{Float, Simd, load, simd_fn, store};

/// Elements of work space for the rows of one vector of keys, in f32.
pub(crate) fn band_floats(lanes: usize, d: usize) -> usize {
    lanes * d.next_multiple_of(8)
}

/// to[j·to_stride + i] = from[i, j] for LANES rows of `d` elements.
///
/// # Safety
/// LANES rows are readable for `d` elements rounded up to 8; `to` is writable for `d` vectors.
#[inline(always)]
unsafe fn transpose<S: Simd, T: Float>(s: S, from: *const T, stride: usize, d: usize, to: *mut f32, to_stride: usize) {
    for at in (0..d).step_by(8) {
        // SAFETY: by contract.
        unsafe {
            let columns = T::load_columns(s, from.add(at), stride);
            if d - at >= 8 {
                for j in 0..8 {
                    s.store(to.add((at + j) * to_stride), columns[j]);
                }
            } else {
                for j in 0..d - at {
                    s.store(to.add((at + j) * to_stride), columns[j]);
                }
            }
        }
    }
}

/// `d` elements in f32, zeros up to `width`.
///
/// # Safety
/// `from` is readable for `d` elements, `to` writable for `width` ≥ `d`.
#[inline(always)]
unsafe fn widen<S: Simd, T: Float>(s: S, from: *const T, d: usize, width: usize, to: *mut f32) {
    let whole = d - d % S::LANES;
    // SAFETY: by contract.
    unsafe {
        for at in (0..whole).step_by(S::LANES) {
            s.store(to.add(at), T::load(s, from.add(at)));
        }
        if whole < d {
            s.store_part(to.add(whole), d - whole, T::load_part(s, from.add(whole), d - whole));
        }
        for at in d..width {
            *to.add(at) = 0.0;
        }
    }
}

simd_fn! {
    /// The first `count` rows of `keys` [_, D] as panels [D, W], W the width of a tile; zeros beyond `count` in its last vector.
    pub fn pack_keys[T: Float](s, keys: Strided<T>, count: usize, d: usize, band: &mut [f32], panels: &mut [f32]) {
        let width = vectors(S::LANES) * S::LANES;
        let stride = d.next_multiple_of(8);
        assert!(panels.len() >= count.next_multiple_of(width) * d && band.len() >= band_floats(S::LANES, d));
        if d == 0 {
            return;
        }
        for first in (0..count).step_by(S::LANES) {
            let rows = (count - first).min(S::LANES);
            for i in 0..S::LANES {
                prefetch_row(keys.at(first + S::LANES + i, 0), d);
            }
            let to = panels[first / width * width * d + first % width..].as_mut_ptr();
            // SAFETY: the matrix has these rows; band and panels have been measured.
            unsafe {
                if rows == S::LANES && d == stride {
                    transpose(s, keys.at(first, 0), keys.row_stride, d, to, width);
                    continue;
                }
                band[rows * stride..].fill(0.0);
                for i in 0..rows {
                    widen(s, keys.at(first + i, 0), d, stride, band[i * stride..].as_mut_ptr());
                }
                transpose(s, band.as_ptr(), stride, d, to, width);
            }
        }
    }

    /// Rows of `rows` [_, D] in f32, `width` elements apart, zeros beyond D.
    pub fn copy_rows[T: Float](s, rows: Strided<T>, count: usize, d: usize, width: usize, to: &mut [f32]) {
        assert!(to.len() >= count * width && width >= d);
        for i in 0..count {
            prefetch_row(rows.at(i + AHEAD, 0), d);
            // SAFETY: the matrix has these rows, `to` room for them.
            unsafe { widen(s, rows.at(i, 0), d, width, to.as_mut_ptr().add(i * width)) };
        }
    }

    /// Changes the sign of all elements.
    pub fn negate(s, values: &mut [f32]) {
        for at in (0..values.len()).step_by(S::LANES) {
            store(s, values, at, -load(s, values, at));
        }
    }
}
