//! Device to host: a copy from any strides.

use crate::CpuBackend;
use crate::dtypes::with_element;
use crate::strided::{In, each_indexed};
use crate::threads::Parts;
use kernels::ops::Download;
use kernels::{Checked, DType, Launch, Result, Support};

impl Launch<Download<'_>> for CpuBackend {
    fn support(&self, _: DType) -> Support {
        Support::Native
    }

    fn launch(&self, args: Checked<Download<'_>>) -> Result<()> {
        let Download { x, mut data } = args.into_inner();
        with_element!(x.dtype(), T => {
            let host = Parts::new(bytemuck::cast_slice_mut::<u8, T>(data.as_bytes_mut()));
            let x = In::<T>::new(&x)?;
            each_indexed(&self.pool, 1, &(x,), |index, (x,)| {
                // SAFETY: pieces are disjoint as indices.
                unsafe { host.part(index, x.len()) }.copy_from_slice(x);
            });
            Ok(())
        })
    }
}
