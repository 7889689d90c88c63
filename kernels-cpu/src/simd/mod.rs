//! Vectors of f32 on every instruction set, behind one trait: a kernel is written once and compiled for each.
//!
//! A token type ([`Scalar`], [`Avx2`], [`Avx512`]) stands for an instruction set. A token exists only where the processor has the
//! set, so arithmetic through a token needs no `unsafe`; only pointers do. `simd_fn!` makes a function that runs its body with
//! the token of an [`Isa`].
//!
//! All sets compute the same lane by lane: `fma` is fused everywhere (in scalar code up to double rounding), conversions round to
//! nearest, ties to even. Sums over lanes differ between sets, since the number of lanes does.

pub(crate) mod dot;
mod element;
pub(crate) mod math;
mod pairs;
mod scalar;

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;

#[cfg(target_arch = "x86_64")]
pub use avx2::Avx2;
#[cfg(target_arch = "x86_64")]
pub use avx512::Avx512;
pub(crate) use element::{Float, Span, Stores, fold, head, load, map, spans, spans_from, spans_in_four, store, sum_of_four};
pub(crate) use pairs::{Bf16Pairs, Products, products_fn};
pub use scalar::Scalar;

use kernels::{Error, Result};
#[cfg(target_arch = "x86_64")]
use std::arch::asm;
use std::ops::{Add, BitAnd, BitOr, BitXor, Div, Mul, Neg, Sub};

/// Keeps the loop whose body calls it from being unrolled by a number that is not known before it runs. A compiler told of a processor
/// with a large cache of instructions (`-C target-cpu=native`) would do so with loops whose sums fill the registers as they stand, and
/// move sums to memory and back: products of bf16 with 8 rows then took 1.6 times as long.
#[inline(always)]
pub(crate) fn keep_rolled() {
    // Assembly counts as a call, and loops with calls are left as they are.
    // SAFETY: no instruction.
    #[cfg(target_arch = "x86_64")]
    unsafe {
        asm!("", options(nomem, nostack, preserves_flags));
    }
}

/// An instruction set this processor has. A value is the proof that it has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isa {
    /// No intrinsics; any target.
    Scalar(Scalar),
    /// AVX2, FMA and F16C.
    #[cfg(target_arch = "x86_64")]
    Avx2(Avx2),
    /// AVX-512 F, BW, DQ and VL, and all of AVX2's; with products of bf16 in pairs or without.
    #[cfg(target_arch = "x86_64")]
    Avx512(Avx512),
}

impl Isa {
    /// The fastest set of this processor.
    pub fn best() -> Self {
        Isa::available().next().unwrap_or(Isa::Scalar(Scalar))
    }

    /// The set of this name.
    ///
    /// # Errors
    /// `Unavailable` if the name is none of `scalar`, `avx2`, `avx512` and `avx512-bf16`, or this processor has not the set.
    pub fn named(name: &str) -> Result<Self> {
        Isa::available().find(|isa| isa.name() == name).ok_or_else(|| {
            let usable: Vec<_> = Isa::available().map(Isa::name).collect();
            Error::Unavailable {
                backend: crate::NAME,
                reason: format!("no instruction set {name:?} on this processor"),
                remedy: format!("set SIZEWISE_ISA to one of: {}", usable.join(", ")),
            }
        })
    }

    /// Every set of this processor, fastest first.
    pub fn available() -> impl Iterator<Item = Self> {
        let scalar = Some(Isa::Scalar(Scalar));
        #[cfg(target_arch = "x86_64")]
        let sets = {
            let floats = Avx512::detect();
            let pairs = floats.and_then(Avx512::with_bf16_pairs);
            let [first, second] = if pairs::are_fast() { [pairs, floats] } else { [floats, pairs] };
            [first.map(Isa::Avx512), second.map(Isa::Avx512), Avx2::detect().map(Isa::Avx2), scalar]
        };
        #[cfg(not(target_arch = "x86_64"))]
        let sets = [scalar];
        sets.into_iter().flatten()
    }

    /// `scalar`, `avx2`, `avx512` or, with products of bf16 in pairs, `avx512-bf16`.
    pub fn name(self) -> &'static str {
        match self {
            Isa::Scalar(_) => "scalar",
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2(_) => "avx2",
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512(token) if token.has_bf16_pairs() => "avx512-bf16",
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512(_) => "avx512",
        }
    }
}

/// Lanes of f32.
pub(crate) trait Lanes:
    Copy + Send + Sync + Add<Output = Self> + Sub<Output = Self> + Mul<Output = Self> + Div<Output = Self> + Neg<Output = Self>
{
}

/// Lanes of i32, as many as of f32. Arithmetic wraps.
pub(crate) trait Words:
    Copy
    + Send
    + Sync
    + Add<Output = Self>
    + Sub<Output = Self>
    + BitAnd<Output = Self>
    + BitOr<Output = Self>
    + BitXor<Output = Self>
{
}

/// An instruction set: how its vectors are made, moved and computed with.
pub(crate) trait Simd: Copy + Send + Sync + 'static {
    /// Vector of f32.
    type V: Lanes;
    /// Vector of i32.
    type I: Words;
    /// One truth value per lane.
    type M: Copy;
    /// Sixteen f32 to choose from.
    type Table: Copy;
    /// Lanes of a vector: a power of two, at most 16.
    const LANES: usize;

    /// All lanes `value`.
    fn splat(self, value: f32) -> Self::V;
    /// Lanes from memory.
    ///
    /// # Safety
    /// `from` is readable for `LANES` elements, aligned or not.
    unsafe fn load(self, from: *const f32) -> Self::V;
    /// The first `count` lanes from memory, the others 0. Touches nothing beyond `count` elements.
    ///
    /// # Safety
    /// `from` is readable for `count` ≤ `LANES` elements.
    unsafe fn load_part(self, from: *const f32, count: usize) -> Self::V;
    /// The four elements at `from`, again and again.
    ///
    /// # Safety
    /// `from` is readable for 4 elements.
    unsafe fn load_four(self, from: *const f32) -> Self::V;
    /// Lane i is `from[at[i]]`.
    ///
    /// # Safety
    /// `at` is readable for `LANES` elements, and `from` wherever they say.
    unsafe fn gather(self, from: *const f32, at: *const u8) -> Self::V;
    /// to[j, i] = from[i, j] for `LANES` rows and columns.
    ///
    /// # Safety
    /// `LANES` rows of `LANES` elements are readable and writable, `from_stride` and `to_stride` elements apart.
    unsafe fn transpose(self, from: *const f32, from_stride: usize, to: *mut f32, to_stride: usize);
    /// Lanes to memory.
    ///
    /// # Safety
    /// `to` is writable for `LANES` elements.
    unsafe fn store(self, to: *mut f32, v: Self::V);
    /// The first `count` lanes to memory. Touches nothing beyond `count` elements.
    ///
    /// # Safety
    /// `to` is writable for `count` ≤ `LANES` elements.
    unsafe fn store_part(self, to: *mut f32, count: usize, v: Self::V);
    /// Lanes to memory past the caches, where there is such a store.
    ///
    /// # Safety
    /// `to` is writable for `LANES` elements and aligned to all of them. The tasks of a pool end with the fence such stores need.
    unsafe fn stream(self, to: *mut f32, v: Self::V) {
        // SAFETY: same contract.
        unsafe { self.store(to, v) }
    }
    /// `LANES` bf16, widened.
    ///
    /// # Safety
    /// As `load`.
    unsafe fn load_bf16(self, from: *const u16) -> Self::V;
    /// Lanes rounded to bf16; NaN stays NaN.
    ///
    /// # Safety
    /// As `store`.
    unsafe fn store_bf16(self, to: *mut u16, v: Self::V);
    /// `LANES` bytes, widened without sign.
    ///
    /// # Safety
    /// As `load`.
    unsafe fn load_u8(self, from: *const u8) -> Self::I;
    /// `LANES` bytes, widened with their sign.
    ///
    /// # Safety
    /// As `load`.
    unsafe fn load_i8(self, from: *const i8) -> Self::I;
    /// The lowest byte of each lane.
    ///
    /// # Safety
    /// As `store`.
    unsafe fn store_i8(self, to: *mut i8, i: Self::I);
    /// `LANES` f16, widened.
    ///
    /// # Safety
    /// As `load`.
    unsafe fn load_f16(self, from: *const u16) -> Self::V;
    /// Lanes rounded to f16; NaN stays NaN.
    ///
    /// # Safety
    /// As `store`.
    unsafe fn store_f16(self, to: *mut u16, v: Self::V);

    /// Four columns of a matrix of 32-bit elements with `LANES` rows, `stride_bytes` apart: lane i of vector j is element j of row i.
    ///
    /// # Safety
    /// Each row is readable for 4 elements; no alignment.
    unsafe fn load_columns(self, from: *const u8, stride_bytes: usize) -> [Self::V; 4];
    /// Brings the cache line of an address to L2, where there is such an instruction. Any address will do.
    #[inline(always)]
    fn prefetch_l2<T>(self, _from: *const T) {}

    /// a·b + c, rounded once.
    fn fma(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// a > b ? a : b. So b where either is NaN.
    fn max(self, a: Self::V, b: Self::V) -> Self::V;
    /// a < b ? a : b. So b where either is NaN.
    fn min(self, a: Self::V, b: Self::V) -> Self::V;
    /// √v, correctly rounded.
    fn sqrt(self, v: Self::V) -> Self::V;
    /// |v|.
    fn abs(self, v: Self::V) -> Self::V;
    /// Nearest integer, ties to even, for |v| ≤ 2²².
    fn round(self, v: Self::V) -> Self::V;
    /// v·2^⌊n⌋, rounded once, for n a multiple of ¼, |n| ≤ 250, and 2⁻³² ≤ |v| ≤ 2³² or v NaN or n = 0.
    fn scale2(self, v: Self::V, n: Self::V) -> Self::V;

    /// a < b; false where either is NaN.
    fn lt(self, a: Self::V, b: Self::V) -> Self::M;
    /// a = b; false where either is NaN.
    fn eq(self, a: Self::V, b: Self::V) -> Self::M;
    /// Lanes of `yes` where the mask is set, of `no` elsewhere.
    fn select(self, mask: Self::M, yes: Self::V, no: Self::V) -> Self::V;
    /// NaN or not.
    fn is_nan(self, v: Self::V) -> Self::M;
    /// Set in the first `count` lanes.
    fn first(self, count: usize) -> Self::M;

    /// Of each four lanes of `v`, lane i gets the one that the two low bits of lane i of `at` number.
    fn pick(self, v: Self::V, at: Self::I) -> Self::V;

    /// Words from memory.
    ///
    /// # Safety
    /// `from` is readable for `LANES` words.
    unsafe fn load_int(self, from: *const i32) -> Self::I;
    /// All lanes `value`.
    fn int(self, value: i32) -> Self::I;
    /// Bits of the floats.
    fn bits(self, v: Self::V) -> Self::I;
    /// Floats of these bits.
    fn from_bits(self, i: Self::I) -> Self::V;
    /// Exact for |i| ≤ 2²⁴.
    fn to_float(self, i: Self::I) -> Self::V;
    /// Nearest integer, for |v| < 2²².
    fn to_int(self, v: Self::V) -> Self::I;
    /// Logical shift right.
    fn shr<const N: u32>(self, i: Self::I) -> Self::I;
    /// Logical shift right of each lane by `n` < 32.
    fn shr_by(self, i: Self::I, n: u32) -> Self::I;
    /// Shift left.
    fn shl<const N: u32>(self, i: Self::I) -> Self::I;
    /// Upper and lower halves of the 64-bit products of lanes and `factor`, all unsigned.
    fn wide_product(self, i: Self::I, factor: u32) -> (Self::I, Self::I);
    /// Lanes 2i and 2i + 1 exchanged.
    fn swap_pairs(self, v: Self::V) -> Self::V;

    /// Sixteen floats as a table.
    fn table(self, values: &[f32; 16]) -> Self::Table;
    /// The entry each lane's lowest four bits name.
    fn lookup(self, table: Self::Table, i: Self::I) -> Self::V;

    /// Sum of the lanes in a fixed tree: lane i with lane i + LANES/2, then with half as many, to the last.
    fn reduce_add(self, v: Self::V) -> f32;
    /// Largest lane. Lanes must not be NaN.
    fn reduce_max(self, v: Self::V) -> f32;

    /// The larger; NaN where either is NaN.
    #[inline(always)]
    fn max_nan(self, a: Self::V, b: Self::V) -> Self::V {
        self.select(self.is_nan(a), a, self.max(a, b))
    }
    /// The smaller; NaN where either is NaN.
    #[inline(always)]
    fn min_nan(self, a: Self::V, b: Self::V) -> Self::V {
        self.select(self.is_nan(a), a, self.min(a, b))
    }
    /// 0.
    #[inline(always)]
    fn zero(self) -> Self::V {
        self.splat(0.0)
    }
    /// |v| with the sign of `sign`.
    #[inline(always)]
    fn copysign(self, v: Self::V, sign: Self::V) -> Self::V {
        let top = self.int(i32::MIN);
        self.from_bits((self.bits(v) & self.int(i32::MAX)) | (self.bits(sign) & top))
    }
}

/// Asks for the cache line at `at`, which need not be a valid address, to be on its way.
#[inline(always)]
pub(crate) fn prefetch<T>(at: *const T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: SSE is part of the architecture; a prefetch accesses nothing and cannot fault.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(at.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = at;
}

/// Orders this thread's streamed stores before whatever tells others that they are there.
pub(crate) fn fence_streams() {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: SSE is part of x86-64.
    unsafe {
        std::arch::x86_64::_mm_sfence();
    }
}

/// Declares functions whose body is compiled for every instruction set. The first argument names the token in the body; callers
/// pass an [`Isa`] in its place. Within the body `S` is the token's type.
///
/// ```ignore
/// simd_fn! {
///     /// out = 2·x
///     pub fn double[T: Float](s, x: &[T], out: &mut [T]) {
///         for at in (0..x.len()).step_by(S::LANES) { let v = load(s, x, at); store(s, out, at, v + v); }
///     }
/// }
/// double(isa, &x, &mut out);
/// ```
macro_rules! simd_fn {
    ($($(#[$meta:meta])* $vis:vis fn $name:ident
        $([$($g:ident : $bound:path),+])? ($s:ident $(, $arg:ident : $ty:ty)* $(,)?) $(-> $ret:ty)? $body:block)+) => {$(
        $(#[$meta])*
        #[allow(clippy::too_many_arguments, reason = "kernels take their operands one by one")]
        $vis fn $name<$($($g: $bound),+)?>(isa: $crate::simd::Isa $(, $arg: $ty)*) $(-> $ret)? {
            #[inline(always)]
            #[allow(clippy::too_many_arguments, reason = "as above")]
            fn body<S: $crate::simd::Simd $($(, $g: $bound)+)?>($s: S $(, $arg: $ty)*) $(-> $ret)? $body
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma,f16c")]
            #[allow(clippy::too_many_arguments, reason = "as above")]
            fn avx2<$($($g: $bound),+)?>(s: $crate::simd::Avx2 $(, $arg: $ty)*) $(-> $ret)? { body(s $(, $arg)*) }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c")]
            #[allow(clippy::too_many_arguments, reason = "as above")]
            fn avx512<$($($g: $bound),+)?>(s: $crate::simd::Avx512 $(, $arg: $ty)*) $(-> $ret)? { body(s $(, $arg)*) }
            match isa {
                $crate::simd::Isa::Scalar(s) => body(s $(, $arg)*),
                #[cfg(target_arch = "x86_64")]
                // SAFETY: the token proves that the processor has these features.
                $crate::simd::Isa::Avx2(s) => unsafe { avx2(s $(, $arg)*) },
                #[cfg(target_arch = "x86_64")]
                // SAFETY: as above.
                $crate::simd::Isa::Avx512(s) => unsafe { avx512(s $(, $arg)*) },
            }
        }
    )+};
}
pub(crate) use simd_fn;

#[cfg(test)]
mod math_tests;
#[cfg(test)]
mod tests;
