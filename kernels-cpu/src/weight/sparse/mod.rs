//! Sparse weights [N, K]: what is not stored is neither read nor multiplied, and values stay in the type they are stored in, floats
//! or codes of 8 bits.
//!
//! | pattern | layout | few rows of x | many |
//! |---|---|---|---|
//! | blocks of whole vectors of outputs | [`block`]: per stored column a vector of weights | outputs in lanes | tokens in lanes |
//! | any other | [`csr`]: tiles of columns, rows sorted by length | outputs in lanes, x gathered | tokens in lanes |
//! | two of four | [`two_of_four`]: values and places in strips | outputs in lanes, x picked | the same |
//!
//! Every element of a result is one chain of fused multiply-adds over its stored columns in rising order, whatever the number of
//! rows, path and threads: a row of a batch equals the row alone to the bit. Codes are multiplied as they are, and the sum by the
//! scale of its output ([`SparseWeight::scales`]).

mod abreast;
mod bands;
mod block;
mod csr;
mod panel;
mod two_of_four;

use crate::CpuBackend;
use crate::gemm::blocking::lanes;
use crate::gemm::pack::Strided;
use crate::gemm::{Epilogue, Size};
use crate::memory::CpuStorage;
use crate::simd::{Float, Simd};
use crate::threads::SERIAL_WORK;
use block::Blocks;
use csr::Rows;
use kernels::weight::{Pattern, Sparse, SparseValues, Values};
use kernels::{DType, Element, Error, Result};
use two_of_four::Pairs;

/// A packed sparse weight.
pub(crate) struct SparseWeight {
    layout: Layout,
    /// f32 [N], to whole vectors; 1 where values are no codes.
    scales: CpuStorage,
}

enum Layout {
    Blocks(Blocks),
    Rows(Rows),
    Pairs(Pairs),
}

impl SparseWeight {
    /// Packs a weight. Returns the bytes it occupies, too.
    ///
    /// # Errors
    /// `OutOfMemory`.
    pub fn pack(cpu: &CpuBackend, sparse: &Sparse) -> Result<(Self, usize)> {
        let (layout, bytes) = match sparse.values() {
            SparseValues::Float(Values::F32(values)) => pack(cpu, sparse, values),
            SparseValues::Float(Values::Bf16(values)) => pack(cpu, sparse, values),
            SparseValues::Float(Values::F16(values)) => pack(cpu, sparse, values),
            SparseValues::Int8 { codes, .. } => pack(cpu, sparse, codes),
        }?;
        let mut scales = cpu.heap.alloc(4 * sparse.n().next_multiple_of(lanes(cpu.isa)))?;
        match sparse.values().scales() {
            Some(of_rows) => scales.as_mut_slice()[..sparse.n()].copy_from_slice(of_rows),
            None => scales.as_mut_slice::<f32>().fill(1.0),
        }
        let bytes = bytes + scales.bytes();
        Ok((SparseWeight { layout, scales }, bytes))
    }

    /// The factor of each output's sums, to whole vectors.
    pub fn scales(&self) -> &[f32] {
        self.scales.as_slice()
    }

    /// Sums of left · weightᵀ through `epilogue`, which has to scale them. Rows of `left` are contiguous.
    ///
    /// # Errors
    /// `OutOfMemory` for the work space.
    pub fn multiply<X: Float>(&self, cpu: &CpuBackend, size: Size, left: Strided<X>, epilogue: &dyn Epilogue) -> Result<()> {
        match &self.layout {
            Layout::Blocks(weight) => weight.multiply(cpu, size, left, epilogue),
            Layout::Rows(weight) => weight.multiply(cpu, size, left, epilogue),
            Layout::Pairs(weight) => weight.multiply(cpu, size, left, epilogue),
        }
    }
}

fn pack<T: Value>(cpu: &CpuBackend, sparse: &Sparse, values: &[T]) -> Result<(Layout, usize)> {
    match sparse.pattern() {
        Pattern::Block { rows, .. } if rows % lanes(cpu.isa) == 0 => {
            Blocks::pack(cpu, sparse, values).map(|(weight, bytes)| (Layout::Blocks(weight), bytes))
        }
        Pattern::TwoOfFour { places } => {
            Pairs::pack(cpu, sparse, places, values).map(|(weight, bytes)| (Layout::Pairs(weight), bytes))
        }
        _ => Rows::pack(cpu, sparse, values).map(|(weight, bytes)| (Layout::Rows(weight), bytes)),
    }
}

/// A stored value.
trait Value: Element {
    /// What fills up a layout, with an x of 0: a sum plus their product is the sum, to the bit. Of floats −0. Sums of codes are
    /// never −0, since a product with an integer does not vanish, so that 0 does.
    fn filler() -> Self;
    /// `LANES` values, widened.
    ///
    /// # Safety
    /// `from` is readable for `LANES` values.
    unsafe fn load<S: Simd>(s: S, from: *const Self) -> S::V;
    /// The slice itself where its values are f32.
    fn as_f32s(_: &[Self]) -> Option<&[f32]> {
        None
    }
}

impl<T: Float> Value for T {
    fn filler() -> Self {
        T::from_f32(-0.0)
    }
    #[inline(always)]
    unsafe fn load<S: Simd>(s: S, from: *const Self) -> S::V {
        // SAFETY: same contract.
        unsafe { <T as Float>::load(s, from) }
    }
    fn as_f32s(values: &[Self]) -> Option<&[f32]> {
        <T as Float>::as_f32s(values)
    }
}

impl Value for i8 {
    fn filler() -> Self {
        0
    }
    #[inline(always)]
    unsafe fn load<S: Simd>(s: S, from: *const Self) -> S::V {
        // SAFETY: same contract.
        s.to_float(unsafe { s.load_i8(from) })
    }
}

/// Runs `$body` with `$T` as the type of values `$dtype`.
macro_rules! with_type {
    ($dtype:expr, $T:ident => $body:expr) => {
        match $dtype {
            kernels::DType::Bf16 => {
                type $T = half::bf16;
                $body
            }
            kernels::DType::F16 => {
                type $T = half::f16;
                $body
            }
            kernels::DType::I8 => {
                type $T = i8;
                $body
            }
            _ => {
                type $T = f32;
                $body
            }
        }
    };
}
use with_type;

/// Threads for a product of `rows` rows with a weight of `stored` values.
fn slots(cpu: &CpuBackend, rows: usize, stored: usize) -> usize {
    if rows.saturating_mul(stored) < SERIAL_WORK { 1 } else { cpu.pool.threads() }
}

/// `len` times `value`, for the time of packing.
///
/// # Errors
/// `OutOfMemory`.
fn filled<V: Copy>(value: V, len: usize) -> Result<Vec<V>> {
    let mut all = Vec::new();
    let out_of_memory = |_| Error::OutOfMemory { backend: crate::NAME, wanted_bytes: (len * size_of::<V>()) as u64 };
    all.try_reserve_exact(len).map_err(out_of_memory)?;
    all.resize(len, value);
    Ok(all)
}

/// f32 elements of work space in which values of `dtype` are widened, `len` at a time.
fn widened_floats(dtype: DType, len: usize) -> usize {
    if dtype == DType::F32 { 0 } else { len }
}

/// The values, whole vectors, in f32: where they lie, or in `room`.
#[inline(always)]
fn widen_in<'a, S: Simd, T: Value>(s: S, values: &'a [T], room: &'a mut [f32]) -> &'a [f32] {
    if let Some(values) = T::as_f32s(values) {
        return values;
    }
    let room = &mut room[..values.len()];
    for (room, values) in room.chunks_exact_mut(S::LANES).zip(values.chunks_exact(S::LANES)) {
        // SAFETY: both chunks are vectors.
        unsafe { s.store(room.as_mut_ptr(), T::load(s, values.as_ptr())) };
    }
    room
}

#[cfg(test)]
mod tests;
