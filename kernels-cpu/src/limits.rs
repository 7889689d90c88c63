//! What this machine can do at most, measured: the roof that shares of the limit in a report refer to.

use crate::memory::{Block, Guard};
use crate::simd::{Isa, simd_fn};
use crate::threads::{MAX_THREADS, Pool};
use kernels::{Error, Result};
use std::hint::black_box;
use std::time::{Duration, Instant};

/// Limits for one number of threads.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// Threads that worked at once.
    pub threads: usize,
    /// Fused multiply-adds on f32 in registers, two operations each, 10⁹ per second.
    pub peak_f32_gflop_per_s: f64,
    /// Products of bf16 in registers, two operations each, 10⁹ per second: in pairs, or where the set has not those, as f32.
    pub peak_bf16_gflop_per_s: f64,
    /// Dot products of bytes in registers, 10⁹ per second; equal to f32 where there is no such instruction.
    pub peak_int8_gop_per_s: f64,
    /// Reading memory on 2 MiB pages, where the system grants them, 10⁹ bytes per second.
    pub bandwidth_gb_per_s: f64,
    /// Reading memory on 4 KiB pages, 10⁹ bytes per second.
    pub bandwidth_small_pages_gb_per_s: f64,
}

/// Bytes each of `threads` threads reads per pass: in sum a quarter more than the last cache holds, so that each pass reads memory;
/// servers share caches of hundreds of MiB.
fn read_bytes(threads: usize) -> usize {
    (last_cache_bytes().unwrap_or(0) / 4 * 5 / threads).clamp(128 << 20, 1 << 30)
}

/// Size of the largest cache, where the system tells.
fn last_cache_bytes() -> Option<usize> {
    let caches = std::fs::read_dir("/sys/devices/system/cpu/cpu0/cache").ok()?;
    let sizes = caches.flatten().filter_map(|cache| {
        let text = std::fs::read_to_string(cache.path().join("size")).ok()?;
        text.trim().strip_suffix('K')?.parse::<usize>().ok()?.checked_mul(1024)
    });
    sizes.max()
}

/// Time spent on each figure.
const TIME: Duration = Duration::from_millis(60);

/// Measures the limits of an instruction set for each number of threads, about half a second each. Best of several passes: a limit
/// is what the machine has reached, not its mean under other load.
///
/// # Errors
/// `Value` for 0 or more than 1,024 threads; `Unavailable` if the system refuses them; `OutOfMemory`.
pub fn measure_limits(isa: Isa, threads: &[usize]) -> Result<Vec<Limits>> {
    threads.iter().map(|&threads| measure(isa, threads)).collect()
}

fn check_threads(threads: usize) -> Result<()> {
    if (1..=MAX_THREADS).contains(&threads) {
        return Ok(());
    }
    let (arg, wanted) = ("threads", "a number from 1 to 1024");
    Err(Error::Value { op: crate::NAME, arg, wanted, got: threads.to_string() })
}

fn measure(isa: Isa, threads: usize) -> Result<Limits> {
    check_threads(threads)?;
    let pool = Pool::new(threads)?;
    let rate = |work_per_task: f64, body: &(dyn Fn(usize) + Sync)| {
        let (begin, mut best) = (Instant::now(), 0f64);
        while begin.elapsed() < TIME {
            let start = Instant::now();
            pool.run(threads, body);
            best = best.max(work_per_task * threads as f64 / start.elapsed().as_nanos() as f64);
        }
        best
    };
    let peak_f32 = rate(peak::f32_flop(isa), &|_| peak::run_f32(isa));
    let peak_bf16 = if peak::has_bf16(isa) { rate(peak::DOT_FLOP * 2.0, &|_| peak::run_bf16(isa)) } else { peak_f32 };
    let peak_int8 = if peak::has_int8(isa) { rate(peak::DOT_FLOP * 4.0, &|_| peak::run_int8(isa)) } else { peak_f32 };
    let (mut bandwidth, bytes) = ([0.0; 2], read_bytes(threads));
    for (bandwidth, pages) in bandwidth.iter_mut().zip([Pages::Huge, Pages::Small]) {
        let blocks = (0..threads).map(|_| memory(bytes, pages)).collect::<Result<Vec<_>>>()?;
        *bandwidth = rate(bytes as f64, &|task| {
            black_box(read(isa, blocks[task].as_slice()));
        });
    }
    Ok(Limits {
        threads,
        peak_f32_gflop_per_s: peak_f32,
        peak_bf16_gflop_per_s: peak_bf16,
        peak_int8_gop_per_s: peak_int8,
        bandwidth_gb_per_s: bandwidth[0],
        bandwidth_small_pages_gb_per_s: bandwidth[1],
    })
}

/// Reads blocks of memory of a size of one's own, between runs of what it is to be compared with: the bandwidth of one moment and
/// of one level of the memory hierarchy.
pub struct ReadProbe {
    isa: Isa,
    pool: Pool,
    blocks: Vec<Block>,
}

impl ReadProbe {
    /// A probe of `threads` threads, each of which has `bytes_per_thread` to read.
    ///
    /// # Errors
    /// As [`measure_limits`].
    pub fn new(isa: Isa, threads: usize, bytes_per_thread: usize) -> Result<Self> {
        check_threads(threads)?;
        let blocks = (0..threads).map(|_| memory(bytes_per_thread, Pages::Huge)).collect::<Result<_>>()?;
        Ok(ReadProbe { isa, pool: Pool::new(threads)?, blocks })
    }

    /// 10⁹ bytes per second of `passes` passes.
    pub fn gb_per_s(&self, passes: usize) -> f64 {
        let start = Instant::now();
        self.pool.run(self.blocks.len(), &|task| {
            for _ in 0..passes {
                black_box(read(self.isa, self.blocks[task].as_slice()));
            }
        });
        let bytes: usize = self.blocks.iter().map(|block| size_of_val(block.as_slice::<u8>())).sum();
        (bytes * passes) as f64 / start.elapsed().as_nanos() as f64
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pages {
    Small,
    Huge,
}

/// Memory that has been written, so that its pages exist.
fn memory(bytes: usize, pages: Pages) -> Result<Block> {
    let mut block = Block::new(bytes, Guard::None)?;
    if pages == Pages::Small {
        block.use_small_pages();
    }
    block.as_mut_slice::<f32>().fill(1.0);
    Ok(block)
}

simd_fn! {
    /// Sum of all elements: four streams, as one alone does not fill the memory's queues.
    fn read(s, data: &[f32]) -> f32 {
        let quarter = data.len() / 4;
        let mut sums = [s.zero(); 4];
        for at in (0..quarter).step_by(S::LANES) {
            for (stream, sum) in sums.iter_mut().enumerate() {
                *sum = *sum + crate::simd::load(s, data, stream * quarter + at);
            }
        }
        s.reduce_add((sums[0] + sums[1]) + (sums[2] + sums[3]))
    }
}

mod peak {
    use super::*;

    /// Independent chains: more than latency × throughput of any processor we know.
    const CHAINS: usize = 12;
    const ROUNDS: usize = 20_000;

    simd_fn! {
        fn lanes(_s) -> usize { S::LANES }

        /// Multiply-adds whose operands stay in registers.
        pub fn run_f32(s) {
            let (x, y) = (s.splat(black_box(0.999)), s.splat(black_box(1e-3)));
            let mut chains = [s.zero(); CHAINS];
            for _ in 0..ROUNDS {
                for chain in &mut chains {
                    *chain = s.fma(*chain, x, y);
                }
            }
            let mut sum = s.zero();
            for chain in chains {
                sum = sum + chain;
            }
            black_box(s.reduce_add(sum));
        }
    }

    /// Operations of one call of [`run_f32`].
    pub fn f32_flop(isa: Isa) -> f64 {
        (2 * lanes(isa) * CHAINS * ROUNDS) as f64
    }

    /// Operations of one call of the others per element of a lane.
    pub const DOT_FLOP: f64 = (2 * 16 * CHAINS * ROUNDS) as f64;

    #[cfg(target_arch = "x86_64")]
    pub fn has_bf16(isa: Isa) -> bool {
        matches!(isa, Isa::Avx512(token) if token.has_bf16_pairs())
    }
    #[cfg(target_arch = "x86_64")]
    pub fn has_int8(isa: Isa) -> bool {
        matches!(isa, Isa::Avx512(token) if token.has_vnni())
    }
    #[cfg(target_arch = "x86_64")]
    pub fn run_bf16(isa: Isa) {
        if has_bf16(isa) {
            // SAFETY: the processor has the set, as the line above says.
            unsafe { x86::run_bf16() }
        }
    }
    #[cfg(target_arch = "x86_64")]
    pub fn run_int8(isa: Isa) {
        if has_int8(isa) {
            // SAFETY: the processor has the set, as the line above says.
            unsafe { x86::run_int8() }
        }
    }

    #[cfg(not(target_arch = "x86_64"))]
    pub fn has_bf16(_: Isa) -> bool {
        false
    }
    #[cfg(not(target_arch = "x86_64"))]
    pub fn has_int8(_: Isa) -> bool {
        false
    }
    #[cfg(not(target_arch = "x86_64"))]
    pub fn run_bf16(_: Isa) {}
    #[cfg(not(target_arch = "x86_64"))]
    pub fn run_int8(_: Isa) {}

    #[cfg(target_arch = "x86_64")]
    mod x86 {
        use super::{CHAINS, ROUNDS, black_box};
        use std::arch::x86_64::*;

        /// # Safety
        /// The processor has the set.
        #[target_feature(enable = "avx512f,avx512bf16")]
        pub unsafe fn run_bf16() {
            // SAFETY: vectors of the same size, any bits.
            let x: __m512bh = unsafe { std::mem::transmute(_mm512_set1_epi16(black_box(0x3c00))) };
            let mut chains = [_mm512_setzero_ps(); CHAINS];
            for _ in 0..ROUNDS {
                for chain in &mut chains {
                    *chain = _mm512_dpbf16_ps(*chain, x, x);
                }
            }
            black_box(chains);
        }

        /// # Safety
        /// The processor has the set.
        #[target_feature(enable = "avx512f,avx512vnni")]
        pub unsafe fn run_int8() {
            let x = _mm512_set1_epi8(black_box(3));
            let mut chains = [_mm512_setzero_si512(); CHAINS];
            for _ in 0..ROUNDS {
                for chain in &mut chains {
                    *chain = _mm512_dpbusd_epi32(*chain, x, x);
                }
            }
            black_box(chains);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_measured_and_bad_counts_refused() {
        assert!(matches!(measure_limits(Isa::best(), &[0]), Err(Error::Value { .. })));
        let limits = measure_limits(Isa::best(), &[1]).unwrap();
        assert!(limits.iter().all(|l| l.peak_f32_gflop_per_s > 0.1 && l.bandwidth_gb_per_s > 0.1), "{limits:?}");
    }
}
