//! Host to device: a copy into any strides.

use crate::CpuBackend;
use crate::dtypes::with_element;
use crate::strided::{Out, each_indexed};
use kernels::ops::Upload;
use kernels::{Checked, DType, Launch, Result, Support};

impl Launch<Upload<'_>> for CpuBackend {
    fn support(&self, _: DType) -> Support {
        Support::Native
    }

    fn launch(&self, args: Checked<Upload<'_>>) -> Result<()> {
        let Upload { data, out } = args.into_inner();
        with_element!(out.dtype(), T => {
            let data: &[T] = bytemuck::cast_slice(data.as_bytes());
            let out = Out::<T>::new(out)?;
            each_indexed(&self.pool, 1, &(out,), |index, (out,)| out.copy_from_slice(&data[index..index + out.len()]));
            Ok(())
        })
    }
}
