//! Sparse weights [N, K]: what is not stored is neither read nor multiplied, and values stay in the type they are stored in.
//!
//! | pattern | layout | few rows of x | many |
//! |---|---|---|---|
//! | blocks of whole vectors of outputs | [`block`]: per stored column a vector of weights | outputs in lanes | tokens in lanes |
//! | any other | [`csr`]: tiles of columns, rows sorted by length | outputs in lanes, x gathered | tokens in lanes |
//! | two of four | [`two_of_four`]: values and places in strips | outputs in lanes, x picked | the same |
//!
//! Every element of a result is one chain of fused multiply-adds over its stored columns in rising order, whatever the number of
//! rows, path and threads: a row of a batch equals the row alone to the bit.

mod abreast;
mod block;
mod csr;
mod panel;
mod two_of_four;

use crate::CpuBackend;
use crate::gemm::blocking::lanes;
use crate::gemm::pack::Strided;
use crate::gemm::{Epilogue, Size};
use crate::simd::{Float, Simd};
use crate::threads::SERIAL_WORK;
use block::Blocks;
use csr::Rows;
use kernels::weight::{Pattern, Sparse, Values};
use kernels::{DType, Error, Result};
use two_of_four::Pairs;

/// A packed sparse weight.
pub(crate) enum SparseWeight {
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
        match sparse.values() {
            Values::F32(values) => pack(cpu, sparse, values),
            Values::Bf16(values) => pack(cpu, sparse, values),
            Values::F16(values) => pack(cpu, sparse, values),
        }
    }

    /// Result = left · weightᵀ through `epilogue`. Rows of `left` are contiguous.
    ///
    /// # Errors
    /// `OutOfMemory` for the work space.
    pub fn multiply<X: Float>(&self, cpu: &CpuBackend, size: Size, left: Strided<X>, epilogue: &dyn Epilogue) -> Result<()> {
        match self {
            SparseWeight::Blocks(weight) => weight.multiply(cpu, size, left, epilogue),
            SparseWeight::Rows(weight) => weight.multiply(cpu, size, left, epilogue),
            SparseWeight::Pairs(weight) => weight.multiply(cpu, size, left, epilogue),
        }
    }
}

fn pack<T: Float>(cpu: &CpuBackend, sparse: &Sparse, values: &[T]) -> Result<(SparseWeight, usize)> {
    match sparse.pattern() {
        Pattern::Block { rows, .. } if rows % lanes(cpu.isa) == 0 => {
            Blocks::pack(cpu, sparse, values).map(|(weight, bytes)| (SparseWeight::Blocks(weight), bytes))
        }
        Pattern::TwoOfFour { places } => {
            Pairs::pack(cpu, sparse, places, values).map(|(weight, bytes)| (SparseWeight::Pairs(weight), bytes))
        }
        _ => Rows::pack(cpu, sparse, values).map(|(weight, bytes)| (SparseWeight::Rows(weight), bytes)),
    }
}

/// Runs `$body` with `$T` as the float type `$dtype`.
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

/// The values in f32: where they lie, or in `room`.
#[inline(always)]
fn widen_in<'a, S: Simd, T: Float>(s: S, values: &'a [T], room: &'a mut [f32]) -> &'a [f32] {
    if let Some(values) = T::as_f32s(values) {
        return values;
    }
    let room = &mut room[..values.len()];
    for at in (0..values.len()).step_by(S::LANES) {
        crate::simd::store(s, room, at, crate::simd::load(s, values, at));
    }
    room
}

#[cfg(test)]
mod tests;
