//! Rotary position embedding.

use crate::CpuBackend;
use crate::dtypes::{floats, with_float};
use crate::simd::{Float, Simd, Stores, simd_fn, spans};
use crate::strided::{InRows, OutRows, each_row, rows_of_task};
use crate::threads::Parts;
use kernels::ops::{Direction, Pairing, Rope};
use kernels::{Checked, DType, Launch, Op, Result, Support};

/// Angles below this have their sines and cosines from [`sin_cos`].
const NEAR: f64 = 1_048_576.0;

simd_fn! {
    /// Heads side by side, each rotated by factors as [`fill_factors`] lays them out.
    fn rotate[T: Float](s, stores: Stores, pairing: Pairing, factors: &[f32], x: &[T], out: &mut [T]) {
        let (width, (cos, sin)) = (factors.len() / 2, factors.split_at(factors.len() / 2));
        for (x, out) in x.chunks_exact(width).zip(out.chunks_exact_mut(width)) {
            match pairing {
                Pairing::Halves => rotate_halves(s, stores, &cos[..width / 2], &sin[..width / 2], x, out),
                Pairing::Interleaved => rotate_pairs(s, stores, cos, sin, x, out),
            }
        }
    }
    /// Cosines and sines of a position's angles, [2, D]: in the first half of each row, or each twice for pairs side by side, the
    /// sine with the signs of a rotation's columns.
    fn fill_factors(_s, pairing: Pairing, sense: f32, position: usize, frequencies: &[f64], factors: &mut [f32]) {
        let half = frequencies.len();
        let (cos, sin) = factors.split_at_mut(2 * half);
        let (cos_half, sin_half) = (&mut cos[..half], &mut sin[..half]);
        let place = position as f64;
        let largest = frequencies.iter().fold(0.0, |largest, &frequency| f64::max(largest, frequency));
        if place * largest < NEAR {
            for i in 0..half {
                let (sn, c) = sin_cos(place * frequencies[i]);
                (cos_half[i], sin_half[i]) = (c as f32, sn as f32 * sense);
            }
        } else {
            for i in 0..half {
                let (sn, c) = (place * frequencies[i]).sin_cos();
                (cos_half[i], sin_half[i]) = (c as f32, sn as f32 * sense);
            }
        }
        if pairing == Pairing::Interleaved {
            for i in (0..half).rev() {
                (cos[2 * i + 1], cos[2 * i]) = (cos[i], cos[i]);
                (sin[2 * i + 1], sin[2 * i]) = (sin[i], -sin[i]);
            }
        }
    }
}

/// sin x and cos x for 0 ≤ x < 2²⁰ within 10⁻¹³: no branch and no table, so that the compiler vectorizes it.
#[inline(always)]
fn sin_cos(x: f64) -> (f64, f64) {
    // π/2 in parts of 33 bits, whose products with n < 2²⁰ are exact (as in fdlibm).
    const PI_2: [f64; 2] = [1.570_796_326_734_125_6, 6.077_100_506_303_966e-11];
    const ROUNDER: f64 = 6_755_399_441_055_744.0; // 1.5·2⁵²
    let shifted = x * std::f64::consts::FRAC_2_PI + ROUNDER;
    let quarter = shifted.to_bits();
    let n = shifted - ROUNDER;
    let r = (x - n * PI_2[0]) - n * PI_2[1];
    // Taylor series on |r| ≤ π/4: what is left out is below 2·10⁻¹⁴.
    let y = r * r;
    let sin = [-1.0 / 6.0, 1.0 / 120.0, -1.0 / 5_040.0, 1.0 / 362_880.0, -1.0 / 39_916_800.0, 1.0 / 6_227_020_800.0];
    let cos = [-0.5, 1.0 / 24.0, -1.0 / 720.0, 1.0 / 40_320.0, -1.0 / 3_628_800.0, 1.0 / 479_001_600.0, -1.0 / 87_178_291_200.0];
    let series = |c: &[f64]| c.iter().rev().fold(0.0, |sum, c| sum * y + c);
    let (sin, cos) = (r + r * y * series(&sin), 1.0 + y * series(&cos));
    let (a, b) = if quarter & 1 == 0 { (sin, cos) } else { (cos, sin) };
    let sign = |bit: u64, v: f64| f64::from_bits(v.to_bits() ^ (bit & 2) << 62);
    (sign(quarter, a), sign(quarter + 1, b))
}

#[inline(always)]
fn rotate_halves<S: Simd, T: Float>(s: S, stores: Stores, cos: &[f32], sin: &[f32], x: &[T], out: &mut [T]) {
    let (a, b) = x.split_at(cos.len());
    let (ya, yb) = out.split_at_mut(cos.len());
    spans(
        s,
        cos.len(),
        #[inline(always)]
        |span| {
            let (c, sn, a, b) = (span.load(s, cos), span.load(s, sin), span.load(s, a), span.load(s, b));
            span.write(s, stores, ya, s.fma(a, c, -(b * sn)));
            span.write(s, stores, yb, s.fma(a, sn, b * c));
        },
    );
}

/// Each factor stands twice, that of the sine first with the sign of a rotation's upper row.
#[inline(always)]
fn rotate_pairs<S: Simd, T: Float>(s: S, stores: Stores, cos: &[f32], sin: &[f32], x: &[T], out: &mut [T]) {
    spans(
        s,
        cos.len(),
        #[inline(always)]
        |span| {
            let x = span.load(s, x);
            span.write(s, stores, out, s.fma(x, span.load(s, cos), s.swap_pairs(x) * span.load(s, sin)));
        },
    );
}

impl Launch<Rope<'_>> for CpuBackend {
    fn support(&self, dtype: DType) -> Support {
        floats(dtype)
    }

    fn launch(&self, args: Checked<Rope<'_>>) -> Result<()> {
        let Rope { x, position, theta, pairing, direction, out } = args.into_inner();
        let [batch, steps, heads, width] = [0, 1, 2, 3].map(|axis| x.shape()[axis]);
        let half = width / 2;
        if x.numel() == 0 {
            return Ok(());
        }
        let sense = match direction {
            Direction::Forward => 1.0,
            Direction::Backward => -1.0,
        };
        let mut scratch = self.heap.scratch(half * size_of::<f64>() + steps * 2 * width * size_of::<f32>())?;
        let (frequencies, table) = scratch.as_mut_slice::<f64>().split_at_mut(half); // [D/2]
        let table: &mut [f32] = bytemuck::cast_slice_mut(table); // [T, 2, D]
        for (i, frequency) in frequencies.iter_mut().enumerate() {
            *frequency = (theta as f64).powf(-2.0 * i as f64 / width as f64);
        }
        let (frequencies, parts) = (&*frequencies, Parts::new(&mut *table));
        let weight = 8 * width;
        let steps_of_task = rows_of_task(steps, weight);
        self.pool.run_sized(steps.saturating_mul(weight), steps.div_ceil(steps_of_task), &|task| {
            let begin = task * steps_of_task;
            for t in begin..(begin + steps_of_task).min(steps) {
                // SAFETY: each step has a part of its own.
                let factors = unsafe { parts.part(t * 2 * width, 2 * width) };
                fill_factors(self.isa, pairing, sense, position + t, frequencies, factors);
            }
        });
        let table = &*table;
        // Heads that lie side by side are one row.
        let dense = [x.layout(), out.layout()].iter().all(|layout| heads == 1 || layout.strides()[2] == width);
        let (x, out, rows_of_step) = match dense {
            true => (x.reshape([batch, steps, heads * width])?, out.reshape([batch, steps, heads * width])?, 1),
            false => (x, out, heads),
        };
        let stores = Stores::of(&out);
        with_float!(Rope::NAME, x.dtype(), T => {
            let row_len = heads / rows_of_step * width;
            each_row(&self.pool, 2 * row_len, &(InRows::<T>::new(&x)?, OutRows::<T>::new(out)?), |row, (x, out)| {
                let t = row / rows_of_step % steps;
                rotate(self.isa, stores, pairing, &table[t * 2 * width..(t + 1) * 2 * width], x, out);
            });
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sines_are_those_of_the_library() {
        for i in 0..1_000_000u32 {
            let x = i as f64 * (1 << 20) as f64 * 1e-6;
            let ((sin, cos), (want_sin, want_cos)) = (sin_cos(x), x.sin_cos());
            assert!((sin - want_sin).abs() < 1e-13 && (cos - want_cos).abs() < 1e-13, "{x}: {sin} {cos}");
        }
    }
}
