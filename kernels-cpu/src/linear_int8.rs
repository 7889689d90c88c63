//! The op of this name on CPUs.

use crate::CpuBackend;
use kernels::ops::LinearInt8;
use kernels::{Checked, DType, Launch, Result, Support};

impl Launch<LinearInt8<'_>> for CpuBackend {
    fn support(&self, _: DType) -> Support {
        Support::No("its kernel is not written yet")
    }

    fn launch(&self, _: Checked<LinearInt8<'_>>) -> Result<()> {
        Ok(())
    }
}
