//! The op of this name on CPUs.

use crate::CpuBackend;
use kernels::ops::CrossEntropyBackward;
use kernels::{Checked, DType, Launch, Result, Support};

impl Launch<CrossEntropyBackward<'_>> for CpuBackend {
    fn support(&self, _: DType) -> Support {
        Support::No("its kernel is not written yet")
    }

    fn launch(&self, _: Checked<CrossEntropyBackward<'_>>) -> Result<()> {
        Ok(())
    }
}
