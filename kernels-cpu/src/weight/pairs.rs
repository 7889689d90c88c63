//! A dense weight of bf16 [N, K] as strips [K/2, NR] of pairs: multiplied as they lie by rows of bf16 in pairs, widened for others.

use super::dense::DenseStrips;
use crate::CpuBackend;
use crate::gemm::ahead::Ahead;
use crate::gemm::micro::{DenseRows, Strip as _};
use crate::gemm::pairs::pair;
use crate::gemm::stored::{Stored, Widened};
use crate::gemm::{Few, Right, Strip};
use crate::simd::{Bf16Pairs, Isa, Simd};
use half::bf16;
use kernels::Result;
use std::ops::Range;

/// Strips of elements that are pairs; the second of the last is 0 if K is odd.
pub(crate) struct PairStrips {
    pairs: DenseStrips<f32>,
    k: usize,
}

impl PairStrips {
    /// Packs row-major values [N, K]. Returns the bytes they occupy, too.
    ///
    /// # Errors
    /// `OutOfMemory`.
    pub fn pack(cpu: &CpuBackend, n: usize, k: usize, values: &[bf16]) -> Result<(Self, usize)> {
        let element = |n: usize, at: usize| {
            let row = &values[n * k..][..k];
            pair(row[2 * at], row.get(2 * at + 1).copied().unwrap_or_default())
        };
        let (pairs, bytes) = DenseStrips::pack(cpu, n, k.div_ceil(2), element)?;
        Ok((PairStrips { pairs, k }, bytes))
    }

    /// The factor of a product of pairs.
    pub fn in_pairs(&self, token: Bf16Pairs) -> InPairs<'_> {
        InPairs { pairs: &self.pairs, token }
    }
}

/// [`PairStrips`] as a factor whose depth counts pairs.
pub(crate) struct InPairs<'a> {
    pairs: &'a DenseStrips<f32>,
    token: Bf16Pairs,
}

impl Right for InPairs<'_> {
    fn panel<'a>(&'a self, isa: Isa, strip: &Strip, k: Range<usize>, room: &'a mut [f32]) -> &'a [f32] {
        self.pairs.panel(isa, strip, k, room)
    }
    fn coming(&self, isa: Isa, strip: &Strip, k: Range<usize>) -> Ahead {
        self.pairs.coming(isa, strip, k)
    }
    fn pairs(&self) -> Option<Bf16Pairs> {
        Some(self.token)
    }
    fn makes_panels(&self) -> bool {
        self.pairs.makes_panels()
    }
    fn sum_few(&self, isa: Isa, few: &Few<'_>, sums: &mut [f32]) -> bool {
        self.pairs.stream(isa, Some(self.token), few, sums)
    }
}

impl Stored for PairStrips {
    type Rows<S: Simd> = PairRows;
    const UNIT_ROWS: usize = 2;

    fn units(&self, k: usize) -> usize {
        k.div_ceil(2)
    }
    fn unit_at(&self, k: usize) -> usize {
        k / 2
    }
    fn span(&self, unit: usize) -> (usize, usize) {
        (2 * unit, (self.k - 2 * unit).min(2))
    }
    #[inline(always)]
    fn strip<S: Simd>(&self, index: usize, vectors: usize) -> PairRows {
        let start = self.pairs.strips_at(index, S::LANES).as_ptr();
        PairRows { pairs: DenseRows { start, stride: vectors * S::LANES }, k: self.k }
    }
}

/// Rows of pairs; each becomes two of f32.
#[derive(Clone, Copy)]
pub(crate) struct PairRows {
    pairs: DenseRows<f32>,
    k: usize,
}

impl<S: Simd> Widened<S> for PairRows {
    const ROWS: usize = 2;
    type Group<const NV: usize> = ();
    type Unit<const NV: usize> = [S::V; NV];

    #[inline(always)]
    fn group_of(self, _: usize) -> usize {
        0
    }
    #[inline(always)]
    fn group_span(self, _: usize) -> (Range<usize>, Range<usize>) {
        (0..self.k.div_ceil(2), 0..self.k)
    }
    #[inline(always)]
    unsafe fn group<const NV: usize>(self, _: S, _: usize) {}
    #[inline(always)]
    unsafe fn unit<const NV: usize>(self, s: S, unit: usize) -> [S::V; NV] {
        // SAFETY: same contract.
        unsafe { self.pairs.row::<NV>(s, unit) }
    }
    // A bf16 is the upper half of an f32.
    #[inline(always)]
    fn row<const NV: usize, const ROW: usize>(self, s: S, (): &(), unit: [S::V; NV]) -> [S::V; NV] {
        let mut row = unit;
        for v in &mut row {
            let pair = s.bits(*v);
            *v = s.from_bits(if ROW == 0 { s.shl::<16>(pair) } else { pair & s.int(0xffff_0000u32 as i32) });
        }
        row
    }
}
