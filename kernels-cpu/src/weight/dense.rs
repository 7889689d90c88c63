//! A dense weight [N, K] as strips [K, NR] of its transpose.

use crate::CpuBackend;
use crate::gemm::blocking::{NV, Strips, lanes, mr, nr};
use crate::gemm::micro::{DenseRows, PackedLeft, run_streams};
use crate::gemm::stored::Stored;
use crate::gemm::{Few, Right, Strip};
use crate::memory::CpuStorage;
use crate::simd::{Float, Isa, Simd};
use half::{bf16, f16};
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
    fn panel<'a>(&'a self, isa: Isa, strip: &Strip, k: Range<usize>, _: &'a mut [f32]) -> &'a [f32] {
        let width = strip.vectors * lanes(isa);
        &self.strips_at(strip.index, lanes(isa))[k.start * width..k.end * width]
    }
    fn makes_panels(&self) -> bool {
        false
    }
    fn sum_few(&self, isa: Isa, few: &Few<'_>, sums: &mut [f32]) -> bool {
        if few.vectors < NV {
            return false;
        }
        let width = NV * lanes(isa);
        let strips = self.strips_at(few.strips.start, lanes(isa));
        let count = few.strips.len();
        assert!(few.rows <= mr(lanes(isa)) && few.packed.len() >= few.rows * few.depth);
        assert!(strips.len() >= count * few.depth * width && sums.len() >= count * few.rows * width);
        // SAFETY: tile, strips and sums have been measured.
        unsafe {
            run_streams(isa, (few.rows, count), few.depth, PackedLeft(few.packed.as_ptr()), strips.as_ptr(), sums.as_mut_ptr());
        }
        true
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
            fn unit_at(&self, k: usize) -> usize {
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
