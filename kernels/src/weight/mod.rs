//! Weights are values, not types: a matrix `[N, K]` that may be dense, quantized, in GGUF's blocks, or sparse.
//!
//! Shrinking a model maps `Weight` to `Weight`; [`Memory::pack`](crate::Memory::pack) turns one into what a device reads.

mod blocks;
mod coded;
mod dense;
mod packed;
mod quant;
mod sparse;

pub use blocks::{BlockFormat, Blocks};
pub use coded::{Coded, Group};
pub use dense::Values;
pub use packed::{Packed, WeightRef};
pub use quant::{Bits, Quant, QuantScheme, Zero};
pub use sparse::{Pattern, Sparse, SparseValues};

use crate::{Error, Result};

/// A weight matrix `[N, K]` = `[out_features, in_features]` in host memory.
#[derive(Clone, Debug, PartialEq)]
pub enum Weight {
    /// Every value stored, row-major.
    Dense {
        /// Rows (out_features).
        n: usize,
        /// Columns (in_features).
        k: usize,
        /// N·K values.
        values: Values,
    },
    /// Integer codes with a scale per group.
    Quant(Quant),
    /// A block format of GGUF.
    Blocks(Blocks),
    /// Some values stored, with their places.
    Sparse(Sparse),
}

impl Weight {
    /// A dense weight.
    ///
    /// # Errors
    /// `Value` if there are not N·K values.
    pub fn dense(n: usize, k: usize, values: Values) -> Result<Self> {
        expect_len("values", values.len(), n.checked_mul(k))?;
        Ok(Weight::Dense { n, k, values })
    }

    /// Rows: out_features.
    pub fn n(&self) -> usize {
        match self {
            Weight::Dense { n, .. } => *n,
            Weight::Quant(quant) => quant.n(),
            Weight::Blocks(blocks) => blocks.n(),
            Weight::Sparse(sparse) => sparse.n(),
        }
    }

    /// Columns: in_features.
    pub fn k(&self) -> usize {
        match self {
            Weight::Dense { k, .. } => *k,
            Weight::Quant(quant) => quant.k(),
            Weight::Blocks(blocks) => blocks.k(),
            Weight::Sparse(sparse) => sparse.k(),
        }
    }

    /// Format as reports print it: `f32`, `int8-g64`, `int4-g32-asym`, `q4_k`, `csr-f32`, `block16x1-int8`, `2:4-bf16`.
    pub fn format(&self) -> String {
        match self {
            Weight::Dense { values, .. } => values.dtype().to_string(),
            Weight::Quant(quant) => quant.scheme().to_string(),
            Weight::Blocks(blocks) => blocks.format().to_string(),
            Weight::Sparse(sparse) => sparse.format(),
        }
    }

    /// The weight as integer codes, if it is one.
    pub fn coded(&self) -> Option<Coded<'_>> {
        match self {
            Weight::Quant(quant) => Some(Coded::Quant(quant)),
            Weight::Blocks(blocks) => Some(Coded::Blocks(blocks)),
            Weight::Dense { .. } | Weight::Sparse(_) => None,
        }
    }

    /// Bytes of everything stored: values or codes, scales, zero points, indices.
    pub fn stored_bytes(&self) -> usize {
        match self {
            Weight::Dense { values, .. } => values.size_bytes(),
            Weight::Quant(quant) => quant.stored_bytes(),
            Weight::Blocks(blocks) => blocks.bytes().len(),
            Weight::Sparse(sparse) => sparse.stored_bytes(),
        }
    }

    /// Number of weights that are stored and not zero.
    pub fn nonzeros(&self) -> usize {
        match self {
            Weight::Dense { values, .. } => values.nonzeros(),
            Weight::Quant(_) | Weight::Blocks(_) => self.to_f32().iter().filter(|&&w| w != 0.0).count(),
            Weight::Sparse(sparse) => sparse.nonzeros(),
        }
    }

    /// The matrix this weight stands for, row-major `[N, K]`, in f32. Exact for every format but f32 scales times codes, which
    /// round once.
    pub fn to_f32(&self) -> Vec<f32> {
        match self {
            Weight::Dense { values, .. } => values.to_f32(),
            Weight::Quant(quant) => quant.to_f32(),
            Weight::Blocks(blocks) => blocks.to_f32(),
            Weight::Sparse(sparse) => sparse.to_f32(),
        }
    }
}

fn expect_len(arg: &'static str, got: usize, wanted: Option<usize>) -> Result<()> {
    if wanted == Some(got) {
        return Ok(());
    }
    Err(Error::Value {
        op: "weight",
        arg,
        wanted: "as many as the shape and format need",
        got: match wanted {
            Some(wanted) => format!("{got} instead of {wanted}"),
            None => format!("{got} for a size that overflows"),
        },
    })
}
