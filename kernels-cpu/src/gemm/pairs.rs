//! Factors of bf16 as elements of two that are neighbours along K: the first in the lower half, 0 beyond an odd K.

use super::ahead::Ahead;
use super::blocking::lanes;
use super::micro::{Tile, run_packing};
use super::pack::{Source, Strided, pack, packs_with};
use super::{Left, Right, Size, Strip};
use crate::simd::{Bf16Pairs, Float, Isa, Simd};
use half::bf16;
use std::ops::Range;

/// The element of two bf16.
pub(crate) fn pair(first: bf16, second: bf16) -> f32 {
    f32::from_bits(u32::from(first.to_bits()) | u32::from(second.to_bits()) << 16)
}

impl Size {
    /// The size of the product of such factors: depth counts pairs.
    pub fn in_pairs(self) -> Self {
        Size { k: self.k.div_ceil(2), ..self }
    }
}

/// Rows of a left factor, or columns of a right one.
#[derive(Clone, Copy)]
pub(crate) struct Pairs {
    /// Columns are counted by k.
    of: Strided<bf16>,
    depth: usize,
    /// The token of their products.
    pub token: Bf16Pairs,
}

impl Pairs {
    /// The rows of `of` in pairs, if they are of bf16 and `isa` multiplies those.
    pub fn of<T: Float>(isa: Isa, of: Strided<T>, depth: usize) -> Option<Self> {
        Some(Pairs { of: of.of()?, depth, token: Bf16Pairs::of::<T>(isa)? })
    }
}

impl Source for Pairs {
    #[inline(always)]
    fn dense_across(self) -> bool {
        self.of.dense_across()
    }
    #[inline(always)]
    fn dense_along(self) -> bool {
        self.of.dense_along()
    }
    #[inline(always)]
    unsafe fn element(self, i: usize, k: usize) -> f32 {
        // SAFETY: by contract; the second is not beyond the depth.
        unsafe {
            let second = if 2 * k + 1 < self.depth { *self.of.at(i, 2 * k + 1) } else { bf16::ZERO };
            pair(*self.of.at(i, 2 * k), second)
        }
    }
    #[inline(always)]
    unsafe fn across<S: Simd>(self, s: S, i: usize, k: usize, count: usize) -> S::V {
        // SAFETY: by contract; the second row is not beyond the depth.
        let (first, second) = unsafe {
            let second = if 2 * k + 1 < self.depth { self.of.across(s, i, 2 * k + 1, count) } else { s.zero() };
            (self.of.across(s, i, 2 * k, count), second)
        };
        s.from_bits(s.shr::<16>(s.bits(first)) | s.bits(second))
    }
    #[inline(always)]
    unsafe fn along<S: Simd>(self, _: S, i: usize, k: usize, to: &mut [f32]) {
        let count = (2 * to.len()).min(self.depth - 2 * k);
        if count % 2 == 1 {
            to[count / 2] = 0.0;
        }
        // SAFETY: by contract; `count` are within the depth, and `to` has room for twice its elements.
        unsafe { std::ptr::copy_nonoverlapping(self.of.at(i, 2 * k), to.as_mut_ptr().cast(), count) };
    }
    #[inline(always)]
    fn prefetch(self, i: usize, k: usize) {
        self.of.prefetch(i, 2 * k);
        self.of.prefetch(i, 2 * k + 1);
    }
    /// Rows of whole pairs. Where they begin does not matter: matrices of a batch are all packed or none, as one work space serves all.
    fn in_place(self) -> Option<Strided<f32>> {
        let Strided { start, row_stride, col_stride } = self.of;
        let lies = col_stride == 1 && self.depth.is_multiple_of(2) && row_stride.is_multiple_of(2);
        lies.then_some(Strided { start: start.cast(), row_stride: row_stride / 2, col_stride })
    }
}

impl Right for Pairs {
    fn panel<'a>(&'a self, isa: Isa, strip: &Strip, k: Range<usize>, room: &'a mut [f32]) -> &'a [f32] {
        pack(isa, *self, strip.columns.clone(), k, strip.vectors * lanes(isa), room);
        room
    }
    unsafe fn panel_with_tile(
        &self,
        isa: Isa,
        strip: &Strip,
        k: Range<usize>,
        room: &mut [f32],
        tile: Tile,
        ahead: Ahead,
    ) -> bool {
        let (from, i, panel) = (*self, strip.columns.start, room.as_mut_ptr());
        let packs = packs_with(isa, from, strip, tile, k.len(), room);
        if packs {
            self.token.run(
                #[inline(always)]
                |pairs| {
                    // SAFETY: by contract, and the factor has these rows and columns; the panel has been measured.
                    unsafe { run_packing(pairs, tile, ahead, from, i, k.start, panel) }
                },
            );
        }
        packs
    }
    fn coming(&self, isa: Isa, strip: &Strip, k: Range<usize>) -> Ahead {
        let rows = 2 * k.start..(2 * k.end).min(self.depth);
        self.of.transposed().coming(isa, strip, rows)
    }
    fn makes_panels(&self) -> bool {
        true
    }
    fn pairs(&self) -> Option<Bf16Pairs> {
        Some(self.token)
    }
}

/// Hands `multiply` the factors [M, K] and [K, N] as the instruction set multiplies them, in pairs or widened to f32, and the size of
/// their product.
pub(crate) fn with_factors<T: Float, R>(
    isa: Isa,
    size: Size,
    left: Strided<T>,
    right: Strided<T>,
    multiply: impl FnOnce(Size, &dyn Left, &dyn Right) -> R,
) -> R {
    match (Pairs::of(isa, left, size.k), Pairs::of(isa, right.transposed(), size.k)) {
        (Some(left), Some(right)) => multiply(size.in_pairs(), &left, &right),
        _ => multiply(size, &left, &right),
    }
}
