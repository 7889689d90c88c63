//! Elements as vectors see them: f32 as it is, bf16 and f16 widened on load and rounded on store.

use super::Simd;
use half::{bf16, f16};
use kernels::Element;

/// A floating-point element.
pub(crate) trait Float: Element {
    /// `LANES` elements, widened.
    ///
    /// # Safety
    /// `from` is readable for `LANES` elements.
    unsafe fn load<S: Simd>(s: S, from: *const Self) -> S::V;
    /// The first `count` elements, widened; the other lanes 0.
    ///
    /// # Safety
    /// `from` is readable for `count` ≤ `LANES` elements.
    unsafe fn load_part<S: Simd>(s: S, from: *const Self, count: usize) -> S::V;
    /// `LANES` elements, rounded.
    ///
    /// # Safety
    /// `to` is writable for `LANES` elements.
    unsafe fn store<S: Simd>(s: S, to: *mut Self, v: S::V);
    /// The first `count` lanes, rounded.
    ///
    /// # Safety
    /// `to` is writable for `count` ≤ `LANES` elements.
    unsafe fn store_part<S: Simd>(s: S, to: *mut Self, count: usize, v: S::V);
    /// Exact widening of one element.
    fn to_f32(self) -> f32;
    /// Nearest element, ties to even.
    fn from_f32(value: f32) -> Self;
}

impl Float for f32 {
    #[inline(always)]
    unsafe fn load<S: Simd>(s: S, from: *const f32) -> S::V {
        // SAFETY: same contract.
        unsafe { s.load(from) }
    }
    #[inline(always)]
    unsafe fn load_part<S: Simd>(s: S, from: *const f32, count: usize) -> S::V {
        // SAFETY: same contract.
        unsafe { s.load_part(from, count) }
    }
    #[inline(always)]
    unsafe fn store<S: Simd>(s: S, to: *mut f32, v: S::V) {
        // SAFETY: same contract.
        unsafe { s.store(to, v) }
    }
    #[inline(always)]
    unsafe fn store_part<S: Simd>(s: S, to: *mut f32, count: usize, v: S::V) {
        // SAFETY: same contract.
        unsafe { s.store_part(to, count, v) }
    }
    #[inline(always)]
    fn to_f32(self) -> f32 {
        self
    }
    #[inline(always)]
    fn from_f32(value: f32) -> f32 {
        value
    }
}

macro_rules! half_float {
    ($ty:ident, $load:ident, $store:ident) => {
        impl Float for $ty {
            #[inline(always)]
            unsafe fn load<S: Simd>(s: S, from: *const $ty) -> S::V {
                // SAFETY: same contract; the type is a transparent u16.
                unsafe { s.$load(from.cast()) }
            }
            #[inline(always)]
            unsafe fn load_part<S: Simd>(s: S, from: *const $ty, count: usize) -> S::V {
                let mut whole = [$ty::ZERO; 16];
                // SAFETY: `count` elements are readable, `whole` has at least LANES.
                unsafe {
                    std::ptr::copy_nonoverlapping(from, whole.as_mut_ptr(), count);
                    s.$load(whole.as_ptr().cast())
                }
            }
            #[inline(always)]
            unsafe fn store<S: Simd>(s: S, to: *mut $ty, v: S::V) {
                // SAFETY: same contract.
                unsafe { s.$store(to.cast(), v) }
            }
            #[inline(always)]
            unsafe fn store_part<S: Simd>(s: S, to: *mut $ty, count: usize, v: S::V) {
                let mut whole = [$ty::ZERO; 16];
                // SAFETY: `whole` has at least LANES elements, `count` elements of `to` are writable.
                unsafe {
                    s.$store(whole.as_mut_ptr().cast(), v);
                    std::ptr::copy_nonoverlapping(whole.as_ptr(), to, count);
                }
            }
            #[inline(always)]
            fn to_f32(self) -> f32 {
                $ty::to_f32(self)
            }
            #[inline(always)]
            fn from_f32(value: f32) -> $ty {
                $ty::from_f32(value)
            }
        }
    };
}
half_float!(bf16, load_bf16, store_bf16);
half_float!(f16, load_f16, store_f16);

/// Elements `at..at + LANES` of a slice, 0 beyond its end.
#[inline(always)]
pub(crate) fn load<S: Simd, T: Float>(s: S, from: &[T], at: usize) -> S::V {
    let left = from.len().saturating_sub(at);
    // SAFETY: `left` elements follow `at`; where `at` is past the end, no element is read.
    unsafe {
        match left >= S::LANES {
            true => T::load(s, from.as_ptr().add(at)),
            false => T::load_part(s, from.as_ptr().wrapping_add(at), left),
        }
    }
}

/// Writes elements `at..at + LANES` of a slice, those within it.
#[inline(always)]
pub(crate) fn store<S: Simd, T: Float>(s: S, to: &mut [T], at: usize, v: S::V) {
    let left = to.len().saturating_sub(at);
    // SAFETY: as for `load`.
    unsafe {
        match left >= S::LANES {
            true => T::store(s, to.as_mut_ptr().add(at), v),
            false => T::store_part(s, to.as_mut_ptr().wrapping_add(at), left, v),
        }
    }
}
