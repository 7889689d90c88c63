//! A dense weight [N, K] as strips [K, NR] of its transpose.

use crate::CpuBackend;
use crate::gemm::blocking::{KC, Strips, lanes, nr};
use crate::gemm::micro::DenseRows;
use crate::gemm::stored::Stored;
use crate::gemm::{Part, Right};
use crate::memory::CpuStorage;
use crate::simd::{Float, Isa, Simd};
use half::{bf16, f16};
use kernels::Result;
use std::marker::PhantomData;

/// Strips [K, NR] one after the other; the last is as wide as its whole vectors.
pub(crate) struct DenseStrips<T> {
    data: CpuStorage,
    k: usize,
    element: PhantomData<T>,
}

impl<T: Float> DenseStrips<T> {
    /// Packs row-major values [N, K]. Returns the bytes it occupies, too.
    ///
    /// # Errors
    /// `OutOfMemory`.
    pub fn pack(cpu: &CpuBackend, n: usize, k: usize, values: &[T]) -> Result<(Self, usize)> {
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
                for (at, &value) in values[n * k..][..k].iter().enumerate() {
                    strip[at * width + j] = value;
                }
            }
        }
        Ok((DenseStrips { data, k, element: PhantomData }, bytes))
    }
}

impl<T: Float> DenseStrips<T> {
    /// Elements of the strips from `index` on.
    fn strips_at(&self, index: usize, lanes: usize) -> &[T] {
        self.data.as_slice::<T>().get(index * nr(lanes) * self.k..).unwrap_or_default()
    }
}

/// A strip of f32 is a panel as it lies.
impl Right for DenseStrips<f32> {
    fn sum_strip(&self, isa: Isa, part: &Part<'_>, _: &mut [f32], sums: &mut [f32]) {
        let width = part.vectors * lanes(isa);
        let strip = self.strips_at(part.strip, lanes(isa));
        let mut start = 0;
        // Once even for K = 0, which sets the sums to zero.
        while start < part.depth || start == 0 {
            let k = start..(start + KC).min(part.depth);
            part.multiply_panel(isa, k, &strip[start * width..], sums);
            start += KC;
        }
    }
}

macro_rules! half {
    ($($ty:ident)*) => {$(
        impl Stored for DenseStrips<$ty> {
            type Rows<S: Simd> = DenseRows<$ty>;
            const UNIT_ROWS: usize = 1;

            fn units(&self, k: usize) -> usize {
                k
            }
            fn span(&self, unit: usize) -> (usize, usize) {
                (unit, 1)
            }
            #[inline(always)]
            fn strip<S: Simd>(&self, index: usize, vectors: usize) -> DenseRows<$ty> {
                DenseRows { start: self.strips_at(index, S::LANES).as_ptr(), stride: vectors * S::LANES, tail: S::LANES }
            }
        }
    )*};
}
half!(bf16 f16);
