//! Reference of [`Random`](crate::ops::Random).

use crate::ops::Distribution;

/// Philox-4×32-10 of Salmon et al. (2011): four words of the block `counter` under `key`.
pub fn philox(counter: [u32; 4], key: [u32; 2]) -> [u32; 4] {
    let ([mut c0, mut c1, mut c2, mut c3], [mut k0, mut k1]) = (counter, key);
    for _ in 0..10 {
        let (p0, p1) = (0xD251_1F53 * u64::from(c0), 0xCD9E_8D57 * u64::from(c2));
        (c0, c1, c2, c3) = ((p1 >> 32) as u32 ^ c1 ^ k0, p1 as u32, (p0 >> 32) as u32 ^ c3 ^ k1, p0 as u32);
        k0 = k0.wrapping_add(0x9E37_79B9);
        k1 = k1.wrapping_add(0xBB67_AE85);
    }
    [c0, c1, c2, c3]
}

/// The four words of elements 4·block to 4·block + 3.
pub fn words(seed: u64, stream: u64, block: u64) -> [u32; 4] {
    philox([block as u32, (block >> 32) as u32, stream as u32, (stream >> 32) as u32], [seed as u32, (seed >> 32) as u32])
}

/// Elements 0..len. Uniform values are computed in f32, as the op demands; normal ones in f64.
pub fn random(seed: u64, stream: u64, distribution: Distribution, len: usize) -> Vec<f64> {
    const STEP: f64 = 1.0 / (1u32 << 24) as f64;
    let element = |i: usize| {
        let words = words(seed, stream, i as u64 / 4);
        match distribution {
            Distribution::Uniform { low, high } => {
                let u = (words[i % 4] >> 8) as f32 * STEP as f32;
                f64::from(low + u * (high - low))
            }
            Distribution::Normal { mean, std } => {
                let pair = i % 4 / 2 * 2;
                let r = (-2.0 * (f64::from((words[pair] >> 8) + 1) * STEP).ln()).sqrt();
                let phi = std::f64::consts::TAU * f64::from(words[pair + 1] >> 8) * STEP;
                let z = if i.is_multiple_of(2) { r * phi.cos() } else { r * phi.sin() };
                f64::from(mean) + f64::from(std) * z
            }
        }
    };
    (0..len).map(element).collect()
}
