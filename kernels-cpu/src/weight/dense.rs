//! A dense weight [N, K] as strips [K, NR] of its transpose.

use crate::CpuBackend;
use crate::gemm::ahead::Ahead;
use crate::gemm::blocking::{NV, Strips, lanes, mr, nr};
use crate::gemm::micro::{DenseRows, PackedLeft, Strip as _, run_streams};
use crate::gemm::stored::{Stored, Widened};
use crate::gemm::{Few, Right, Strip};
use crate::memory::CpuStorage;
use crate::simd::{Bf16Pairs, Float, Isa, Simd};
use half::f16;
use kernels::Result;
use std::marker::PhantomData;
use std::ops::Range;

/// Strips [K, NR] one after the other; the last is as wide as its whole vectors.
pub(crate) struct DenseStrips<T> {
    data: CpuStorage,
    k: usize,
    element: PhantomData<T>,
}

impl<T: Float> DenseStrips<T> {
    /// Packs the values of (n, k). Returns the bytes they occupy, too.
    ///
    /// # Errors
    /// `OutOfMemory`.
    pub fn pack(cpu: &CpuBackend, n: usize, k: usize, value: impl Fn(usize, usize) -> T) -> Result<(Self, usize)> {
        let lanes = lanes(cpu.isa);
        let strips = Strips::new(n, lanes);
        let bytes = strips.padded().saturating_mul(k).saturating_mul(size_of::<T>());
        let mut data = cpu.heap.alloc(bytes)?;
        let to = data.as_mut_slice::<T>();
        for index in 0..strips.count() {
            let columns = strips.columns(index);
            let width = strips.vectors(index) * lanes;
            let strip = &mut to[columns.start * k..][..width * k]; // [K, width]
            for (j, n) in columns.enumerate() {
                for at in 0..k {
                    strip[at * width + j] = value(n, at);
                }
            }
        }
        Ok((DenseStrips { data, k, element: PhantomData }, bytes))
    }
}

impl<T: Float> DenseStrips<T> {
    /// Elements of the strips from `index` on.
    pub fn strips_at(&self, index: usize, lanes: usize) -> &[T] {
        self.data.as_slice::<T>().get(index * nr(lanes) * self.k..).unwrap_or_default()
    }
}

/// A strip of f32 is a panel as it lies.
impl Right for DenseStrips<f32> {
    fn panel<'a>(&'a self, isa: Isa, strip: &Strip, k: Range<usize>, _: &'a mut [f32]) -> &'a [f32] {
        let width = strip.vectors * lanes(isa);
        &self.strips_at(strip.index, lanes(isa))[k.start * width..k.end * width]
    }
    fn coming(&self, isa: Isa, strip: &Strip, k: Range<usize>) -> Ahead {
        let panel = self.panel(isa, strip, k, &mut []);
        Ahead::new(panel.as_ptr(), panel.len())
    }
    fn makes_panels(&self) -> bool {
        false
    }
    fn sum_few(&self, isa: Isa, few: &Few<'_>, sums: &mut [f32]) -> bool {
        self.stream(isa, None, few, sums)
    }
}

impl DenseStrips<f32> {
    /// [`Right::sum_few`] for elements that are f32, or pairs of bf16.
    pub fn stream(&self, isa: Isa, pairs: Option<Bf16Pairs>, few: &Few<'_>, sums: &mut [f32]) -> bool {
        if few.vectors < NV {
            return false;
        }
        let width = NV * lanes(isa);
        let strips = self.strips_at(few.strips.start, lanes(isa));
        let (count, tile) = (few.strips.len(), PackedLeft(few.packed.as_ptr()));
        assert!(few.rows <= mr(lanes(isa)) && few.packed.len() >= few.rows * few.depth);
        assert!(strips.len() >= count * few.depth * width && sums.len() >= count * few.rows * width);
        // SAFETY: tile, strips and sums have been measured.
        unsafe { run_streams(isa, pairs, (few.rows, count), few.depth, tile, strips.as_ptr(), sums.as_mut_ptr()) };
        true
    }
}

/// A strip of f16 is widened.
impl Stored for DenseStrips<f16> {
    type Rows<S: Simd> = HalfRows;
    const UNIT_ROWS: usize = 1;

    fn units(&self, k: usize) -> usize {
        k
    }
    fn unit_at(&self, k: usize) -> usize {
        k
    }
    fn span(&self, unit: usize) -> (usize, usize) {
        (unit, 1)
    }
    #[inline(always)]
    fn strip<S: Simd>(&self, index: usize, vectors: usize) -> HalfRows {
        HalfRows { rows: DenseRows { start: self.strips_at(index, S::LANES).as_ptr(), stride: vectors * S::LANES }, k: self.k }
    }
}

/// Rows of f16.
#[derive(Clone, Copy)]
pub(crate) struct HalfRows {
    rows: DenseRows<f16>,
    k: usize,
}

impl<S: Simd> Widened<S> for HalfRows {
    const ROWS: usize = 1;
    type Group<const NV: usize> = ();
    type Unit<const NV: usize> = [S::V; NV];

    #[inline(always)]
    fn group_of(self, _: usize) -> usize {
        0
    }
    #[inline(always)]
    fn group_span(self, _: usize) -> (Range<usize>, Range<usize>) {
        (0..self.k, 0..self.k)
    }
    #[inline(always)]
    unsafe fn group<const NV: usize>(self, _: S, _: usize) {}
    #[inline(always)]
    unsafe fn unit<const NV: usize>(self, s: S, unit: usize) -> [S::V; NV] {
        // SAFETY: same contract.
        unsafe { self.rows.row::<NV>(s, unit) }
    }
    #[inline(always)]
    fn row<const NV: usize, const ROW: usize>(self, _: S, (): &(), unit: [S::V; NV]) -> [S::V; NV] {
        unit
    }
}
