//! The values of a model's parameters on the host, by name, in whatever form they are stored.

use crate::Result;
use kernels::Weight;
use kernels::weight::Values;
use std::collections::BTreeMap;

/// One named tensor.
#[derive(Clone, Debug, PartialEq)]
pub enum Tensor {
    /// `[N, K]`, read by matrix products alone: dense, quantized or sparse.
    Matrix(Weight),
    /// Anything else: tables, biases, norms.
    Dense {
        /// Dimensions.
        shape: Vec<usize>,
        /// Row-major values.
        values: Values,
    },
}

impl Tensor {
    /// Bytes of everything stored.
    pub fn stored_bytes(&self) -> usize {
        match self {
            Tensor::Matrix(weight) => weight.stored_bytes(),
            Tensor::Dense { values, .. } => values.size_bytes(),
        }
    }

    /// Numbers the tensor stands for.
    pub fn numel(&self) -> usize {
        match self {
            Tensor::Matrix(weight) => weight.n() * weight.k(),
            Tensor::Dense { values, .. } => values.len(),
        }
    }

    /// How many of them are not zero.
    pub fn nonzeros(&self) -> usize {
        match self {
            Tensor::Matrix(weight) => weight.nonzeros(),
            Tensor::Dense { values, .. } => values.nonzeros(),
        }
    }
}

/// All tensors of a model.
///
/// A smaller model is a map of its matrices ([`Weights::map`]); the code that runs it does not change.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Weights {
    tensors: BTreeMap<String, Tensor>,
}

impl Weights {
    /// The tensor of a name.
    pub fn get(&self, name: &str) -> Option<&Tensor> {
        self.tensors.get(name)
    }

    /// Sets the tensor of a name.
    pub fn insert(&mut self, name: &str, tensor: Tensor) {
        self.tensors.insert(name.to_owned(), tensor);
    }

    /// All tensors by name, sorted.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &Tensor)> {
        self.tensors.iter().map(|(name, tensor)| (name.as_str(), tensor))
    }

    /// Matrices by name, sorted.
    pub fn matrices(&self) -> impl Iterator<Item = (&str, &Weight)> {
        self.iter().filter_map(|(name, tensor)| match tensor {
            Tensor::Matrix(weight) => Some((name, weight)),
            Tensor::Dense { .. } => None,
        })
    }

    /// The same tensors with every matrix replaced by `change(name, matrix)`.
    ///
    /// # Errors
    /// Those of `change`.
    pub fn map(&self, mut change: impl FnMut(&str, &Weight) -> Result<Weight>) -> Result<Self> {
        let mut changed = self.clone();
        for (name, tensor) in &mut changed.tensors {
            if let Tensor::Matrix(weight) = tensor {
                *weight = change(name, weight)?;
            }
        }
        Ok(changed)
    }

    /// Bytes of everything stored.
    pub fn stored_bytes(&self) -> u64 {
        self.tensors.values().map(|tensor| tensor.stored_bytes() as u64).sum()
    }

    /// Numbers the model consists of.
    pub fn params(&self) -> u64 {
        self.tensors.values().map(|tensor| tensor.numel() as u64).sum()
    }

    /// How many of them are not zero.
    pub fn nonzero_params(&self) -> u64 {
        self.tensors.values().map(|tensor| tensor.nonzeros() as u64).sum()
    }
}
