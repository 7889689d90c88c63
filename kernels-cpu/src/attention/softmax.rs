//! Softmax over chunks of keys: each chunk by itself, then joined in order.
//!
//! Weights are powers of two: eˣ = 2^(x·log₂ e), so that the factors of scores and of exponents are one.

use super::tiles::CHUNK;
use crate::simd::{load, math, simd_fn, store};
use std::f32::consts::LN_2;

/// What rows have summed over some keys: m = max x_s, Σ 2^(x_s − m) and Σ 2^(x_s − m)·v_s. Nothing seen is −∞, 0 and zeros.
pub(crate) struct Sums<'s> {
    /// [rows, width]
    pub values: &'s mut [f32],
    /// [rows]
    pub max: &'s mut [f32],
    /// [rows]
    pub total: &'s mut [f32],
}

impl<'s> Sums<'s> {
    /// Elements of work space for `rows` rows.
    pub fn floats(rows: usize, width: usize) -> usize {
        rows * (width + 2)
    }

    /// Sums of `rows` rows in work space of that many elements.
    pub fn new(space: &'s mut [f32], rows: usize, width: usize) -> Self {
        let (values, rest) = space.split_at_mut(rows * width);
        let (max, rest) = rest.split_at_mut(rows);
        Sums { values, max, total: &mut rest[..rows] }
    }

    /// Nothing seen.
    pub fn clear(&mut self) {
        self.values.fill(0.0);
        self.max.fill(f32::NEG_INFINITY);
        self.total.fill(0.0);
    }

    /// Those of `rows`.
    pub fn of(&mut self, rows: std::ops::Range<usize>, width: usize) -> Sums<'_> {
        Sums {
            values: &mut self.values[rows.start * width..rows.end * width],
            max: &mut self.max[rows.clone()],
            total: &mut self.total[rows],
        }
    }
}

simd_fn! {
    /// Turns the first `visible[i]` ≥ 1 products of each row of scores into weights, zeros up to a whole vector; `factor` ≥ 0 is
    /// that of the exponents.
    pub fn weigh(s, scores: &mut [f32], visible: &[usize], factor: f32, max: &mut [f32], total: &mut [f32]) {
        assert!(scores.len() >= visible.len() * CHUNK && CHUNK.is_multiple_of(S::LANES));
        assert!(visible.iter().all(|&n| (1..=CHUNK).contains(&n)));
        // All maxima first: the long chains of rows overlap.
        for (i, &visible) in visible.iter().enumerate() {
            let last = (visible - 1) / S::LANES; // vector
            // SAFETY: the vector begins before visible ≤ CHUNK, hence ends within the row; so do those before.
            let row = |at: usize| unsafe { s.load(scores.as_ptr().add(i * CHUNK + at * S::LANES)) };
            let mut highest = s.splat(f32::NEG_INFINITY);
            for at in 0..last {
                highest = s.max(row(at), highest); // NaN is left to the sum
            }
            let with_last = s.max(row(last), highest);
            max[i] = s.reduce_max(s.select(s.first(visible - last * S::LANES), with_last, highest)) * factor;
        }
        let scale = s.splat(factor);
        for (i, &visible) in visible.iter().enumerate() {
            let last = (visible - 1) / S::LANES;
            // Where all are −∞, 0 is subtracted instead, so that no difference is NaN.
            let shift = s.splat(if max[i] == f32::NEG_INFINITY { 0.0 } else { max[i] });
            let mut sum = s.zero();
            // SAFETY: as above.
            unsafe {
                let row = scores.as_mut_ptr().add(i * CHUNK);
                for at in 0..last {
                    // Not fused: the largest exponent is 0, however large the scores.
                    let to = row.add(at * S::LANES);
                    let p = math::exp2(s, s.load(to) * scale - shift);
                    s.store(to, p);
                    sum = sum + p;
                }
                // Neither garbage nor −∞, whose underflow would be slow, reaches the power.
                let (to, seen) = (row.add(last * S::LANES), s.first(visible - last * S::LANES));
                let x = s.select(seen, s.load(to) * scale - shift, s.zero());
                let p = s.select(seen, math::exp2(s, x), s.zero());
                s.store(to, p);
                sum = sum + p;
            }
            total[i] = s.reduce_add(sum);
        }
    }

    /// Joins the sums over the next keys, `next`, which is work space afterwards, to those over the keys before.
    pub fn join(s, to: Sums<'_>, next: Sums<'_>, width: usize) {
        assert!(width.is_multiple_of(S::LANES));
        for at in (0..to.max.len()).step_by(S::LANES) {
            let (old, new) = (load(s, to.max, at), load(s, next.max, at));
            let max = s.max(old, new);
            let shift = s.select(s.eq(max, s.splat(f32::NEG_INFINITY)), s.zero(), max);
            let (keep, take) = (math::exp2(s, old - shift), math::exp2(s, new - shift));
            store(s, to.total, at, s.fma(load(s, next.total, at), take, load(s, to.total, at) * keep));
            store(s, to.max, at, max);
            store(s, next.max, at, keep);
            store(s, next.total, at, take);
        }
        for (i, (to, row)) in to.values.chunks_exact_mut(width.max(1)).zip(next.values.chunks_exact(width.max(1))).enumerate() {
            let (keep, take) = (s.splat(next.max[i]), s.splat(next.total[i]));
            let (to, row) = (to.as_mut_ptr(), row.as_ptr());
            for at in (0..width).step_by(S::LANES) {
                // SAFETY: rows are `width` elements, whole vectors.
                unsafe { s.store(to.add(at), s.fma(s.load(row.add(at)), take, s.load(to.add(at)) * keep)) };
            }
        }
    }

    /// Turns each total into its reciprocal, 0 for 0, and each maximum into the log-sum-exp in nats.
    pub fn finish(s, max: &mut [f32], total: &mut [f32]) {
        for at in (0..max.len()).step_by(S::LANES) {
            let sum = load(s, total, at);
            let nothing = s.eq(sum, s.zero());
            let lse = crate::gemm::one_nan(s, s.fma(load(s, max, at), s.splat(LN_2), math::log(s, sum)));
            store(s, max, at, s.select(nothing, s.splat(f32::NEG_INFINITY), lse));
            store(s, total, at, s.select(nothing, s.zero(), s.splat(1.0) / sum));
        }
    }
}
