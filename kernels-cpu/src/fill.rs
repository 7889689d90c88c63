//! A constant into any strides.

use crate::CpuBackend;
use crate::dtypes::with_element;
use crate::strided::{Out, each};
use kernels::ops::Fill;
use kernels::{Checked, DType, Element, Launch, Result, Support};

impl Launch<Fill<'_>> for CpuBackend {
    fn support(&self, _: DType) -> Support {
        Support::Native
    }

    fn launch(&self, args: Checked<Fill<'_>>) -> Result<()> {
        let Fill { value, out } = args.into_inner();
        with_element!(out.dtype(), T => {
            let value = <T as Element>::from_f64(value);
            each(&self.pool, 2, &(Out::<T>::new(out)?,), |(out,)| out.fill(value));
            Ok(())
        })
    }
}
