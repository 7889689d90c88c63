//! AVX-512 F, BW, DQ and VL: sixteen lanes.

use super::{Lanes, Simd, Words};
use std::arch::x86_64::*;
use std::ops::{Add, BitAnd, BitOr, BitXor, Div, Mul, Neg, Sub};

/// Token of AVX-512 F, BW, DQ, VL and of AVX2, FMA, F16C. Vectors come only from a token, and a token only from
/// [`Avx512::detect`] or another token: whoever holds either may use these instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Avx512 {
    /// Whether products of bf16 are summed in pairs.
    bf16_pairs: bool,
}

impl Avx512 {
    /// The token, if this processor has the set.
    pub(crate) fn detect() -> Option<Self> {
        let has = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("fma")
            && is_x86_feature_detected!("f16c");
        has.then_some(Avx512 { bf16_pairs: false })
    }

    /// Whether there are also dot products of bytes (`vpdpbusd`).
    pub(crate) fn has_vnni(self) -> bool {
        is_x86_feature_detected!("avx512vnni")
    }

    /// The token with products of bf16 in pairs (`vdpbf16ps`), if this processor has them.
    pub(crate) fn with_bf16_pairs(self) -> Option<Self> {
        is_x86_feature_detected!("avx512bf16").then_some(Avx512 { bf16_pairs: true })
    }

    /// Whether products of bf16 are summed in pairs.
    pub(crate) fn has_bf16_pairs(self) -> bool {
        self.bf16_pairs
    }
}

const LANES: usize = 16;

#[derive(Clone, Copy)]
pub(crate) struct F(pub(super) __m512);
#[derive(Clone, Copy)]
pub(crate) struct I(pub(super) __m512i);

macro_rules! operator {
    ($($ty:ident $trait:ident $method:ident $f:ident;)*) => {$(
        impl $trait for $ty {
            type Output = $ty;
            #[inline(always)]
            fn $method(self, other: $ty) -> $ty {
                // SAFETY: a vector exists, so the processor has AVX-512.
                $ty(unsafe { $f(self.0, other.0) })
            }
        }
    )*};
}
operator! {
    F Add add _mm512_add_ps;
    F Sub sub _mm512_sub_ps;
    F Mul mul _mm512_mul_ps;
    F Div div _mm512_div_ps;
    I Add add _mm512_add_epi32;
    I Sub sub _mm512_sub_epi32;
    I BitAnd bitand _mm512_and_si512;
    I BitOr bitor _mm512_or_si512;
    I BitXor bitxor _mm512_xor_si512;
}
impl Neg for F {
    type Output = F;
    #[inline(always)]
    fn neg(self) -> F {
        // SAFETY: a vector exists, so the processor has AVX-512.
        F(unsafe { _mm512_xor_ps(self.0, _mm512_set1_ps(-0.0)) })
    }
}
impl Lanes for F {}
impl Words for I {}

#[inline(always)]
fn window(count: usize) -> __mmask16 {
    ((1u32 << count.min(LANES)) - 1) as __mmask16
}

// "Token" below: the token proves that the processor has the features. "Contract": that of the method, for its pointer.
impl Simd for Avx512 {
    type V = F;
    type I = I;
    type M = __mmask16;
    type Table = F;
    const LANES: usize = LANES;

    #[inline(always)]
    fn splat(self, value: f32) -> F {
        // SAFETY: token.
        F(unsafe { _mm512_set1_ps(value) })
    }
    #[inline(always)]
    unsafe fn load(self, from: *const f32) -> F {
        // SAFETY: token; contract.
        F(unsafe { _mm512_loadu_ps(from) })
    }
    #[inline(always)]
    unsafe fn load_part(self, from: *const f32, count: usize) -> F {
        // SAFETY: token; masked lanes are not accessed.
        F(unsafe { _mm512_maskz_loadu_ps(window(count), from) })
    }
    #[inline(always)]
    unsafe fn load_four(self, from: *const f32) -> F {
        // SAFETY: token; contract.
        F(unsafe { _mm512_broadcast_f32x4(_mm_loadu_ps(from)) })
    }
    #[inline(always)]
    unsafe fn gather(self, from: *const f32, at: *const u8) -> F {
        // SAFETY: token; contract.
        F(unsafe { _mm512_i32gather_ps::<4>(_mm512_cvtepu8_epi32(_mm_loadu_si128(at.cast())), from) })
    }
    // Four-by-four transposition of all 128-bit parts at once.
    #[inline(always)]
    unsafe fn transpose(self, from: *const f32, from_stride: usize, to: *mut f32, to_stride: usize) {
        // SAFETY: token; contract.
        unsafe {
            let quarter = |row: usize, at: usize| _mm_loadu_ps(from.add(row * from_stride + at));
            // Rows i, i + 4, i + 8 and i + 12 beside each other, four columns of each.
            let rows = |i: usize, at: usize| {
                let low = _mm512_insertf32x4::<1>(_mm512_castps128_ps512(quarter(i, at)), quarter(i + 4, at));
                _mm512_insertf32x4::<3>(_mm512_insertf32x4::<2>(low, quarter(i + 8, at)), quarter(i + 12, at))
            };
            for at in (0..LANES).step_by(4) {
                let (r0, r1, r2, r3) = (rows(0, at), rows(1, at), rows(2, at), rows(3, at));
                let (a, b) = (_mm512_unpacklo_ps(r0, r1), _mm512_unpackhi_ps(r0, r1));
                let (c, d) = (_mm512_unpacklo_ps(r2, r3), _mm512_unpackhi_ps(r2, r3));
                _mm512_storeu_ps(to.add(at * to_stride), _mm512_shuffle_ps::<0b01_00_01_00>(a, c));
                _mm512_storeu_ps(to.add((at + 1) * to_stride), _mm512_shuffle_ps::<0b11_10_11_10>(a, c));
                _mm512_storeu_ps(to.add((at + 2) * to_stride), _mm512_shuffle_ps::<0b01_00_01_00>(b, d));
                _mm512_storeu_ps(to.add((at + 3) * to_stride), _mm512_shuffle_ps::<0b11_10_11_10>(b, d));
            }
        }
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32, v: F) {
        // SAFETY: token; contract.
        unsafe { _mm512_storeu_ps(to, v.0) }
    }
    #[inline(always)]
    unsafe fn store_part(self, to: *mut f32, count: usize, v: F) {
        // SAFETY: token; masked lanes are not accessed.
        unsafe { _mm512_mask_storeu_ps(to, window(count), v.0) }
    }
    #[inline(always)]
    unsafe fn stream(self, to: *mut f32, v: F) {
        // SAFETY: token; contract.
        unsafe { _mm512_stream_ps(to, v.0) }
    }
    #[inline(always)]
    unsafe fn load_bf16(self, from: *const u16) -> F {
        // SAFETY: token; contract.
        F(unsafe { _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(_mm256_loadu_si256(from.cast())))) })
    }
    // Adding 0x7fff and the lowest bit kept carries into it exactly when rounding to nearest even does. NaN gets its quiet bit
    // instead, which the sum could carry away. (`vcvtneps2bf16` would flush denormals.)
    #[inline(always)]
    unsafe fn store_bf16(self, to: *mut u16, v: F) {
        // SAFETY: token; contract.
        unsafe {
            let bits = _mm512_castps_si512(v.0);
            let odd = _mm512_and_si512(_mm512_srli_epi32::<16>(bits), _mm512_set1_epi32(1));
            let rounded = _mm512_add_epi32(_mm512_add_epi32(bits, _mm512_set1_epi32(0x7fff)), odd);
            let nan = _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(v.0, v.0);
            let kept = _mm512_mask_or_epi32(rounded, nan, bits, _mm512_set1_epi32(0x40_0000));
            _mm256_storeu_si256(to.cast(), _mm512_cvtepi32_epi16(_mm512_srli_epi32::<16>(kept)));
        }
    }
    #[inline(always)]
    unsafe fn load_u8(self, from: *const u8) -> I {
        // SAFETY: token; contract.
        I(unsafe { _mm512_cvtepu8_epi32(_mm_loadu_si128(from.cast())) })
    }
    #[inline(always)]
    unsafe fn load_i8(self, from: *const i8) -> I {
        // SAFETY: token; contract.
        I(unsafe { _mm512_cvtepi8_epi32(_mm_loadu_si128(from.cast())) })
    }
    #[inline(always)]
    unsafe fn store_i8(self, to: *mut i8, i: I) {
        // SAFETY: token; contract.
        unsafe { _mm_storeu_si128(to.cast(), _mm512_cvtepi32_epi8(i.0)) }
    }
    #[inline(always)]
    unsafe fn load_f16(self, from: *const u16) -> F {
        // SAFETY: token; contract.
        F(unsafe { _mm512_cvtph_ps(_mm256_loadu_si256(from.cast())) })
    }
    #[inline(always)]
    unsafe fn store_f16(self, to: *mut u16, v: F) {
        // SAFETY: token; contract.
        unsafe { _mm256_storeu_si256(to.cast(), _mm512_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(v.0)) }
    }

    // Each quarter of a vector holds four rows, inserted from memory, which leaves the shuffle port alone; then transposition
    // within the quarters.
    #[inline(always)]
    unsafe fn load_columns(self, from: *const u8, stride_bytes: usize) -> [F; 4] {
        // SAFETY: token; contract.
        unsafe {
            let quad = |i: usize| {
                let row = |quarter: usize| _mm_loadu_ps(from.add((4 * quarter + i) * stride_bytes).cast());
                let v = _mm512_insertf32x4::<1>(_mm512_castps128_ps512(row(0)), row(1));
                _mm512_insertf32x4::<3>(_mm512_insertf32x4::<2>(v, row(2)), row(3))
            };
            let (r0, r1, r2, r3) = (quad(0), quad(1), quad(2), quad(3));
            let (t0, t1) = (_mm512_unpacklo_ps(r0, r1), _mm512_unpackhi_ps(r0, r1));
            let (t2, t3) = (_mm512_unpacklo_ps(r2, r3), _mm512_unpackhi_ps(r2, r3));
            [
                F(_mm512_shuffle_ps::<0b01_00_01_00>(t0, t2)),
                F(_mm512_shuffle_ps::<0b11_10_11_10>(t0, t2)),
                F(_mm512_shuffle_ps::<0b01_00_01_00>(t1, t3)),
                F(_mm512_shuffle_ps::<0b11_10_11_10>(t1, t3)),
            ]
        }
    }

    #[inline(always)]
    fn prefetch_l2<T>(self, from: *const T) {
        // SAFETY: token; a prefetch of any address is harmless.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(from.cast()) }
    }

    #[inline(always)]
    fn fma(self, a: F, b: F, c: F) -> F {
        // SAFETY: token.
        F(unsafe { _mm512_fmadd_ps(a.0, b.0, c.0) })
    }
    #[inline(always)]
    fn max(self, a: F, b: F) -> F {
        // SAFETY: token.
        F(unsafe { _mm512_max_ps(a.0, b.0) })
    }
    #[inline(always)]
    fn min(self, a: F, b: F) -> F {
        // SAFETY: token.
        F(unsafe { _mm512_min_ps(a.0, b.0) })
    }
    #[inline(always)]
    fn sqrt(self, v: F) -> F {
        // SAFETY: token.
        F(unsafe { _mm512_sqrt_ps(v.0) })
    }
    #[inline(always)]
    fn abs(self, v: F) -> F {
        // SAFETY: token.
        F(unsafe { _mm512_abs_ps(v.0) })
    }
    #[inline(always)]
    fn round(self, v: F) -> F {
        // SAFETY: token.
        F(unsafe { _mm512_roundscale_ps::<_MM_FROUND_TO_NEAREST_INT>(v.0) })
    }
    #[inline(always)]
    fn scale2(self, v: F, n: F) -> F {
        // SAFETY: token.
        F(unsafe { _mm512_scalef_ps(v.0, n.0) })
    }

    #[inline(always)]
    fn lt(self, a: F, b: F) -> __mmask16 {
        // SAFETY: token.
        unsafe { _mm512_cmp_ps_mask::<_CMP_LT_OQ>(a.0, b.0) }
    }
    #[inline(always)]
    fn eq(self, a: F, b: F) -> __mmask16 {
        // SAFETY: token.
        unsafe { _mm512_cmp_ps_mask::<_CMP_EQ_OQ>(a.0, b.0) }
    }
    #[inline(always)]
    fn select(self, mask: __mmask16, yes: F, no: F) -> F {
        // SAFETY: token.
        F(unsafe { _mm512_mask_blend_ps(mask, no.0, yes.0) })
    }
    #[inline(always)]
    fn is_nan(self, v: F) -> __mmask16 {
        // SAFETY: token.
        unsafe { _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(v.0, v.0) }
    }
    #[inline(always)]
    fn first(self, count: usize) -> __mmask16 {
        window(count)
    }

    #[inline(always)]
    fn pick(self, v: F, at: I) -> F {
        // SAFETY: token.
        F(unsafe { _mm512_permutevar_ps(v.0, at.0) })
    }

    #[inline(always)]
    unsafe fn load_int(self, from: *const i32) -> I {
        // SAFETY: token; contract.
        I(unsafe { _mm512_loadu_si512(from.cast()) })
    }
    #[inline(always)]
    fn int(self, value: i32) -> I {
        // SAFETY: token.
        I(unsafe { _mm512_set1_epi32(value) })
    }
    #[inline(always)]
    fn bits(self, v: F) -> I {
        // SAFETY: token.
        I(unsafe { _mm512_castps_si512(v.0) })
    }
    #[inline(always)]
    fn from_bits(self, i: I) -> F {
        // SAFETY: token.
        F(unsafe { _mm512_castsi512_ps(i.0) })
    }
    #[inline(always)]
    fn to_float(self, i: I) -> F {
        // SAFETY: token.
        F(unsafe { _mm512_cvtepi32_ps(i.0) })
    }
    #[inline(always)]
    fn to_int(self, v: F) -> I {
        // SAFETY: token.
        I(unsafe { _mm512_cvtps_epi32(v.0) })
    }
    #[inline(always)]
    fn shr<const N: u32>(self, i: I) -> I {
        // SAFETY: token.
        I(unsafe { _mm512_srli_epi32::<N>(i.0) })
    }
    #[inline(always)]
    fn shr_by(self, i: I, n: u32) -> I {
        // SAFETY: token.
        I(unsafe { _mm512_srl_epi32(i.0, _mm_cvtsi32_si128(n as i32)) })
    }
    #[inline(always)]
    fn shl<const N: u32>(self, i: I) -> I {
        // SAFETY: token.
        I(unsafe { _mm512_slli_epi32::<N>(i.0) })
    }
    #[inline(always)]
    fn wide_product(self, i: I, factor: u32) -> (I, I) {
        // SAFETY: token.
        unsafe {
            let factor = _mm512_set1_epi32(factor as i32);
            let even = _mm512_mul_epu32(i.0, factor);
            let odd = _mm512_mul_epu32(_mm512_srli_epi64::<32>(i.0), factor);
            let high = _mm512_mask_blend_epi32(0xaaaa, _mm512_srli_epi64::<32>(even), odd);
            let low = _mm512_mask_blend_epi32(0xaaaa, even, _mm512_slli_epi64::<32>(odd));
            (I(high), I(low))
        }
    }
    #[inline(always)]
    fn swap_pairs(self, v: F) -> F {
        // SAFETY: token.
        F(unsafe { _mm512_permute_ps::<0b10_11_00_01>(v.0) })
    }

    #[inline(always)]
    fn table(self, values: &[f32; 16]) -> F {
        // SAFETY: token; sixteen floats are readable.
        F(unsafe { _mm512_loadu_ps(values.as_ptr()) })
    }
    #[inline(always)]
    fn lookup(self, table: F, i: I) -> F {
        // SAFETY: token.
        F(unsafe { _mm512_permutexvar_ps(i.0, table.0) })
    }

    #[inline(always)]
    fn reduce_add(self, v: F) -> f32 {
        // SAFETY: token.
        unsafe {
            let eight = _mm256_add_ps(_mm512_castps512_ps256(v.0), _mm512_extractf32x8_ps::<1>(v.0));
            let four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps::<1>(eight));
            let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
            _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)))
        }
    }
    #[inline(always)]
    fn reduce_max(self, v: F) -> f32 {
        // SAFETY: token.
        unsafe {
            let eight = _mm256_max_ps(_mm512_castps512_ps256(v.0), _mm512_extractf32x8_ps::<1>(v.0));
            let four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps::<1>(eight));
            let two = _mm_max_ps(four, _mm_movehl_ps(four, four));
            _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)))
        }
    }
}
