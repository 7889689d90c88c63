//! Counter-based random numbers: Philox-4×32-10.

use crate::CpuBackend;
use crate::dtypes::{floats, with_float};
use crate::simd::{Float, Simd, Stores, load, math, simd_fn, spans, store};
use crate::strided::{Out, each_indexed};
use kernels::ops::{Distribution, Random};
use kernels::{Checked, DType, Launch, Op, Result, Support};

/// Most lanes of a vector, each of which computes a counter.
const LANES: usize = 16;

/// Words 0..4 of as many consecutive counters as there are lanes, from `counter` on.
#[inline(always)]
fn philox<S: Simd>(s: S, seed: u64, stream: u64, counter: u64) -> [S::I; 4] {
    let (mut low, mut high) = ([0f32; LANES], [0f32; LANES]);
    for lane in 0..LANES {
        let counter = counter.wrapping_add(lane as u64);
        (low[lane], high[lane]) = (f32::from_bits(counter as u32), f32::from_bits((counter >> 32) as u32));
    }
    let (low, high) = (s.bits(load(s, &low, 0)), s.bits(load(s, &high, 0)));
    let mut words = [low, high, s.int(stream as i32), s.int((stream >> 32) as i32)];
    let mut key = [seed as u32, (seed >> 32) as u32];
    for _ in 0..10 {
        let (a_high, a_low) = s.wide_product(words[0], 0xd251_1f53);
        let (b_high, b_low) = s.wide_product(words[2], 0xcd9e_8d57);
        words = [b_high ^ words[1] ^ s.int(key[0] as i32), b_low, a_high ^ words[3] ^ s.int(key[1] as i32), a_low];
        key = [key[0].wrapping_add(0x9e37_79b9), key[1].wrapping_add(0xbb67_ae85)];
    }
    words
}

/// The upper 24 bits of words, in units of 2⁻²⁴.
#[inline(always)]
fn units<S: Simd>(s: S, words: S::I) -> S::V {
    s.to_float(s.shr::<8>(words))
}

/// z₀, z₁ of words (w₀, w₁) by Box and Muller.
#[inline(always)]
fn normal<S: Simd>(s: S, w0: S::I, w1: S::I) -> [S::V; 2] {
    let u = (units(s, w0) + s.splat(1.0)) * s.splat(1.0 / 16_777_216.0);
    let radius = s.sqrt(s.splat(-2.0) * math::log(s, u));
    let (sin, cos) = math::sin_cos_turn(s, units(s, w1));
    [radius * cos, radius * sin]
}

/// Numbers of consecutive counters from `counter` on, 4 of each, before they are scaled.
#[inline(always)]
fn block<S: Simd>(s: S, seed: u64, stream: u64, counter: u64, distribution: Distribution, out: &mut [f32; 4 * LANES]) {
    let words = philox(s, seed, stream, counter);
    let all = match distribution {
        Distribution::Uniform { .. } => {
            let unit = s.splat(1.0 / 16_777_216.0);
            [units(s, words[0]) * unit, units(s, words[1]) * unit, units(s, words[2]) * unit, units(s, words[3]) * unit]
        }
        Distribution::Normal { .. } => {
            let ([a, b], [c, d]) = (normal(s, words[0], words[1]), normal(s, words[2], words[3]));
            [a, b, c, d]
        }
    };
    let mut columns = [[0f32; LANES]; 4];
    for (column, v) in columns.iter_mut().zip(all) {
        store(s, column, 0, v);
    }
    for lane in 0..S::LANES {
        for k in 0..4 {
            out[4 * lane + k] = columns[k][lane];
        }
    }
}

simd_fn! {
    /// Numbers `index`, `index + 1`, … of a stream.
    fn numbers[T: Float](s, stores: Stores, seed: u64, stream: u64, index: usize, distribution: Distribution, out: &mut [T]) {
        let (factor, term) = match distribution {
            Distribution::Uniform { low, high } => (s.splat(high - low), s.splat(low)),
            Distribution::Normal { mean, std } => (s.splat(std), s.splat(mean)),
        };
        let mut fresh = [0f32; 4 * LANES];
        let mut at = 0;
        while at < out.len() {
            let (counter, skipped) = ((index + at) / 4, (index + at) % 4);
            block(s, seed, stream, counter as u64, distribution, &mut fresh);
            let count = (4 * S::LANES - skipped).min(out.len() - at);
            let (from, to) = (&fresh[skipped..skipped + count], &mut out[at..at + count]);
            spans(s, count, #[inline(always)] |span| span.write(s, stores, to, term + span.load(s, from) * factor));
            at += count;
        }
    }
}

impl Launch<Random<'_>> for CpuBackend {
    fn support(&self, dtype: DType) -> Support {
        floats(dtype)
    }

    fn launch(&self, args: Checked<Random<'_>>) -> Result<()> {
        let Random { seed, stream, distribution, out } = args.into_inner();
        let stores = Stores::of(&out);
        with_float!(Random::NAME, out.dtype(), T => {
            each_indexed(&self.pool, 8, &(Out::<T>::new(out)?,), |index, (out,)| {
                numbers(self.isa, stores, seed, stream, index, distribution, out);
            });
            Ok(())
        })
    }
}
