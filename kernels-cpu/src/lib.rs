//! The CPU backend: kernels for AVX-512, AVX2 and plain scalar code, chosen when the backend is opened.
//!
//! ```
//! use kernels::{DType, Memory, Op, ops::Fill};
//! let cpu = kernels_cpu::CpuBackend::new()?;
//! let mut x = cpu.alloc(DType::F32, 8)?;
//! Fill { value: 1.0, out: x.view_mut([2, 4])? }.run(&cpu)?;
//! # Ok::<(), kernels::Error>(())
//! ```
//!
//! Two environment variables set what [`CpuBackend::new`] uses:
//! - `SIZEWISE_THREADS`: number of threads, from 1 to 1024; all processors by default.
//! - `SIZEWISE_ISA`: `scalar`, `avx2`, `avx512` or `avx512-bf16`; the fastest this processor has by default.
//!
//! `avx512-bf16` is `avx512` with products of bf16 in pairs (`vdpbf16ps`), which take subnormal elements for zero: matrix products
//! of bf16, and linear layers whose rows and dense weight are bf16. It is the default where pairs are faster than f32, on AMD's
//! processors. All other products, of f16 or of mixed types among them, are of f32 on every set.
//!
//! Results depend on the instruction set, but never on the number of threads.

#![allow(
    clippy::excessive_precision,
    clippy::needless_range_loop,
    clippy::wrong_self_convention,
    reason = "constants are split exactly, lanes index several arrays at once, and elements are Copy"
)]

mod adamw;
mod attention;
mod attention_backward;
mod axpy;
mod binary;
mod cast;
mod clip_norm;
mod copy;
mod cross_entropy;
mod cross_entropy_backward;
mod download;
mod dtypes;
mod fill;
#[cfg(test)]
mod fixtures;
mod forest;
mod gather;
mod gemm;
mod layer_norm;
mod layer_norm_backward;
mod limits;
mod linear;
mod linear_int8;
mod matmul;
mod memory;
mod processor;
mod quantize;
mod random;
mod reduce;
mod rms_norm;
mod rms_norm_backward;
mod rope;
mod scatter_add;
mod sgd;
mod simd;
mod softmax;
mod softmax_backward;
mod strided;
mod threads;
mod unary;
mod unary_backward;
mod upload;
mod weight;

pub use limits::{Limits, ReadProbe, measure_limits};
pub use memory::Guard;
pub use simd::Isa;

use kernels::{Backend, DeviceId, DeviceInfo, Error, Result};
use memory::Heap;
use threads::{MAX_THREADS, Pool};

/// Name of this backend in errors and reports.
const NAME: &str = "cpu";

/// A CPU: its memory, its threads, and the instruction set its kernels use.
pub struct CpuBackend {
    id: DeviceId,
    info: DeviceInfo,
    isa: Isa,
    pool: Pool,
    heap: Heap,
}

impl CpuBackend {
    /// Opens the CPU as `SIZEWISE_THREADS` and `SIZEWISE_ISA` ask, or with everything it has.
    ///
    /// # Errors
    /// `Value` if `SIZEWISE_THREADS` is not a number from 1 to 1024; `Unavailable` if this processor lacks the instruction set or
    /// the system refuses the threads.
    pub fn new() -> Result<Self> {
        Self::builder().build()
    }

    /// Opens the CPU with settings of one's own.
    pub fn builder() -> CpuBackendBuilder {
        CpuBackendBuilder::default()
    }

    /// Threads its kernels use.
    pub fn threads(&self) -> usize {
        self.pool.threads()
    }

    /// Instruction set its kernels use.
    pub fn isa(&self) -> Isa {
        self.isa
    }
}

/// Settings of a [`CpuBackend`]. What is not set comes from the environment, then from the machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct CpuBackendBuilder {
    threads: Option<usize>,
    isa: Option<Isa>,
    guard: Guard,
}

impl CpuBackendBuilder {
    /// Number of threads, from 1 to 1024. More than the processors there are is legal and slow.
    pub fn threads(mut self, threads: usize) -> Self {
        self.threads = Some(threads);
        self
    }

    /// Instruction set.
    pub fn isa(mut self, isa: Isa) -> Self {
        self.isa = Some(isa);
        self
    }

    /// Where allocations end; for tests.
    pub fn guard(mut self, guard: Guard) -> Self {
        self.guard = guard;
        self
    }

    /// Opens the backend.
    ///
    /// # Errors
    /// As [`CpuBackend::new`]; `Value` also for a number of threads out of range.
    pub fn build(self) -> Result<CpuBackend> {
        let isa = match (self.isa, environment("SIZEWISE_ISA")) {
            (Some(isa), _) => isa,
            (None, Some(name)) => Isa::named(&name)?,
            (None, None) => Isa::best(),
        };
        if self.guard != Guard::None && !cfg!(unix) {
            return Err(Error::Unavailable {
                backend: NAME,
                reason: "guard pages need a Unix system".into(),
                remedy: "use Guard::None".into(),
            });
        }
        let wanted = "a number from 1 to 1024";
        let threads = match (self.threads, environment("SIZEWISE_THREADS")) {
            (Some(threads), _) => threads,
            (None, Some(text)) => {
                text.parse().map_err(|_| Error::Value { op: NAME, arg: "SIZEWISE_THREADS", wanted, got: text.clone() })?
            }
            (None, None) => processors(),
        };
        if !(1..=MAX_THREADS).contains(&threads) {
            return Err(Error::Value { op: NAME, arg: "threads", wanted, got: threads.to_string() });
        }
        let info = DeviceInfo {
            name: processor_name(),
            features: isa.name().into(),
            threads,
            memory_bytes: physical_memory_bytes(),
            ..DeviceInfo::default()
        };
        Ok(CpuBackend { id: DeviceId::unique(), info, isa, pool: Pool::new(threads)?, heap: Heap::new(self.guard) })
    }
}

impl Backend for CpuBackend {
    fn id(&self) -> DeviceId {
        self.id
    }
    fn name(&self) -> &'static str {
        NAME
    }
    fn info(&self) -> &DeviceInfo {
        &self.info
    }
}

/// The variable's value, if it is set and not empty.
fn environment(variable: &str) -> Option<String> {
    std::env::var_os(variable).filter(|value| !value.is_empty()).map(|value| value.to_string_lossy().into_owned())
}

fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, |count| count.get().min(MAX_THREADS))
}

/// As the system gives it; where it gives none, the architecture.
fn processor_name() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = text.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    name.map_or_else(|| std::env::consts::ARCH.to_owned(), |(_, name)| name.trim().to_owned())
}

/// 0 where the system does not tell.
fn physical_memory_bytes() -> u64 {
    #[cfg(unix)]
    {
        // SAFETY: sysconf has no preconditions; it returns −1 for what it does not know.
        let (pages, page_bytes) = unsafe { (libc::sysconf(libc::_SC_PHYS_PAGES), libc::sysconf(libc::_SC_PAGESIZE)) };
        u64::try_from(pages).unwrap_or(0).saturating_mul(u64::try_from(page_bytes).unwrap_or(0))
    }
    #[cfg(not(unix))]
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_out_of_range_are_refused() {
        for threads in [0, MAX_THREADS + 1, usize::MAX] {
            assert!(matches!(CpuBackend::builder().threads(threads).build(), Err(Error::Value { arg: "threads", .. })));
        }
        let scalar = Isa::named("scalar").unwrap();
        let cpu = CpuBackend::builder().threads(3).isa(scalar).build().unwrap();
        assert_eq!((cpu.threads(), cpu.isa(), cpu.info().threads), (3, scalar, 3));
    }
}
