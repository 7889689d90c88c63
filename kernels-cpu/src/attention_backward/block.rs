//! The five products between a block of rows and a chunk of keys, on the register tiles of the forward pass.

use crate::attention::micro::{Begin, Right, Rows, Scores, add_transposed, multiply, multiply_staircase, tile_rows, vectors};
use crate::attention::pack::{band_floats, copy_rows, pack_keys};
use crate::gemm::blocking::lanes;
use crate::gemm::pack::Strided;
use crate::simd::{Float, Isa, load, math, simd_fn, store};

/// Rows of a block: copies of their queries and gradients stay in L1 while keys pass.
pub(super) const BLOCK: usize = 48;

/// Most keys of a chunk.
const CHUNK: usize = 256;

/// Elements between rows of weights: an odd number of cache lines, so that columns spread over the sets of a cache.
const STRIDE: usize = CHUNK + 16;

/// Keys of a strip of rows for dq: as many stay in L1.
const STRIP: usize = 64;

/// Keys of a chunk: their panels, rows and gradients stay in L2.
pub(super) fn keys_of_chunk(d: usize) -> usize {
    (CHUNK * 64 / d.max(1)).clamp(STRIP, CHUNK) / STRIP * STRIP
}

/// Work space of a task.
pub(super) struct Space<'s> {
    pub q: &'s mut [f32],    // [BLOCK, width]
    pub dout: &'s mut [f32], // [BLOCK, width]
    pub dk: &'s mut [f32],   // [keys, width]
    pub dv: &'s mut [f32],   // [keys, width]
    keys: &'s mut [f32],     // [keys / W][D, W]
    values: &'s mut [f32],   // [keys / W][D, W]
    rows: &'s mut [f32],     // [keys, width], the keys again
    p: &'s mut [f32],        // [BLOCK, STRIDE]
    ds: &'s mut [f32],       // [BLOCK, STRIDE]
    band: &'s mut [f32],
}

impl<'s> Space<'s> {
    pub fn floats(isa: Isa, d: usize, width: usize) -> usize {
        2 * BLOCK * (width + STRIDE) + keys_of_chunk(d) * (3 * width + 2 * d) + band_floats(lanes(isa), d)
    }

    pub fn new(space: &'s mut [f32], isa: Isa, d: usize, width: usize) -> Self {
        let mut rest = space;
        let mut take = |len: usize| rest.split_off_mut(..len).unwrap_or_default();
        let keys = keys_of_chunk(d);
        Space {
            q: take(BLOCK * width),
            dout: take(BLOCK * width),
            dk: take(keys * width),
            dv: take(keys * width),
            keys: take(keys * d),
            values: take(keys * d),
            rows: take(keys * width),
            p: take(BLOCK * STRIDE),
            ds: take(BLOCK * STRIDE),
            band: take(band_floats(lanes(isa), d)),
        }
    }

    /// dk and dv of `keys` keys before any row.
    pub fn clear_sums(&mut self, keys: usize, width: usize) {
        self.dk[..keys * width].fill(0.0);
        self.dv[..keys * width].fill(0.0);
    }

    pub fn load_keys<T: Float>(&mut self, isa: Isa, k: Strided<T>, v: Strided<T>, count: usize, d: usize, width: usize) {
        pack_keys(isa, k, count, d, self.band, self.keys);
        pack_keys(isa, v, count, d, self.band, self.values);
        copy_rows(isa, k, count, d, width, self.rows);
    }
}

/// What is known of a block of rows.
pub(super) struct Block<'s> {
    /// Keys of the chunk each row sees; does not fall.
    pub visible: &'s [usize],
    pub lse: &'s [f32],
    /// ⟨dout, out⟩
    pub delta: &'s [f32],
}

/// Sizes of a chunk of keys.
pub(super) struct Chunk {
    pub isa: Isa,
    pub d: usize,
    pub width: usize,
    pub scale: f32,
    pub keys: usize,
}

impl Chunk {
    /// p = exp(scale·⟨q, k⟩ − lse) and ds = p·(⟨dout, v⟩ − delta).
    pub fn weights(&self, block: &Block<'_>, space: &mut Space<'_>) {
        self.scores(block, space.q, space.keys, space.p);
        self.scores(block, space.dout, space.values, space.ds);
        for (i, &visible) in block.visible.iter().enumerate() {
            let of_row = i * STRIDE..i * STRIDE + visible;
            let (p, ds) = (&mut space.p[of_row.clone()], &mut space.ds[of_row]);
            softmax_gradient(self.isa, p, ds, self.scale, block.lse[i], block.delta[i]);
        }
    }

    /// to = rows · panelsᵀ for the pairs that see each other, up to whole tiles.
    fn scores(&self, block: &Block<'_>, rows: &[f32], panels: &[f32], to: &mut [f32]) {
        let (lanes, count) = (lanes(self.isa), block.visible.len());
        let pointers: [*const f32; BLOCK] = std::array::from_fn(|i| rows.as_ptr().wrapping_add(i * self.width));
        let strip = vectors(lanes) * lanes;
        for start in (0..self.keys).step_by(strip) {
            let right = Right { start: panels[start * self.d..].as_ptr(), stride: strip };
            let mut i = 0;
            while i < count {
                let tile = tile_rows(count - i);
                let seen = block.visible[i + tile - 1].saturating_sub(start).min(strip);
                if seen > 0 {
                    let to = to[i * STRIDE + start..(i + tile) * STRIDE].as_mut_ptr();
                    // SAFETY: the rows have D elements, the panel D rows; the tile lies within the scores.
                    unsafe {
                        multiply(self.isa, (tile, seen.div_ceil(lanes)), Rows(pointers[i..].as_ptr()), right, self.d, to, STRIDE);
                    }
                }
                i += tile;
            }
        }
    }

    /// dv += pᵀ·dout and dk += dsᵀ·q.
    pub fn add_to_keys(&self, block: &Block<'_>, space: &mut Space<'_>) {
        let count = block.visible.len();
        // First row that sees each key, `count` where none does.
        let mut seer = [count; CHUNK];
        let mut key = 0;
        for (i, &visible) in block.visible.iter().enumerate() {
            if visible > key {
                seer[key..visible].fill(i);
                key = visible;
            }
        }
        for (weights, right, sums) in [(&*space.p, &*space.dout, &mut *space.dv), (&*space.ds, &*space.q, &mut *space.dk)] {
            self.for_strips(|first, size| {
                let mut j = 0;
                while j < key {
                    let tile = tile_rows(key - j);
                    let weights = Scores::<1, STRIDE>(weights[j..].as_ptr());
                    let right = Right { start: right[first..].as_ptr(), stride: self.width };
                    let to = sums[j * self.width + first..(j + tile) * self.width].as_mut_ptr();
                    // SAFETY: weights and copies hold these rows; the tile lies within the sums.
                    unsafe { add_transposed(self.isa, (tile, size), weights, right, &seer[j..], count, to, self.width) };
                    j += tile;
                }
            });
        }
    }

    /// dq += ds·k.
    pub fn add_to_rows(&self, block: &Block<'_>, space: &Space<'_>, dq: &mut [f32]) {
        let count = block.visible.len();
        for start in (0..self.keys).step_by(STRIP) {
            let mut ends = [0; BLOCK];
            for (end, &visible) in ends.iter_mut().zip(block.visible) {
                *end = visible.saturating_sub(start).min(STRIP);
            }
            self.for_strips(|first, size| {
                let mut i = 0;
                while i < count {
                    let tile = tile_rows(count - i);
                    if ends[i + tile - 1] > 0 {
                        let weights = Scores::<STRIDE, 1>(space.ds[i * STRIDE + start..(i + tile) * STRIDE].as_ptr());
                        let right = Right { start: space.rows[start * self.width + first..].as_ptr(), stride: self.width };
                        let to = dq[i * self.width + first..(i + tile) * self.width].as_mut_ptr();
                        // SAFETY: weights and copies hold the keys up to the last end; the tile lies within the sums.
                        unsafe {
                            multiply_staircase(self.isa, (tile, size), weights, right, &ends[i..], Begin::Sum, to, self.width);
                        }
                    }
                    i += tile;
                }
            });
        }
    }

    /// f(first column, vectors) for strips of `width` columns.
    fn for_strips(&self, mut f: impl FnMut(usize, usize)) {
        let lanes = lanes(self.isa);
        let all = self.width / lanes;
        let step = all.div_ceil(all.div_ceil(vectors(lanes)).max(1)).max(1);
        for first in (0..all).step_by(step) {
            f(first * lanes, step.min(all - first));
        }
    }
}

simd_fn! {
    /// Turns scores into p and ⟨dout, v⟩ into ds, in place.
    fn softmax_gradient(s, p: &mut [f32], ds: &mut [f32], scale: f32, lse: f32, delta: f32) {
        for at in (0..p.len()).step_by(S::LANES) {
            let score = load(s, p, at) * s.splat(scale);
            let probability = math::exp(s, score - s.splat(lse));
            store(s, ds, at, probability * (load(s, ds, at) - s.splat(delta)));
            store(s, p, at, probability);
        }
    }
}
