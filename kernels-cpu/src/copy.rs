//! Copy between any strides.

use crate::CpuBackend;
use crate::dtypes::with_element;
use crate::simd::{Isa, Stores, map, simd_fn};
use crate::strided::{In, Out, each};
use kernels::ops::Copy;
use kernels::{Checked, DType, Element, Launch, Result, Support};

simd_fn! {
    fn stream_words(s, x: &[f32], out: &mut [f32]) {
        map(s, Stores::Streamed, [x], out, #[inline(always)] |[x]| x);
    }
}

/// Words are moved as f32, whatever they hold: no bit changes.
fn copy<T: Element>(isa: Isa, stores: Stores, x: &[T], out: &mut [T]) {
    if stores == Stores::Streamed
        && let (Ok(x), Ok(out)) = (bytemuck::try_cast_slice(x), bytemuck::try_cast_slice_mut(out))
    {
        return stream_words(isa, x, out);
    }
    out.copy_from_slice(x);
}

impl Launch<Copy<'_>> for CpuBackend {
    fn support(&self, _: DType) -> Support {
        Support::Native
    }

    fn launch(&self, args: Checked<Copy<'_>>) -> Result<()> {
        let Copy { x, out } = args.into_inner();
        let stores = Stores::of(&out);
        with_element!(x.dtype(), T => {
            let operands = (In::<T>::new(&x)?, Out::<T>::new(out)?);
            each(&self.pool, 1, &operands, |(x, out)| copy(self.isa, stores, x, out));
            Ok(())
        })
    }
}
