//! Counter-based random numbers: Philox-4×32-10.

use crate::CudaBackend;
use crate::lattice::floats;
use crate::params::{Lattice, RandomParams};
use crate::source::{Source, by_float, source};
use kernels::ops::{Distribution, Random};
use kernels::{Checked, DType, Launch, Op, Result, Support};

pub(crate) static SOURCE: Source = source!("random");

/// Low and high word.
fn words(n: u64) -> [u32; 2] {
    [n as u32, (n >> 32) as u32]
}

impl Launch<Random<'_>> for CudaBackend {
    fn support(&self, dtype: DType) -> Support {
        floats(dtype)
    }

    fn launch(&self, args: Checked<Random<'_>>) -> Result<()> {
        const OP: &str = Random::NAME;
        self.queue.faults().enter(OP)?;
        let out = args.out.as_view();
        let lattice = Lattice::new(OP, out.shape(), &[self.part(OP, "out", &out)?])?;
        let (normal, term, factor) = match args.distribution {
            Distribution::Uniform { low, high } => (0, low, high - low),
            Distribution::Normal { mean, std } => (1, mean, std),
        };
        let (seed, stream) = (words(args.seed), words(args.stream));
        let params = RandomParams { lattice, seed, stream, term, factor, normal, unused: 0 };
        self.elementwise(OP, (&SOURCE, by_float!("random", out.dtype())), &lattice, &params)
    }
}
