//! The op of this name on CPUs.

use crate::CpuBackend;
use kernels::ops::ClipNorm;
use kernels::{Checked, DType, Launch, Result, Support};

impl Launch<ClipNorm<'_>> for CpuBackend {
    fn support(&self, _: DType) -> Support {
        Support::No("its kernel is not written yet")
    }

    fn launch(&self, _: Checked<ClipNorm<'_>>) -> Result<()> {
        Ok(())
    }
}
