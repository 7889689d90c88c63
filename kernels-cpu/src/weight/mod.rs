//! Weights as the kernels read them: packed once, in strips of output columns that follow each other in memory as a
//! matrix-vector product reads them.

pub(crate) mod code;
pub(crate) mod dense;
pub(crate) mod factors;
pub(crate) mod minima;
pub(crate) mod pairs;
pub(crate) mod quant;
pub(crate) mod sparse;

use crate::CpuBackend;
use dense::DenseStrips;
use half::f16;
use kernels::weight::{Coded, Values};
use kernels::{Packed, Result, Weight};
use pairs::PairStrips;
use quant::QuantStrips;
use sparse::SparseWeight;

/// What is behind a [`Packed`] of this backend. Private to the crate, as all of the backend's memory.
pub(crate) enum PackedWeight {
    F32(DenseStrips<f32>),
    Bf16(PairStrips),
    F16(DenseStrips<f16>),
    Quant(Box<QuantStrips>),
    Sparse(Box<SparseWeight>),
}

impl PackedWeight {
    /// What the sums of each output are still to be multiplied with.
    pub fn column_scales(&self) -> Option<&[f32]> {
        match self {
            PackedWeight::Sparse(sparse) => Some(sparse.scales()),
            _ => None,
        }
    }
}

/// Packs a weight for this backend's instruction set.
///
/// # Errors
/// `OutOfMemory`.
pub(crate) fn pack(cpu: &CpuBackend, weight: &Weight) -> Result<Packed> {
    let (storage, bytes) = match weight {
        &Weight::Dense { n, k, ref values } => match values {
            Values::F32(values) => {
                DenseStrips::pack(cpu, n, k, |n, at| values[n * k + at]).map(|(w, bytes)| (PackedWeight::F32(w), bytes))
            }
            Values::Bf16(values) => PairStrips::pack(cpu, n, k, values).map(|(w, bytes)| (PackedWeight::Bf16(w), bytes)),
            Values::F16(values) => {
                DenseStrips::pack(cpu, n, k, |n, at| values[n * k + at]).map(|(w, bytes)| (PackedWeight::F16(w), bytes))
            }
        },
        Weight::Quant(quant) => coded(cpu, Coded::Quant(quant)),
        Weight::Blocks(blocks) => coded(cpu, Coded::Blocks(blocks)),
        Weight::Sparse(sparse) => SparseWeight::pack(cpu, sparse).map(|(w, bytes)| (PackedWeight::Sparse(Box::new(w)), bytes)),
    }?;
    Ok(Packed::new(cpu.id, weight, bytes as u64, storage))
}

fn coded(cpu: &CpuBackend, weight: Coded<'_>) -> Result<(PackedWeight, usize)> {
    QuantStrips::pack(cpu, weight).map(|(w, bytes)| (PackedWeight::Quant(Box::new(w)), bytes))
}
