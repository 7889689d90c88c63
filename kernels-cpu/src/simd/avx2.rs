//! AVX2 with FMA and F16C: eight lanes.

use super::{Lanes, Simd, Words};
use std::arch::x86_64::*;
use std::ops::{Add, BitAnd, BitOr, BitXor, Div, Mul, Neg, Sub};

/// Token of AVX2, FMA and F16C. Vectors come only from a token, and a token only from [`Avx2::detect`]: whoever holds either may
/// use these instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Avx2(());

impl Avx2 {
    /// The token, if this processor has the set.
    pub(crate) fn detect() -> Option<Self> {
        let has = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") && is_x86_feature_detected!("f16c");
        has.then_some(Avx2(()))
    }
}

const LANES: usize = 8;

#[derive(Clone, Copy)]
pub(crate) struct F(__m256);
#[derive(Clone, Copy)]
pub(crate) struct I(pub(super) __m256i);

macro_rules! operator {
    ($($ty:ident $trait:ident $method:ident $f:ident;)*) => {$(
        impl $trait for $ty {
            type Output = $ty;
            #[inline(always)]
            fn $method(self, other: $ty) -> $ty {
                // SAFETY: a vector exists, so the processor has AVX2.
                $ty(unsafe { $f(self.0, other.0) })
            }
        }
    )*};
}
operator! {
    F Add add _mm256_add_ps;
    F Sub sub _mm256_sub_ps;
    F Mul mul _mm256_mul_ps;
    F Div div _mm256_div_ps;
    I Add add _mm256_add_epi32;
    I Sub sub _mm256_sub_epi32;
    I BitAnd bitand _mm256_and_si256;
    I BitOr bitor _mm256_or_si256;
    I BitXor bitxor _mm256_xor_si256;
}
impl Neg for F {
    type Output = F;
    #[inline(always)]
    fn neg(self) -> F {
        // SAFETY: a vector exists, so the processor has AVX2.
        F(unsafe { _mm256_xor_ps(self.0, _mm256_set1_ps(-0.0)) })
    }
}
impl Lanes for F {}
impl Words for I {}

/// A mask of `count` lanes is a window on this table.
static WINDOW: [i32; 2 * LANES] = [-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0];

#[inline(always)]
fn window(_: Avx2, count: usize) -> __m256i {
    // SAFETY: the token proves AVX2; LANES elements from LANES − count lie within the table for any count.
    unsafe { _mm256_loadu_si256(WINDOW.as_ptr().add(LANES - count.min(LANES)).cast()) }
}

// "Token" below: the token proves that the processor has the features. "Contract": that of the method, for its pointer.
impl Simd for Avx2 {
    type V = F;
    type I = I;
    type M = F;
    type Table = [F; 2];
    const LANES: usize = LANES;

    #[inline(always)]
    fn splat(self, value: f32) -> F {
        // SAFETY: token.
        F(unsafe { _mm256_set1_ps(value) })
    }
    #[inline(always)]
    unsafe fn load(self, from: *const f32) -> F {
        // SAFETY: token; contract.
        F(unsafe { _mm256_loadu_ps(from) })
    }
    #[inline(always)]
    unsafe fn load_part(self, from: *const f32, count: usize) -> F {
        // SAFETY: token; masked lanes are not accessed.
        F(unsafe { _mm256_maskload_ps(from, window(self, count)) })
    }
    #[inline(always)]
    unsafe fn load_four(self, from: *const f32) -> F {
        // SAFETY: token; contract.
        F(unsafe {
            let four = _mm_loadu_ps(from);
            _mm256_insertf128_ps::<1>(_mm256_castps128_ps256(four), four)
        })
    }
    #[inline(always)]
    unsafe fn gather(self, from: *const f32, at: *const u8) -> F {
        // SAFETY: token; contract.
        F(unsafe { _mm256_i32gather_ps::<4>(from, _mm256_cvtepu8_epi32(_mm_loadl_epi64(at.cast()))) })
    }
    // Four-by-four transposition of all 128-bit parts at once.
    #[inline(always)]
    unsafe fn transpose(self, from: *const f32, from_stride: usize, to: *mut f32, to_stride: usize) {
        // SAFETY: token; contract.
        unsafe {
            let half = |row: usize, at: usize| _mm_loadu_ps(from.add(row * from_stride + at));
            // Rows i and i + 4 beside each other, four columns of each.
            let rows = |i: usize, at: usize| _mm256_insertf128_ps::<1>(_mm256_castps128_ps256(half(i, at)), half(i + 4, at));
            for at in (0..LANES).step_by(4) {
                let (r0, r1, r2, r3) = (rows(0, at), rows(1, at), rows(2, at), rows(3, at));
                let (a, b) = (_mm256_unpacklo_ps(r0, r1), _mm256_unpackhi_ps(r0, r1));
                let (c, d) = (_mm256_unpacklo_ps(r2, r3), _mm256_unpackhi_ps(r2, r3));
                _mm256_storeu_ps(to.add(at * to_stride), _mm256_shuffle_ps::<0b01_00_01_00>(a, c));
                _mm256_storeu_ps(to.add((at + 1) * to_stride), _mm256_shuffle_ps::<0b11_10_11_10>(a, c));
                _mm256_storeu_ps(to.add((at + 2) * to_stride), _mm256_shuffle_ps::<0b01_00_01_00>(b, d));
                _mm256_storeu_ps(to.add((at + 3) * to_stride), _mm256_shuffle_ps::<0b11_10_11_10>(b, d));
            }
        }
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32, v: F) {
        // SAFETY: token; contract.
        unsafe { _mm256_storeu_ps(to, v.0) }
    }
    #[inline(always)]
    unsafe fn store_part(self, to: *mut f32, count: usize, v: F) {
        // SAFETY: token; masked lanes are not accessed.
        unsafe { _mm256_maskstore_ps(to, window(self, count), v.0) }
    }
    #[inline(always)]
    unsafe fn stream(self, to: *mut f32, v: F) {
        // SAFETY: token; contract.
        unsafe { _mm256_stream_ps(to, v.0) }
    }
    #[inline(always)]
    unsafe fn load_bf16(self, from: *const u16) -> F {
        // SAFETY: token; contract.
        F(unsafe { _mm256_castsi256_ps(_mm256_slli_epi32::<16>(_mm256_cvtepu16_epi32(_mm_loadu_si128(from.cast())))) })
    }
    // Adding 0x7fff and the lowest bit kept carries into it exactly when rounding to nearest even does. NaN gets its quiet bit
    // instead, which the sum could carry away.
    #[inline(always)]
    unsafe fn store_bf16(self, to: *mut u16, v: F) {
        // SAFETY: token; contract.
        unsafe {
            let bits = _mm256_castps_si256(v.0);
            let odd = _mm256_and_si256(_mm256_srli_epi32::<16>(bits), _mm256_set1_epi32(1));
            let rounded = _mm256_add_epi32(_mm256_add_epi32(bits, _mm256_set1_epi32(0x7fff)), odd);
            let quiet = _mm256_or_si256(bits, _mm256_set1_epi32(0x40_0000));
            let nan = _mm256_castps_si256(_mm256_cmp_ps::<_CMP_UNORD_Q>(v.0, v.0));
            let high = _mm256_srli_epi32::<16>(_mm256_blendv_epi8(rounded, quiet, nan));
            let packed = _mm_packus_epi32(_mm256_castsi256_si128(high), _mm256_extracti128_si256::<1>(high));
            _mm_storeu_si128(to.cast(), packed);
        }
    }
    #[inline(always)]
    unsafe fn load_u8(self, from: *const u8) -> I {
        // SAFETY: token; contract.
        I(unsafe { _mm256_cvtepu8_epi32(_mm_loadl_epi64(from.cast())) })
    }
    #[inline(always)]
    unsafe fn load_i8(self, from: *const i8) -> I {
        // SAFETY: token; contract.
        I(unsafe { _mm256_cvtepi8_epi32(_mm_loadl_epi64(from.cast())) })
    }
    #[inline(always)]
    unsafe fn store_i8(self, to: *mut i8, i: I) {
        // SAFETY: token; contract. The lowest bytes gather in the lowest word of each half.
        unsafe {
            let lowest = _mm256_set1_epi64x(0x0c08_0400 | -1 << 32);
            let words = _mm256_shuffle_epi8(i.0, lowest);
            let pair = _mm_unpacklo_epi32(_mm256_castsi256_si128(words), _mm256_extracti128_si256::<1>(words));
            _mm_storel_epi64(to.cast(), pair);
        }
    }
    #[inline(always)]
    unsafe fn load_f16(self, from: *const u16) -> F {
        // SAFETY: token; contract.
        F(unsafe { _mm256_cvtph_ps(_mm_loadu_si128(from.cast())) })
    }
    #[inline(always)]
    unsafe fn store_f16(self, to: *mut u16, v: F) {
        // SAFETY: token; contract.
        unsafe { _mm_storeu_si128(to.cast(), _mm256_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(v.0)) }
    }

    // Each half of a vector holds four rows: rows i and i + 4 side by side, then transposition within the halves.
    #[inline(always)]
    unsafe fn load_columns(self, from: *const u8, stride_bytes: usize) -> [F; 4] {
        // SAFETY: token; contract.
        unsafe {
            let row = |i: usize| _mm_loadu_ps(from.add(i * stride_bytes).cast());
            let pair = |i: usize| {
                let (low, high) = (row(i), row(i + 4));
                _mm256_insertf128_ps::<1>(_mm256_castps128_ps256(low), high)
            };
            let (r0, r1, r2, r3) = (pair(0), pair(1), pair(2), pair(3));
            let (t0, t1) = (_mm256_unpacklo_ps(r0, r1), _mm256_unpackhi_ps(r0, r1));
            let (t2, t3) = (_mm256_unpacklo_ps(r2, r3), _mm256_unpackhi_ps(r2, r3));
            [
                F(_mm256_shuffle_ps::<0b01_00_01_00>(t0, t2)),
                F(_mm256_shuffle_ps::<0b11_10_11_10>(t0, t2)),
                F(_mm256_shuffle_ps::<0b01_00_01_00>(t1, t3)),
                F(_mm256_shuffle_ps::<0b11_10_11_10>(t1, t3)),
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
        F(unsafe { _mm256_fmadd_ps(a.0, b.0, c.0) })
    }
    #[inline(always)]
    fn max(self, a: F, b: F) -> F {
        // SAFETY: token.
        F(unsafe { _mm256_max_ps(a.0, b.0) })
    }
    #[inline(always)]
    fn min(self, a: F, b: F) -> F {
        // SAFETY: token.
        F(unsafe { _mm256_min_ps(a.0, b.0) })
    }
    #[inline(always)]
    fn sqrt(self, v: F) -> F {
        // SAFETY: token.
        F(unsafe { _mm256_sqrt_ps(v.0) })
    }
    #[inline(always)]
    fn abs(self, v: F) -> F {
        // SAFETY: token.
        F(unsafe { _mm256_andnot_ps(_mm256_set1_ps(-0.0), v.0) })
    }
    #[inline(always)]
    fn round(self, v: F) -> F {
        // SAFETY: token.
        F(unsafe { _mm256_round_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(v.0) })
    }
    // Two factors, since 2ⁿ alone may be beyond the range of f32. The first product is exact.
    #[inline(always)]
    fn scale2(self, v: F, n: F) -> F {
        // SAFETY: token.
        let n = F(unsafe { _mm256_floor_ps(n.0) });
        let half = self.round(n * self.splat(0.5));
        let power = |n: F| self.from_bits(self.shl::<23>(self.to_int(n) + self.int(127)));
        v * power(half) * power(n - half)
    }

    #[inline(always)]
    fn lt(self, a: F, b: F) -> F {
        // SAFETY: token.
        F(unsafe { _mm256_cmp_ps::<_CMP_LT_OQ>(a.0, b.0) })
    }
    #[inline(always)]
    fn eq(self, a: F, b: F) -> F {
        // SAFETY: token.
        F(unsafe { _mm256_cmp_ps::<_CMP_EQ_OQ>(a.0, b.0) })
    }
    #[inline(always)]
    fn select(self, mask: F, yes: F, no: F) -> F {
        // SAFETY: token.
        F(unsafe { _mm256_blendv_ps(no.0, yes.0, mask.0) })
    }
    #[inline(always)]
    fn is_nan(self, v: F) -> F {
        // SAFETY: token.
        F(unsafe { _mm256_cmp_ps::<_CMP_UNORD_Q>(v.0, v.0) })
    }
    #[inline(always)]
    fn first(self, count: usize) -> F {
        // SAFETY: token.
        F(unsafe { _mm256_castsi256_ps(window(self, count)) })
    }

    #[inline(always)]
    fn pick(self, v: F, at: I) -> F {
        // SAFETY: token.
        F(unsafe { _mm256_permutevar_ps(v.0, at.0) })
    }

    #[inline(always)]
    unsafe fn load_int(self, from: *const i32) -> I {
        // SAFETY: token; contract.
        I(unsafe { _mm256_loadu_si256(from.cast()) })
    }
    #[inline(always)]
    fn int(self, value: i32) -> I {
        // SAFETY: token.
        I(unsafe { _mm256_set1_epi32(value) })
    }
    #[inline(always)]
    fn bits(self, v: F) -> I {
        // SAFETY: token.
        I(unsafe { _mm256_castps_si256(v.0) })
    }
    #[inline(always)]
    fn from_bits(self, i: I) -> F {
        // SAFETY: token.
        F(unsafe { _mm256_castsi256_ps(i.0) })
    }
    #[inline(always)]
    fn to_float(self, i: I) -> F {
        // SAFETY: token.
        F(unsafe { _mm256_cvtepi32_ps(i.0) })
    }
    #[inline(always)]
    fn to_int(self, v: F) -> I {
        // SAFETY: token.
        I(unsafe { _mm256_cvtps_epi32(v.0) })
    }
    #[inline(always)]
    fn shr<const N: u32>(self, i: I) -> I {
        // SAFETY: token.
        I(unsafe { _mm256_srlv_epi32(i.0, _mm256_set1_epi32(N as i32)) })
    }
    #[inline(always)]
    fn shr_by(self, i: I, n: u32) -> I {
        // SAFETY: token.
        I(unsafe { _mm256_srl_epi32(i.0, _mm_cvtsi32_si128(n as i32)) })
    }
    #[inline(always)]
    fn shl<const N: u32>(self, i: I) -> I {
        // SAFETY: token.
        I(unsafe { _mm256_sllv_epi32(i.0, _mm256_set1_epi32(N as i32)) })
    }
    #[inline(always)]
    fn wide_product(self, i: I, factor: u32) -> (I, I) {
        // SAFETY: token.
        unsafe {
            let factor = _mm256_set1_epi32(factor as i32);
            let even = _mm256_mul_epu32(i.0, factor);
            let odd = _mm256_mul_epu32(_mm256_srli_epi64::<32>(i.0), factor);
            let high = _mm256_blend_epi32::<0xaa>(_mm256_srli_epi64::<32>(even), odd);
            let low = _mm256_blend_epi32::<0xaa>(even, _mm256_slli_epi64::<32>(odd));
            (I(high), I(low))
        }
    }
    #[inline(always)]
    fn swap_pairs(self, v: F) -> F {
        // SAFETY: token.
        F(unsafe { _mm256_permute_ps::<0b10_11_00_01>(v.0) })
    }

    #[inline(always)]
    fn table(self, values: &[f32; 16]) -> [F; 2] {
        // SAFETY: token; sixteen floats are readable.
        unsafe { [F(_mm256_loadu_ps(values.as_ptr())), F(_mm256_loadu_ps(values.as_ptr().add(8)))] }
    }
    #[inline(always)]
    fn lookup(self, table: [F; 2], i: I) -> F {
        // SAFETY: token. Permutations look at three bits; the fourth, shifted to the sign, chooses between them.
        unsafe {
            let (low, high) = (_mm256_permutevar8x32_ps(table[0].0, i.0), _mm256_permutevar8x32_ps(table[1].0, i.0));
            F(_mm256_blendv_ps(low, high, _mm256_castsi256_ps(_mm256_slli_epi32::<28>(i.0))))
        }
    }

    #[inline(always)]
    fn reduce_add(self, v: F) -> f32 {
        // SAFETY: token.
        unsafe {
            let four = _mm_add_ps(_mm256_castps256_ps128(v.0), _mm256_extractf128_ps::<1>(v.0));
            let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
            _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)))
        }
    }
    #[inline(always)]
    fn reduce_max(self, v: F) -> f32 {
        // SAFETY: token.
        unsafe {
            let four = _mm_max_ps(_mm256_castps256_ps128(v.0), _mm256_extractf128_ps::<1>(v.0));
            let two = _mm_max_ps(four, _mm_movehl_ps(four, four));
            _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)))
        }
    }
}
