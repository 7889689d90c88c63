//! Counter-based random numbers: Philox-4×32-10.

use crate::CpuBackend;
use crate::dtypes::{floats, with_float};
use crate::simd::{Simd, load, math, simd_fn, store};
use crate::strided::{OutF32, each};
use kernels::ops::{Distribution, Random};
use kernels::{Checked, DType, Launch, Op, Result, Support};

/// Counters computed at a time.
const LANES: usize = 16;

/// Numbers of that many counters.
const BLOCK: usize = 4 * LANES;

/// Words 0..4 of `LANES` consecutive counters from `counter` on.
#[inline(always)]
fn philox(seed: u64, stream: u64, counter: u64) -> [[u32; LANES]; 4] {
    let mut words = [[0; LANES], [0; LANES], [stream as u32; LANES], [(stream >> 32) as u32; LANES]];
    for lane in 0..LANES {
        let counter = counter.wrapping_add(lane as u64);
        (words[0][lane], words[1][lane]) = (counter as u32, (counter >> 32) as u32);
    }
    let mut key = [seed as u32, (seed >> 32) as u32];
    for _ in 0..10 {
        for lane in 0..LANES {
            let [w0, w1, w2, w3] = [0, 1, 2, 3].map(|k| words[k][lane]);
            let (a, b) = (w0 as u64 * 0xd251_1f53, w2 as u64 * 0xcd9e_8d57);
            words[0][lane] = (b >> 32) as u32 ^ w1 ^ key[0];
            words[1][lane] = b as u32;
            words[2][lane] = (a >> 32) as u32 ^ w3 ^ key[1];
            words[3][lane] = a as u32;
        }
        key = [key[0].wrapping_add(0x9e37_79b9), key[1].wrapping_add(0xbb67_ae85)];
    }
    words
}

/// The upper 24 bits of words, in units of 2⁻²⁴.
#[inline(always)]
fn units(words: &[u32; LANES]) -> [f32; LANES] {
    words.map(|word| (word >> 8) as f32)
}

/// z₀, z₁ of words (w₀, w₁) by Box and Muller.
#[inline(always)]
fn normal<S: Simd>(s: S, w0: &[u32; LANES], w1: &[u32; LANES], z: &mut [[f32; LANES]]) {
    let (u0, u1) = (units(w0), units(w1));
    let (z0, z1) = z.split_at_mut(1);
    for at in (0..LANES).step_by(S::LANES) {
        let u = (load(s, &u0, at) + s.splat(1.0)) * s.splat(1.0 / 16_777_216.0);
        let radius = s.sqrt(s.splat(-2.0) * math::log(s, u));
        let (sin, cos) = math::sin_cos_turn(s, load(s, &u1, at));
        store(s, &mut z0[0], at, radius * cos);
        store(s, &mut z1[0], at, radius * sin);
    }
}

simd_fn! {
    /// Numbers of counters `counter`, `counter + 1`, ….
    fn block(s, seed: u64, stream: u64, counter: u64, distribution: Distribution, out: &mut [f32; BLOCK]) {
        let words = philox(seed, stream, counter);
        let mut columns = [[0f32; LANES]; 4];
        let (factor, term) = match distribution {
            Distribution::Uniform { low, high } => {
                for (column, words) in columns.iter_mut().zip(&words) {
                    *column = units(words).map(|u| u * (1.0 / 16_777_216.0));
                }
                (high - low, low)
            }
            Distribution::Normal { mean, std } => {
                let (first, second) = columns.split_at_mut(2);
                normal(s, &words[0], &words[1], first);
                normal(s, &words[2], &words[3], second);
                (std, mean)
            }
        };
        for (lane, numbers) in out.chunks_exact_mut(4).enumerate() {
            for (number, column) in numbers.iter_mut().zip(&columns) {
                *number = term + column[lane] * factor;
            }
        }
    }
}

impl Launch<Random<'_>> for CpuBackend {
    fn support(&self, dtype: DType) -> Support {
        floats(dtype)
    }

    fn launch(&self, args: Checked<Random<'_>>) -> Result<()> {
        let Random { seed, stream, distribution, out } = args.into_inner();
        with_float!(Random::NAME, out.dtype(), T => {
            each(&self.pool, 8, &(OutF32::<T>::new(self.isa, out)?,), |index, (out,)| {
                let mut numbers = [0f32; BLOCK];
                let (mut at, end) = (index, index + out.len());
                while at < end {
                    let first = at / 4 * 4; // element of the block's first number
                    block(self.isa, seed, stream, (first / 4) as u64, distribution, &mut numbers);
                    let here = (first + BLOCK).min(end);
                    for (out, number) in out[at - index..here - index].iter_mut().zip(&numbers[at - first..]) {
                        *out = *number;
                    }
                    at = here;
                }
            });
            Ok(())
        })
    }
}
