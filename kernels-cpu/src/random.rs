//! The op of this name on CPUs.

use crate::CpuBackend;
use kernels::ops::Random;
use kernels::{Checked, DType, Launch, Result, Support};

impl Launch<Random<'_>> for CpuBackend {
    fn support(&self, _: DType) -> Support {
        Support::No("its kernel is not written yet")
    }

    fn launch(&self, _: Checked<Random<'_>>) -> Result<()> {
        Ok(())
    }
}
