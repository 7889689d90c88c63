//! Tokens in lanes: x as tiles of columns that fit into L1, and two outputs abreast, which hide the latency of each other's
//! multiply-adds. Per stored value one broadcast and a load per vector of tokens.

use super::bands::Band;
use super::panel::pack_panel;
use crate::gemm::pack::Strided;
use crate::simd::{Float, Isa, Simd};
use std::ops::Range;

/// Columns of a tile, so that a column within it is a byte.
pub(super) const TILE: usize = 128;

/// Most vectors of tokens of a panel.
pub(super) const MAX_VECTORS: usize = 4;

/// to [TILE and one, width] = the columns `depth` of x, a tile or what there is, with the tokens side by side. What lies beyond them,
/// row TILE at least, is 0.
pub(super) fn pack_tile<X: Float>(isa: Isa, x: Strided<X>, band: &Band, depth: Range<usize>, to: &mut [f32]) {
    let beyond = depth.len() * band.width;
    pack_panel(isa, x, band.rows.clone(), depth, band.width, to);
    to[beyond..].fill(0.0);
}

/// Stored values of two outputs within a tile: entry e of output i at `columns[e · LANES + i]` and `values[e · LANES + i]`.
#[derive(Clone, Copy)]
pub(super) struct Two {
    pub count: usize,
    pub columns: *const u8,
    pub values: *const f32,
}

/// across[outputs, vectors] += two · tile [TILE and one, vectors].
///
/// # Safety
/// `two` is as it says, with columns up to TILE; 1 ≤ `vectors` ≤ MAX_VECTORS; `across` has rows for both outputs, which differ unless
/// the count is 0.
#[inline(always)]
pub(super) unsafe fn add_two<S: Simd>(s: S, two: Two, outputs: [usize; 2], vectors: usize, tile: *const f32, across: *mut f32) {
    // SAFETY: same contract, with the number of vectors as a constant.
    unsafe {
        match vectors {
            1 => add_vectors::<S, 1>(s, two, outputs, tile, across),
            2 => add_vectors::<S, 2>(s, two, outputs, tile, across),
            3 => add_vectors::<S, 3>(s, two, outputs, tile, across),
            _ => add_vectors::<S, MAX_VECTORS>(s, two, outputs, tile, across),
        }
    }
}

/// # Safety
/// As for [`add_two`].
#[inline(always)]
unsafe fn add_vectors<S: Simd, const V: usize>(s: S, two: Two, outputs: [usize; 2], tile: *const f32, across: *mut f32) {
    let width = V * S::LANES;
    // SAFETY: by contract.
    unsafe {
        let to = outputs.map(|output| across.add(output * width));
        let mut sums = [[s.zero(); V]; 2];
        for (sums, &to) in sums.iter_mut().zip(&to) {
            for (v, sum) in sums.iter_mut().enumerate() {
                *sum = s.load(to.add(v * S::LANES));
            }
        }
        for entry in 0..two.count {
            for (i, sums) in sums.iter_mut().enumerate() {
                let place = entry * S::LANES + i;
                let (w, x) = (s.splat(*two.values.add(place)), tile.add(*two.columns.add(place) as usize * width));
                for (v, sum) in sums.iter_mut().enumerate() {
                    *sum = s.fma(w, s.load(x.add(v * S::LANES)), *sum);
                }
            }
        }
        for (sums, &to) in sums.iter().zip(&to) {
            for (v, &sum) in sums.iter().enumerate() {
                s.store(to.add(v * S::LANES), sum);
            }
        }
    }
}
