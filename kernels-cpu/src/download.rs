//! The op of this name on CPUs.

use crate::CpuBackend;
use kernels::ops::Download;
use kernels::{Checked, DType, Launch, Result, Support};

impl Launch<Download<'_>> for CpuBackend {
    fn support(&self, _: DType) -> Support {
        Support::No("its kernel is not written yet")
    }

    fn launch(&self, _: Checked<Download<'_>>) -> Result<()> {
        Ok(())
    }
}
