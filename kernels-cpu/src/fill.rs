//! A constant into any strides.

use crate::CpuBackend;
use crate::dtypes::with_element;
use crate::simd::{Isa, Stores, simd_fn, spans};
use crate::strided::{Out, each};
use kernels::ops::Fill;
use kernels::{Checked, DType, Element, Launch, Result, Support};

simd_fn! {
    fn stream_word(s, word: f32, out: &mut [f32]) {
        spans(s, out.len(), #[inline(always)] |span| span.write(s, Stores::Streamed, out, s.splat(word)));
    }
}

/// Words of equal elements are moved as f32, whatever they hold: no bit changes.
fn fill<T: Element>(isa: Isa, stores: Stores, value: T, out: &mut [T]) {
    let word = [value; 4];
    if stores == Stores::Streamed
        && let Ok(out) = bytemuck::try_cast_slice_mut(out)
    {
        let word = bytemuck::pod_read_unaligned(&bytemuck::cast_slice(&word)[..size_of::<f32>()]);
        return stream_word(isa, word, out);
    }
    out.fill(value);
}

impl Launch<Fill<'_>> for CpuBackend {
    fn support(&self, _: DType) -> Support {
        Support::Native
    }

    fn launch(&self, args: Checked<Fill<'_>>) -> Result<()> {
        let Fill { value, out } = args.into_inner();
        let stores = Stores::of(&out);
        with_element!(out.dtype(), T => {
            let value = <T as Element>::from_f64(value);
            each(&self.pool, 1, &(Out::<T>::new(out)?,), |(out,)| fill(self.isa, stores, value, out));
            Ok(())
        })
    }
}
