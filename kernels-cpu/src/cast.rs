//! Conversion between dtypes, through f32, which every source either fits or is rounded to as its result.

use crate::CpuBackend;
use crate::dtypes::with_float;
use crate::simd::{Float, Stores, map, simd_fn};
use crate::strided::{In, Out, each};
use kernels::ops::Cast;
use kernels::{Checked, DType, Element, Launch, Op, Result, Support, View, ViewMut};

simd_fn! {
    fn convert[A: Float, B: Float](s, stores: Stores, x: &[A], out: &mut [B]) {
        map(s, stores, [x], out, #[inline(always)] |[x]| x);
    }
}

fn cast<A: Float, B: Float>(on: &CpuBackend, x: View<'_>, out: ViewMut<'_>) -> Result<()> {
    let stores = Stores::of(&out);
    let operands = (In::<A>::new(&x)?, Out::<B>::new(out)?);
    each(&on.pool, 1, &operands, |(x, out)| convert(on.isa, stores, x, out));
    Ok(())
}

fn cast_integer<A: Element + AsF32>(on: &CpuBackend, x: View<'_>, out: ViewMut<'_>) -> Result<()> {
    let operands = (In::<A>::new(&x)?, Out::<f32>::new(out)?);
    each(&on.pool, 1, &operands, |(x, out)| out.iter_mut().zip(x).for_each(|(out, x)| *out = x.as_f32()));
    Ok(())
}

/// Integers rounded to the nearest f32.
trait AsF32 {
    fn as_f32(self) -> f32;
}
macro_rules! as_f32 {
    ($($ty:ty)*) => {$(
        impl AsF32 for $ty {
            fn as_f32(self) -> f32 {
                self as f32
            }
        }
    )*};
}
as_f32!(i8 u8 i32 u32);

impl Launch<Cast<'_>> for CpuBackend {
    fn support(&self, _: DType) -> Support {
        Support::Native
    }

    fn launch(&self, args: Checked<Cast<'_>>) -> Result<()> {
        let Cast { x, out } = args.into_inner();
        match x.dtype() {
            DType::I8 => cast_integer::<i8>(self, x, out),
            DType::U8 => cast_integer::<u8>(self, x, out),
            DType::I32 => cast_integer::<i32>(self, x, out),
            DType::U32 => cast_integer::<u32>(self, x, out),
            float => with_float!(Cast::NAME, float, A => with_float!(Cast::NAME, out.dtype(), B => cast::<A, B>(self, x, out))),
        }
    }
}
