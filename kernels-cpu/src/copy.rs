//! Copy between any strides.

use crate::CpuBackend;
use crate::dtypes::with_element;
use crate::strided::{In, Out, each};
use kernels::ops::Copy;
use kernels::{Checked, DType, Launch, Result, Support};

impl Launch<Copy<'_>> for CpuBackend {
    fn support(&self, _: DType) -> Support {
        Support::Native
    }

    fn launch(&self, args: Checked<Copy<'_>>) -> Result<()> {
        let Copy { x, out } = args.into_inner();
        with_element!(x.dtype(), T => {
            let operands = (In::<T>::new(&x)?, Out::<T>::new(out)?);
            each(&self.pool, 2, &operands, |(x, out)| out.copy_from_slice(x));
            Ok(())
        })
    }
}
