//! The op of this name on CPUs.

use crate::CpuBackend;
use kernels::ops::RmsNormBackward;
use kernels::{Checked, DType, Launch, Result, Support};

impl Launch<RmsNormBackward<'_>> for CpuBackend {
    fn support(&self, _: DType) -> Support {
        Support::No("its kernel is not written yet")
    }

    fn launch(&self, _: Checked<RmsNormBackward<'_>>) -> Result<()> {
        Ok(())
    }
}
