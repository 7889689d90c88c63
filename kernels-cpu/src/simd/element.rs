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
    /// Whether this is f32 itself.
    const IS_F32: bool = false;
    /// The slice itself where its elements are f32.
    fn as_f32s(_: &[Self]) -> Option<&[f32]> {
        None
    }
    /// As `as_f32s`, to write.
    fn as_f32s_mut(_: &mut [Self]) -> Option<&mut [f32]> {
        None
    }
    /// Exact widening of one element.
    fn to_f32(self) -> f32;
    /// Nearest element, ties to even.
    fn from_f32(value: f32) -> Self;
}

impl Float for f32 {
    const IS_F32: bool = true;
    fn as_f32s(slice: &[f32]) -> Option<&[f32]> {
        Some(slice)
    }
    fn as_f32s_mut(slice: &mut [f32]) -> Option<&mut [f32]> {
        Some(slice)
    }
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

/// Elements `at..at + LANES` of each slice. (Loops: `array::map` costs a second of compile time per hundred uses.)
///
/// # Safety
/// Each slice has them.
#[inline(always)]
unsafe fn load_all<S: Simd, T: Float, const N: usize>(s: S, inputs: [&[T]; N], at: usize) -> [S::V; N] {
    let mut all = [s.zero(); N];
    for (v, x) in all.iter_mut().zip(inputs) {
        // SAFETY: same contract.
        *v = unsafe { T::load(s, x.as_ptr().add(at)) };
    }
    all
}

/// As [`load_all`], 0 beyond the ends.
#[inline(always)]
fn part_of_all<S: Simd, T: Float, const N: usize>(s: S, inputs: [&[T]; N], at: usize) -> [S::V; N] {
    let mut all = [s.zero(); N];
    for (v, x) in all.iter_mut().zip(inputs) {
        *v = load(s, x, at);
    }
    all
}

/// out[i] = f(inputs[..][i]), all of one length.
#[inline(always)]
pub(crate) fn map<S: Simd, T: Float, U: Float, const N: usize>(
    s: S,
    inputs: [&[T]; N],
    out: &mut [U],
    f: impl Fn([S::V; N]) -> S::V,
) {
    let len = out.len();
    assert!(inputs.iter().all(|x| x.len() == len), "operands differ in length");
    let mut at = 0;
    while at + S::LANES <= len {
        // SAFETY: LANES elements follow `at` in every operand.
        unsafe { U::store(s, out.as_mut_ptr().add(at), f(load_all(s, inputs, at))) };
        at += S::LANES;
    }
    if at < len {
        store(s, out, at, f(part_of_all(s, inputs, at)));
    }
}

/// step(…step(step(init, inputs[..][0..]), inputs[..][LANES..])…) over all vectors: four interleaved chains, joined as
/// (0 ∘ 1) ∘ (2 ∘ 3), so that the order depends on the length alone. Lanes beyond the end are left out.
#[inline(always)]
pub(crate) fn fold<S: Simd, T: Float, const N: usize>(
    s: S,
    inputs: [&[T]; N],
    init: S::V,
    step: impl Fn(S::V, [S::V; N]) -> S::V,
    join: impl Fn(S::V, S::V) -> S::V,
) -> S::V {
    let len = inputs.first().map_or(0, |x| x.len());
    assert!(inputs.iter().all(|x| x.len() == len), "operands differ in length");
    let mut chains = [init; 4];
    let mut at = 0;
    while at + 4 * S::LANES <= len {
        for (k, chain) in chains.iter_mut().enumerate() {
            // SAFETY: 4·LANES elements follow `at` in every operand.
            *chain = step(*chain, unsafe { load_all(s, inputs, at + k * S::LANES) });
        }
        at += 4 * S::LANES;
    }
    let mut rest = chains[0];
    while at < len {
        let next = step(rest, part_of_all(s, inputs, at));
        rest = s.select(s.first(len - at), next, rest);
        at += S::LANES;
    }
    join(join(rest, chains[1]), join(chains[2], chains[3]))
}
