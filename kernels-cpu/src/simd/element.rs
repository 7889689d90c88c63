//! Elements as vectors see them: f32 as it is, bf16 and f16 widened on load and rounded on store.

use super::Simd;
use half::{bf16, f16};
use kernels::{Element, ViewMut};

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
    /// Eight columns of a matrix with `LANES` rows, `stride` elements apart, widened: lane i of vector j is element j of row i.
    ///
    /// # Safety
    /// Each row is readable for 8 elements.
    unsafe fn load_columns<S: Simd>(s: S, from: *const Self, stride: usize) -> [S::V; 8];
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
    /// As `store`, past the caches where there is such a store.
    ///
    /// # Safety
    /// `to` is writable for `LANES` elements and aligned to as many f32.
    #[inline(always)]
    unsafe fn stream<S: Simd>(s: S, to: *mut Self, v: S::V) {
        // SAFETY: same contract.
        unsafe { Self::store(s, to, v) }
    }
    /// Whether this is f32 itself.
    const IS_F32: bool = false;
    /// The slice itself where its elements are f32.
    fn as_f32s(_: &[Self]) -> Option<&[f32]> {
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
    #[inline(always)]
    unsafe fn load<S: Simd>(s: S, from: *const f32) -> S::V {
        // SAFETY: same contract.
        unsafe { s.load(from) }
    }
    #[inline(always)]
    unsafe fn load_columns<S: Simd>(s: S, from: *const f32, stride: usize) -> [S::V; 8] {
        // SAFETY: same contract.
        let (left, right) = unsafe { (s.load_columns(from.cast(), 4 * stride), s.load_columns(from.add(4).cast(), 4 * stride)) };
        std::array::from_fn(|j| if j < 4 { left[j] } else { right[j - 4] })
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
    unsafe fn stream<S: Simd>(s: S, to: *mut f32, v: S::V) {
        // SAFETY: same contract.
        unsafe { s.stream(to, v) }
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
    ($ty:ident, $load:ident, $store:ident, $columns:item) => {
        impl Float for $ty {
            $columns
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
half_float!(
    bf16,
    load_bf16,
    store_bf16,
    // Two elements are one of 32 bits, the first below: each half becomes the upper half of an f32.
    #[inline(always)]
    unsafe fn load_columns<S: Simd>(s: S, from: *const bf16, stride: usize) -> [S::V; 8] {
        // SAFETY: same contract.
        let pairs = unsafe { s.load_columns(from.cast(), 2 * stride) };
        let upper = s.int(0xffff_0000_u32 as i32);
        let half = |pair: S::V, second: bool| {
            let bits = s.bits(pair);
            s.from_bits(if second { bits & upper } else { s.shl::<16>(bits) })
        };
        std::array::from_fn(|j| half(pairs[j / 2], j % 2 == 1))
    }
);
half_float!(
    f16,
    load_f16,
    store_f16,
    #[inline(always)]
    unsafe fn load_columns<S: Simd>(s: S, from: *const f16, stride: usize) -> [S::V; 8] {
        let mut rows = [0f32; 16 * 8];
        for i in 0..S::LANES {
            for half in (0..8).step_by(4) {
                let mut four = [f16::ZERO; 16];
                // SAFETY: same contract; the copy has LANES elements.
                unsafe {
                    std::ptr::copy_nonoverlapping(from.add(i * stride + half), four.as_mut_ptr(), 4);
                    s.store_part(rows.as_mut_ptr().add(8 * i + half), 4, s.load_f16(four.as_ptr().cast()));
                }
            }
        }
        // SAFETY: LANES rows of 8 elements.
        unsafe { f32::load_columns(s, rows.as_ptr(), 8) }
    }
);

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

/// How an output is stored. What is stored is the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stores {
    /// Through the caches, which fetch each line before it is overwritten.
    Cached,
    /// Past them: lines are written without having been read. For what will have left the caches before it is read again.
    Streamed,
}

impl Stores {
    /// From here on an output is beyond the caches of the processors we know, or leaves no room in them for anything else.
    const STREAMED_FROM_BYTES: usize = 64 << 20;

    /// For this output.
    pub fn of(output: &ViewMut<'_>) -> Self {
        let bytes = output.numel().saturating_mul(output.dtype().size_bytes());
        if bytes < Self::STREAMED_FROM_BYTES { Stores::Cached } else { Stores::Streamed }
    }
}

/// Up to `LANES` neighbouring elements, at the same place in every slice of one length.
#[derive(Clone, Copy)]
pub(crate) struct Span {
    at: usize,
    /// At least 1; `at + count ≤ len`.
    count: usize,
    len: usize,
}

impl Span {
    /// These elements of a slice of the length the span was made for; the other lanes are 0.
    #[inline(always)]
    pub fn load<S: Simd, T: Float>(self, s: S, from: &[T]) -> S::V {
        assert!(from.len() == self.len, "operands differ in length");
        // SAFETY: `count` elements from `at` on lie within the slice.
        unsafe {
            match self.count >= S::LANES {
                true => T::load(s, from.as_ptr().add(self.at)),
                false => T::load_part(s, from.as_ptr().add(self.at), self.count),
            }
        }
    }

    /// The first `count` of `len` elements, at least one and less than a vector.
    pub fn first(count: usize, len: usize) -> Span {
        assert!(0 < count && count <= len, "{count} of {len} elements");
        Span { at: 0, count, len }
    }

    /// `N` whole vectors from element `at` of `len` on, if there are as many.
    #[inline(always)]
    pub fn whole<S: Simd, const N: usize>(_: S, at: usize, len: usize) -> Option<[Span; N]> {
        if len.saturating_sub(at) < N * S::LANES {
            return None;
        }
        let mut spans = [Span { at, count: S::LANES, len }; N];
        for (k, span) in spans.iter_mut().enumerate() {
            span.at += k * S::LANES;
        }
        Some(spans)
    }

    /// As many elements, `by` elements later, if there are.
    #[inline(always)]
    pub fn later(self, by: usize) -> Option<Span> {
        (by <= self.len - self.at - self.count).then_some(Span { at: self.at + by, ..self })
    }

    /// Asks for what lies `distance` elements beyond these, of the row or of a later one, whether there is something or not. In L2: few
    /// lines can be on their way to L1 at a time, and whatever L2 has would wait behind those from memory.
    #[inline(always)]
    pub fn prefetch_beyond<S: Simd, T>(self, s: S, row: &[T], distance: usize) {
        s.prefetch_l2(row.as_ptr().wrapping_add(self.at).wrapping_add(distance));
    }

    /// Writes these elements.
    #[inline(always)]
    pub fn store<S: Simd, T: Float>(self, s: S, to: &mut [T], v: S::V) {
        assert!(to.len() == self.len, "operands differ in length");
        // SAFETY: as for `load`.
        unsafe {
            match self.count >= S::LANES {
                true => T::store(s, to.as_mut_ptr().add(self.at), v),
                false => T::store_part(s, to.as_mut_ptr().add(self.at), self.count, v),
            }
        }
    }

    /// Writes these elements as `stores` says; lines it does not fill, through the caches.
    #[inline(always)]
    pub fn write<S: Simd, T: Float>(self, s: S, stores: Stores, to: &mut [T], v: S::V) {
        assert!(to.len() == self.len, "operands differ in length");
        let place = to.as_mut_ptr().wrapping_add(self.at);
        if stores == Stores::Streamed && self.count >= S::LANES && place.addr().is_multiple_of(S::LANES * size_of::<f32>()) {
            // SAFETY: `LANES` elements from `at` on lie within the slice; aligned, as just seen.
            return unsafe { T::stream(s, place, v) };
        }
        self.store(s, to, v);
    }

    /// `next` in the lanes the span has, `else_` in the others.
    #[inline(always)]
    pub fn select<S: Simd>(self, s: S, next: S::V, else_: S::V) -> S::V {
        match self.count >= S::LANES {
            true => next,
            false => s.select(s.first(self.count), next, else_),
        }
    }
}

/// f(span) for spans that cover slices of `len` elements, in order. What f does is compiled twice: once for whole vectors, without a
/// test per access, once for what is left.
#[inline(always)]
pub(crate) fn spans<S: Simd>(s: S, len: usize, f: impl FnMut(Span)) {
    spans_from(s, 0, len, f);
}

/// As [`spans`], the first `head` elements, less than a vector, by themselves.
#[inline(always)]
fn spans_from_head<S: Simd>(s: S, head: usize, len: usize, mut f: impl FnMut(Span)) {
    if head > 0 {
        f(Span::first(head, len));
    }
    spans_from(s, head, len, f);
}

/// As [`spans`], from element `at` on.
#[inline(always)]
pub(crate) fn spans_from<S: Simd>(_: S, mut at: usize, len: usize, mut f: impl FnMut(Span)) {
    while len.saturating_sub(at) >= S::LANES {
        f(Span { at, count: S::LANES, len });
        at += S::LANES;
    }
    if at < len {
        f(Span { at, count: len - at, len });
    }
}

/// As [`spans`], as f(k, span) with k = 0, 1, 2, 3, 0, …: four chains of dependent operations instead of one. Which span has which
/// k depends on the length alone.
#[inline(always)]
pub(crate) fn spans_in_four<S: Simd>(_: S, len: usize, mut f: impl FnMut(usize, Span)) {
    let mut at = 0;
    while len - at >= 4 * S::LANES {
        for k in 0..4 {
            f(k, Span { at: at + k * S::LANES, count: S::LANES, len });
        }
        at += 4 * S::LANES;
    }
    while at < len {
        f(0, Span { at, count: S::LANES.min(len - at), len });
        at += S::LANES;
    }
}

/// out[i] = f(inputs[..][i]), all of one length.
#[inline(always)]
pub(crate) fn map<S: Simd, T: Float, U: Float, const N: usize>(
    s: S,
    stores: Stores,
    inputs: [&[T]; N],
    out: &mut [U],
    f: impl Fn([S::V; N]) -> S::V,
) {
    spans_from_head(
        s,
        head(s, stores, out),
        out.len(),
        #[inline(always)]
        |span| span.write(s, stores, out, f(load_all(s, inputs, span))),
    );
}

/// Elements before the first from which on [`Span::write`] can stream vectors; 0 where nothing is streamed.
#[inline(always)]
pub(crate) fn head<S: Simd, T: Float>(_: S, stores: Stores, out: &[T]) -> usize {
    match stores {
        Stores::Streamed if T::IS_F32 => {
            let vector = S::LANES * size_of::<f32>();
            (out.as_ptr().addr().wrapping_neg() % vector / size_of::<f32>()).min(out.len())
        }
        _ => 0,
    }
}

/// A span of each slice. (A loop: `array::map` costs a second of compile time per hundred uses, and is not always inlined.)
#[inline(always)]
fn load_all<S: Simd, T: Float, const N: usize>(s: S, inputs: [&[T]; N], span: Span) -> [S::V; N] {
    let mut all = [s.zero(); N];
    for (v, x) in all.iter_mut().zip(inputs) {
        *v = span.load(s, x);
    }
    all
}

/// step(…step(step(init, inputs[..][0..]), inputs[..][LANES..])…) over all vectors: the chains of [`spans_in_four`], joined as
/// (0 ∘ 1) ∘ (2 ∘ 3). Lanes beyond the end are left out.
#[inline(always)]
pub(crate) fn fold<S: Simd, T: Float, const N: usize>(
    s: S,
    inputs: [&[T]; N],
    init: S::V,
    step: impl Fn(S::V, [S::V; N]) -> S::V,
    join: impl Fn(S::V, S::V) -> S::V,
) -> S::V {
    let len = inputs.first().map_or(0, |x| x.len());
    let mut chains = [init; 4];
    spans_in_four(
        s,
        len,
        #[inline(always)]
        |k, span| chains[k] = span.select(s, step(chains[k], load_all(s, inputs, span)), chains[k]),
    );
    join(join(chains[0], chains[1]), join(chains[2], chains[3]))
}

/// (v₀ + v₁) + (v₂ + v₃), and the sum of its lanes.
#[inline(always)]
pub(crate) fn sum_of_four<S: Simd>(s: S, chains: [S::V; 4]) -> f32 {
    s.reduce_add((chains[0] + chains[1]) + (chains[2] + chains[3]))
}
