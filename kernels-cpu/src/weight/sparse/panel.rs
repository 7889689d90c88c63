//! Rows of x with the tokens side by side, and sums back to rows.

use crate::gemm::Epilogue;
use crate::gemm::blocking::lanes;
use crate::gemm::pack::Strided;
use crate::simd::{Float, Isa, simd_fn};
use std::ops::Range;

/// Elements of the largest square of lanes.
const SQUARE: usize = 16 * 16;

simd_fn! {
    /// to[k] = x[row, k] for the columns of `depth`, the first of which goes to 0.
    pub fn widen_row[T: Float](s, x: Strided<T>, row: usize, depth: Range<usize>, to: &mut [f32]) {
        let to = &mut to[..depth.len()];
        // SAFETY: x has these elements; those of a row lie side by side.
        let from = unsafe { std::slice::from_raw_parts(x.at(row, depth.start), depth.len()) };
        for at in (0..to.len()).step_by(S::LANES) {
            crate::simd::store(s, to, at, crate::simd::load(s, from, at));
        }
    }

    /// to[k, i] = x[i, k] for the rows and the columns of `depth`, the first of which go to 0. Rows of `to` are `width` long, whole
    /// vectors, and 0 beyond the rows of x.
    pub fn pack_panel[T: Float](s, x: Strided<T>, rows: Range<usize>, depth: Range<usize>, width: usize, to: &mut [f32]) {
        assert!(rows.len() <= width && width.is_multiple_of(S::LANES));
        let to = &mut to[..depth.len() * width];
        let (mut square, mut turned) = ([0f32; SQUARE], [0f32; SQUARE]);
        for first in (0..width).step_by(S::LANES) {
            let count = rows.len().saturating_sub(first).min(S::LANES);
            square[count * S::LANES..].fill(0.0);
            for k in (0..depth.len()).step_by(S::LANES) {
                let columns = (depth.len() - k).min(S::LANES);
                for i in 0..count {
                    let from = x.at(rows.start + first + i, depth.start + k);
                    // SAFETY: x has these elements; those of a row lie side by side.
                    let from = unsafe { std::slice::from_raw_parts(from, columns) };
                    crate::simd::store(s, &mut square, i * S::LANES, crate::simd::load(s, from, 0));
                }
                let to = &mut to[k * width + first..];
                if columns == S::LANES {
                    // SAFETY: the squares hold LANES rows, and so many rows of `to` follow.
                    unsafe { s.transpose(square.as_ptr(), S::LANES, to.as_mut_ptr(), width) };
                    continue;
                }
                // SAFETY: both squares hold LANES rows.
                unsafe { s.transpose(square.as_ptr(), S::LANES, turned.as_mut_ptr(), S::LANES) };
                for column in 0..columns {
                    to[column * width..][..S::LANES].copy_from_slice(&turned[column * S::LANES..][..S::LANES]);
                }
            }
        }
    }

    /// sums[LANES, outputs] = across[outputs, width] of the LANES tokens from `first` on, transposed.
    fn turn(s, across: &[f32], width: usize, first: usize, outputs: usize, sums: &mut [f32]) {
        assert!(first + S::LANES <= width && outputs.is_multiple_of(S::LANES));
        assert!(across.len() >= width * outputs && sums.len() >= S::LANES * outputs);
        for output in (0..outputs).step_by(S::LANES) {
            // SAFETY: both matrices have been measured.
            unsafe { s.transpose(across.as_ptr().add(output * width + first), width, sums.as_mut_ptr().add(output), outputs) };
        }
    }
}

/// Rows finished at a time. Rows of a result often lie a multiple of 4 KiB apart, where a cache holds only so many lines.
const FINISH_ROWS: usize = 8;

/// Hands across[outputs, width], the sums of `rows` with `outputs`, to the epilogue. `sums` is work space for LANES rows.
pub(super) fn finish(
    isa: Isa,
    epilogue: &dyn Epilogue,
    across: &[f32],
    width: usize,
    rows: Range<usize>,
    outputs: Range<usize>,
    sums: &mut [f32],
) {
    let lanes = lanes(isa);
    let padded = outputs.len().next_multiple_of(lanes);
    for first in (0..rows.len()).step_by(lanes) {
        turn(isa, across, width, first, padded, sums);
        let last = (first + lanes).min(rows.len());
        for start in (first..last).step_by(FINISH_ROWS) {
            let rows = rows.start + start..rows.start + (start + FINISH_ROWS).min(last);
            epilogue.finish(isa, rows, outputs.clone(), &sums[(start - first) * padded..], padded / lanes);
        }
    }
}
