//! Products of bf16 in pairs: an element of 32 bits holds two, and one instruction adds both their products to a sum in f32.
//!
//! `vdpbf16ps` computes sum + a₁·b₁ + a₀·b₀, where the first element of a pair, a₀, is the lower half. Products of bf16 are exact in
//! f32. The sum is rounded to nearest, ties to even, at most once for each product, whatever the rounding mode: on Intel's processors
//! by two fused multiply-adds, the upper half first. Subnormal operands count as zero, and subnormal sums become zero.

use super::{Isa, Simd};
use kernels::{DType, Element};

/// How elements of 32 bits are multiplied and summed.
pub(crate) trait Products: Copy {
    /// The instruction set that moves them.
    type S: Simd;
    /// Its token.
    fn simd(self) -> Self::S;
    /// x · w + sum
    fn add(self, x: <Self::S as Simd>::V, w: <Self::S as Simd>::V, sum: <Self::S as Simd>::V) -> <Self::S as Simd>::V;
}

/// Elements are f32.
impl<S: Simd> Products for S {
    type S = S;
    #[inline(always)]
    fn simd(self) -> S {
        self
    }
    #[inline(always)]
    fn add(self, x: S::V, w: S::V, sum: S::V) -> S::V {
        self.fma(x, w, sum)
    }
}

impl Bf16Pairs {
    /// The token, if elements are bf16 and `isa` multiplies those in pairs.
    pub fn of<T: Element>(isa: Isa) -> Option<Self> {
        if T::DTYPE == DType::Bf16 { Bf16Pairs::within(isa) } else { None }
    }
}

/// Declares a function whose body is compiled for every instruction set, and for pairs of bf16 too. The first argument names the
/// token in the body, a [`Products`] of type `P`; callers pass an [`Isa`] and the token of pairs, if elements are those, in its place.
macro_rules! products_fn {
    (fn $name:ident ($p:ident $(, $arg:ident : $ty:ty)* $(,)?) $body:block) => {
        #[allow(clippy::too_many_arguments, reason = "kernels take their operands one by one")]
        fn $name(isa: $crate::simd::Isa, pairs: Option<$crate::simd::Bf16Pairs> $(, $arg: $ty)*) {
            #[inline(always)]
            #[allow(clippy::too_many_arguments, reason = "as above")]
            fn any<P: $crate::simd::Products>($p: P $(, $arg: $ty)*) $body
            $crate::simd::simd_fn! {
                fn floats(s $(, $arg: $ty)*) {
                    any(s $(, $arg)*)
                }
            }
            match pairs {
                None => floats(isa $(, $arg)*),
                Some(pairs) => pairs.run(
                    #[inline(always)]
                    |pairs| any(pairs $(, $arg)*),
                ),
            }
        }
    };
}
pub(crate) use products_fn;

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::super::{Avx512, avx512};
    use super::{Isa, Products};
    use std::arch::x86_64::*;
    use std::mem::transmute;

    /// AVX-512 with products of bf16 in pairs.
    #[derive(Clone, Copy)]
    pub(crate) struct Bf16Pairs(Avx512);

    impl Bf16Pairs {
        pub(super) fn within(isa: Isa) -> Option<Self> {
            match isa {
                Isa::Avx512(token) if token.has_bf16_pairs() => Some(Bf16Pairs(token)),
                _ => None,
            }
        }

        /// Runs `body`, which must be inlined, compiled for this set.
        #[inline(always)]
        pub fn run(self, body: impl FnOnce(Self)) {
            #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,avx2,fma,f16c")]
            fn compiled(pairs: Bf16Pairs, body: impl FnOnce(Bf16Pairs)) {
                body(pairs)
            }
            // SAFETY: the token proves that the processor has these features.
            unsafe { compiled(self, body) }
        }
    }

    impl Products for Bf16Pairs {
        type S = Avx512;
        #[inline(always)]
        fn simd(self) -> Avx512 {
            self.0
        }
        #[inline(always)]
        fn add(self, x: avx512::F, w: avx512::F, sum: avx512::F) -> avx512::F {
            // SAFETY: the token proves the set; vectors of one size, any bits.
            avx512::F(unsafe { _mm512_dpbf16_ps(sum.0, transmute::<__m512, __m512bh>(x.0), transmute::<__m512, __m512bh>(w.0)) })
        }
    }

    /// Whether pairs are faster than f32: at twice the rate of its multiply-adds on AMD's processors, but at half of it on Intel's.
    pub(crate) fn are_fast() -> bool {
        let vendor = __cpuid(0);
        let name = [vendor.ebx, vendor.edx, vendor.ecx].map(u32::to_le_bytes);
        matches!(name.as_flattened(), b"AuthenticAMD" | b"HygonGenuine")
    }
}
#[cfg(target_arch = "x86_64")]
pub(crate) use x86::Bf16Pairs;
#[cfg(target_arch = "x86_64")]
pub(super) use x86::are_fast;

#[cfg(not(target_arch = "x86_64"))]
mod none {
    use super::super::{Scalar, scalar};
    use super::{Isa, Products};

    /// No token exists.
    #[derive(Clone, Copy)]
    pub(crate) enum Bf16Pairs {}

    impl Bf16Pairs {
        pub(super) fn within(_: Isa) -> Option<Self> {
            None
        }
        pub fn run(self, _: impl FnOnce(Self)) {
            match self {}
        }
    }

    impl Products for Bf16Pairs {
        type S = Scalar;
        fn simd(self) -> Scalar {
            match self {}
        }
        fn add(self, _: scalar::F, _: scalar::F, _: scalar::F) -> scalar::F {
            match self {}
        }
    }
}
#[cfg(not(target_arch = "x86_64"))]
pub(crate) use none::Bf16Pairs;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::Noise;
    use half::bf16;

    products_fn! {
        fn add_all(p, x: &[f32], w: &[f32], sums: &mut [f32]) {
            let s = p.simd();
            for at in (0..sums.len()).step_by(P::S::LANES) {
                let sum = p.add(super::super::load(s, x, at), super::super::load(s, w, at), super::super::load(s, sums, at));
                super::super::store(s, sums, at, sum);
            }
        }
    }

    fn all_sets() -> impl Iterator<Item = (Isa, Bf16Pairs)> {
        Isa::available().filter_map(|isa| Some((isa, Bf16Pairs::of::<bf16>(isa)?)))
    }

    /// sum + a₁·b₁ + a₀·b₀
    fn one(isa: Isa, pairs: Bf16Pairs, sum: f32, a: [f32; 2], b: [f32; 2]) -> f32 {
        let element = |pair: [f32; 2]| crate::gemm::pairs::pair(bf16::from_f32(pair[0]), bf16::from_f32(pair[1]));
        let mut sums = [sum; 16];
        add_all(isa, Some(pairs), &[element(a); 16], &[element(b); 16], &mut sums);
        assert!(sums.iter().all(|v| v.to_bits() == sums[0].to_bits()));
        sums[0]
    }

    #[test]
    fn a_product_is_rounded_at_most_once_as_it_is_added() {
        let mut noise = Noise::new(6);
        for (isa, pairs) in all_sets() {
            for _ in 0..10_000 {
                let mut next = || bf16::from_f32(noise.next() * [1.0, 8.0, 64.0][noise.below(3)]).to_f32();
                let (sum, a, b) = (next() / 3.0, [next(), next()], [next(), next()]);
                let terms = [f64::from(sum), f64::from(a[0]) * f64::from(b[0]), f64::from(a[1]) * f64::from(b[1])];
                let (exact, size) = (terms.iter().sum::<f64>(), terms.iter().map(|t| t.abs()).sum::<f64>());
                let error = (f64::from(one(isa, pairs, sum, a, b)) - exact).abs();
                assert!(error <= 2.001 * f64::powi(2.0, -24) * size, "{sum} + {a:?} · {b:?}: {error:e}");
            }
        }
    }

    #[test]
    fn subnormals_count_as_zero_and_the_rest_is_ieee() {
        let tiny = f32::MIN_POSITIVE;
        for (isa, pairs) in all_sets() {
            let one = |sum, a, b| one(isa, pairs, sum, a, b);
            assert_eq!(one(1.0, [tiny / 2.0, 1.0], [1e30, 2.0]), 3.0);
            assert_eq!(one(0.0, [tiny, 0.0], [0.5, 0.0]).to_bits(), 0);
            assert_eq!(one(0.0, [tiny, 0.0], [1.0, 0.0]), tiny);
            assert_eq!(one(f32::INFINITY, [1.0, 1.0], [2.0, -3.0]), f32::INFINITY);
            assert_eq!(one(0.0, [f32::NEG_INFINITY, 1.0], [2.0, 1.0]), f32::NEG_INFINITY);
            let (nan, infinity) = (f32::NAN, f32::INFINITY);
            for (sum, a, b) in [(nan, 1.0, 1.0), (0.0, nan, 0.0), (0.0, infinity, 0.0), (infinity, infinity, -1.0)] {
                assert!(one(sum, [a, a], [b, b]).is_nan(), "{sum} + {a} · {b}");
            }
        }
    }
}
