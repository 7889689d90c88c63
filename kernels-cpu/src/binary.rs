//! The op of this name on CPUs.

use crate::CpuBackend;
use kernels::ops::Binary;
use kernels::{Checked, DType, Launch, Result, Support};

impl Launch<Binary<'_>> for CpuBackend {
    fn support(&self, _: DType) -> Support {
        Support::No("its kernel is not written yet")
    }

    fn launch(&self, _: Checked<Binary<'_>>) -> Result<()> {
        Ok(())
    }
}
