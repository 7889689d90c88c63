//! Sums of products of bytes: u8 codes times i8, four to a 32-bit lane, exact in i32.
//!
//! `vpdpbusd` where there is VNNI. Elsewhere the even and the odd bytes are widened to 16 bits and multiplied by `pmaddwd`, whose
//! sums of two products cannot overflow; `pmaddubsw`, which would saturate, is not used.

use super::{Scalar, Simd};

/// An instruction set with sums of products of bytes.
pub(crate) trait Dot: Copy + Send + Sync + 'static {
    /// Its whole lanes.
    type S: Simd;
    /// The token of its whole lanes.
    fn simd(self) -> Self::S;
    /// sum + Σ codes · x over the four bytes of each lane, unsigned codes times signed x; wrapping.
    fn dot(self, sum: <Self::S as Simd>::I, codes: <Self::S as Simd>::I, x: i32) -> <Self::S as Simd>::I;
    /// sum + Σ a · b over both halves of each lane as i16; wrapping.
    fn dot_pairs(self, sum: <Self::S as Simd>::I, a: <Self::S as Simd>::I, b: i32) -> <Self::S as Simd>::I;
    /// a · b, wrapping.
    fn product(self, a: <Self::S as Simd>::I, b: i32) -> <Self::S as Simd>::I;
    /// a · b for 0 ≤ a < 2¹⁵ and −2¹⁵ ≤ b < 2¹⁵.
    fn short_product(self, a: <Self::S as Simd>::I, b: i32) -> <Self::S as Simd>::I;
}

/// Bytes 0 and 2 of a word as two i16.
#[cfg(target_arch = "x86_64")]
fn even(x: i32) -> i32 {
    (x as i8 as i16 as u16 as u32 | ((x >> 16) as i8 as i16 as u16 as u32) << 16) as i32
}

impl Dot for Scalar {
    type S = Scalar;
    fn simd(self) -> Scalar {
        self
    }
    #[inline(always)]
    fn dot(self, sum: super::scalar::I, codes: super::scalar::I, x: i32) -> super::scalar::I {
        let x = x.to_le_bytes();
        let mut sums = sum.0;
        for (sum, codes) in sums.iter_mut().zip(codes.0) {
            for (code, x) in codes.to_le_bytes().into_iter().zip(x) {
                *sum = sum.wrapping_add(i32::from(code) * i32::from(x as i8));
            }
        }
        super::scalar::I(sums)
    }
    #[inline(always)]
    fn dot_pairs(self, sum: super::scalar::I, a: super::scalar::I, b: i32) -> super::scalar::I {
        let product = |a: i32| (i32::from(a as i16) * i32::from(b as i16)).wrapping_add((a >> 16) * (b >> 16));
        let mut sums = sum.0;
        sums.iter_mut().zip(a.0).for_each(|(sum, a)| *sum = sum.wrapping_add(product(a)));
        super::scalar::I(sums)
    }
    fn product(self, a: super::scalar::I, b: i32) -> super::scalar::I {
        super::scalar::I(a.0.map(|a| a.wrapping_mul(b)))
    }
    fn short_product(self, a: super::scalar::I, b: i32) -> super::scalar::I {
        self.product(a, b)
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::super::{Avx2, Avx512, avx2, avx512};
    use super::{Dot, even};
    use std::arch::x86_64::*;

    macro_rules! widening {
        ($ty:ident $vector:path; $set1:ident $and:ident $shift:ident $madd:ident $add:ident $mul:ident) => {
            impl Dot for $ty {
                type S = $ty;
                #[inline(always)]
                fn simd(self) -> $ty {
                    self
                }
                #[inline(always)]
                fn dot(self, sum: $vector, codes: $vector, x: i32) -> $vector {
                    // SAFETY: the token proves the set, here and below.
                    unsafe {
                        let bytes = $set1(0x00ff_00ff);
                        let evens = $madd($and(codes.0, bytes), $set1(even(x)));
                        let odds = $madd($and($shift::<8>(codes.0), bytes), $set1(even(x >> 8)));
                        $vector($add(sum.0, $add(evens, odds)))
                    }
                }
                #[inline(always)]
                fn dot_pairs(self, sum: $vector, a: $vector, b: i32) -> $vector {
                    // SAFETY: token.
                    $vector(unsafe { $add(sum.0, $madd(a.0, $set1(b))) })
                }
                #[inline(always)]
                fn product(self, a: $vector, b: i32) -> $vector {
                    // SAFETY: token.
                    $vector(unsafe { $mul(a.0, $set1(b)) })
                }
                #[inline(always)]
                fn short_product(self, a: $vector, b: i32) -> $vector {
                    // SAFETY: token. The upper halves of a are 0.
                    $vector(unsafe { $madd(a.0, $set1(b)) })
                }
            }
        };
    }
    widening!(Avx2 avx2::I; _mm256_set1_epi32 _mm256_and_si256 _mm256_srli_epi32 _mm256_madd_epi16 _mm256_add_epi32
        _mm256_mullo_epi32);
    widening!(Avx512 avx512::I; _mm512_set1_epi32 _mm512_and_si512 _mm512_srli_epi32 _mm512_madd_epi16 _mm512_add_epi32
        _mm512_mullo_epi32);

    /// AVX-512 with VNNI.
    #[derive(Clone, Copy)]
    pub(crate) struct Vnni(Avx512);

    impl Vnni {
        pub(crate) fn of(token: Avx512) -> Option<Self> {
            token.has_vnni().then_some(Vnni(token))
        }
    }

    impl Dot for Vnni {
        type S = Avx512;
        #[inline(always)]
        fn simd(self) -> Avx512 {
            self.0
        }
        #[inline(always)]
        fn dot(self, sum: avx512::I, codes: avx512::I, x: i32) -> avx512::I {
            // SAFETY: the token proves the set.
            avx512::I(unsafe { _mm512_dpbusd_epi32(sum.0, codes.0, _mm512_set1_epi32(x)) })
        }
        #[inline(always)]
        fn dot_pairs(self, sum: avx512::I, a: avx512::I, b: i32) -> avx512::I {
            // SAFETY: the token proves the set.
            avx512::I(unsafe { _mm512_dpwssd_epi32(sum.0, a.0, _mm512_set1_epi32(b)) })
        }
        #[inline(always)]
        fn product(self, a: avx512::I, b: i32) -> avx512::I {
            self.0.product(a, b)
        }
        #[inline(always)]
        fn short_product(self, a: avx512::I, b: i32) -> avx512::I {
            self.0.short_product(a, b)
        }
    }
}
#[cfg(target_arch = "x86_64")]
pub(crate) use x86::Vnni;

/// As `simd_fn!`, for functions of sums of bytes: within the body `D` is the type of the token, a [`Dot`].
macro_rules! dot_fn {
    ($($(#[$meta:meta])* $vis:vis unsafe fn $name:ident
        $([$g:ident : $bound:path])? ($d:ident $(, $arg:ident : $ty:ty)* $(,)?) $body:block)+) => {$(
        $(#[$meta])*
        $vis unsafe fn $name<$($g: $bound)?>(isa: $crate::simd::Isa $(, $arg: $ty)*) {
            #[inline(always)]
            unsafe fn body<D: $crate::simd::dot::Dot $(, $g: $bound)?>($d: D $(, $arg: $ty)*) $body
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma,f16c")]
            unsafe fn avx2<$($g: $bound)?>(d: $crate::simd::Avx2 $(, $arg: $ty)*) {
                // SAFETY: same contract.
                unsafe { body::<_ $(, $g)?>(d $(, $arg)*) }
            }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c")]
            unsafe fn avx512<$($g: $bound)?>(d: $crate::simd::Avx512 $(, $arg: $ty)*) {
                // SAFETY: same contract.
                unsafe { body::<_ $(, $g)?>(d $(, $arg)*) }
            }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c")]
            unsafe fn vnni<$($g: $bound)?>(d: $crate::simd::dot::Vnni $(, $arg: $ty)*) {
                // SAFETY: same contract.
                unsafe { body::<_ $(, $g)?>(d $(, $arg)*) }
            }
            // SAFETY: same contract; the tokens prove that the processor has the features.
            unsafe {
                match isa {
                    $crate::simd::Isa::Scalar(d) => body::<_ $(, $g)?>(d $(, $arg)*),
                    #[cfg(target_arch = "x86_64")]
                    $crate::simd::Isa::Avx2(d) => avx2::<$($g)?>(d $(, $arg)*),
                    #[cfg(target_arch = "x86_64")]
                    $crate::simd::Isa::Avx512(token) => match $crate::simd::dot::Vnni::of(token) {
                        Some(d) => vnni::<$($g)?>(d $(, $arg)*),
                        None => avx512::<$($g)?>(token $(, $arg)*),
                    },
                }
            }
        }
    )+};
}
pub(crate) use dot_fn;

/// Four bytes at a time of up to four rows of bytes become words of a column: to[j] holds byte j of every row, row 0 in its lowest
/// byte, all bytes xor `flip`.
///
/// # Safety
/// Each row is readable for 16 bytes; `to` is writable for 16 words.
pub(crate) unsafe fn interleave(rows: [*const i8; 4], flip: i8, to: *mut i32) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: SSE2 is part of the target; contract.
    unsafe {
        use std::arch::x86_64::*;
        let flip = _mm_set1_epi8(flip);
        let row = |i: usize| _mm_xor_si128(_mm_loadu_si128(rows[i].cast()), flip);
        let (a, b, c, d) = (row(0), row(1), row(2), row(3));
        let (ab, cd) = (_mm_unpacklo_epi8(a, b), _mm_unpacklo_epi8(c, d));
        _mm_storeu_si128(to.cast(), _mm_unpacklo_epi16(ab, cd));
        _mm_storeu_si128(to.add(4).cast(), _mm_unpackhi_epi16(ab, cd));
        let (ab, cd) = (_mm_unpackhi_epi8(a, b), _mm_unpackhi_epi8(c, d));
        _mm_storeu_si128(to.add(8).cast(), _mm_unpacklo_epi16(ab, cd));
        _mm_storeu_si128(to.add(12).cast(), _mm_unpackhi_epi16(ab, cd));
    }
    #[cfg(not(target_arch = "x86_64"))]
    for j in 0..16 {
        // SAFETY: contract.
        unsafe { *to.add(j) = i32::from_le_bytes(rows.map(|row| (*row.add(j) ^ flip) as u8)) };
    }
}

/// Words 0 to 3 of four rows of bytes become columns: to[q·step + i] holds word q of row i.
///
/// # Safety
/// Each row is readable for 16 bytes; `to` is writable for 4 words at each multiple of `step` up to 3.
#[inline(always)]
pub(crate) unsafe fn transpose_words(rows: [*const i8; 4], to: *mut i32, step: usize) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: SSE2 is part of the target; contract.
    unsafe {
        use std::arch::x86_64::*;
        let row = |i: usize| _mm_loadu_si128(rows[i].cast());
        let (a, b, c, d) = (row(0), row(1), row(2), row(3));
        let (ab, cd) = (_mm_unpacklo_epi32(a, b), _mm_unpacklo_epi32(c, d));
        _mm_storeu_si128(to.cast(), _mm_unpacklo_epi64(ab, cd));
        _mm_storeu_si128(to.add(step).cast(), _mm_unpackhi_epi64(ab, cd));
        let (ab, cd) = (_mm_unpackhi_epi32(a, b), _mm_unpackhi_epi32(c, d));
        _mm_storeu_si128(to.add(2 * step).cast(), _mm_unpacklo_epi64(ab, cd));
        _mm_storeu_si128(to.add(3 * step).cast(), _mm_unpackhi_epi64(ab, cd));
    }
    #[cfg(not(target_arch = "x86_64"))]
    for q in 0..4 {
        for (i, row) in rows.iter().enumerate() {
            // SAFETY: contract.
            unsafe { *to.add(q * step + i) = i32::from_le(row.cast::<i32>().add(q).read_unaligned()) };
        }
    }
}
