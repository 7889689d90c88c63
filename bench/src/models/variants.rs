//! The ways from large to small that a run compares.

use kernels::weight::{Bits, QuantScheme, Values, Zero};
use kernels::{DType, Weight};
use model_zoo::Result;
use model_zoo::shrink::prune::{Pruning, prune};
use model_zoo::shrink::quantize::quantize;
use model_zoo::weights::{Tensor, Weights};

/// A way to store the weights of a trained model in less.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Variant {
    /// Weights and activations in bf16.
    Bf16,
    /// Integer codes.
    Quant(QuantScheme),
    /// Some weights left out.
    Pruned(Pruning),
}

/// Those measured: two widths of codes, two patterns of zeros.
pub const VARIANTS: [Variant; 5] = [
    Variant::Bf16,
    Variant::Quant(QuantScheme::per_channel(Bits::Int8)),
    Variant::Quant(QuantScheme { bits: Bits::Int4, group_size: 32, zero: Zero::Symmetric }),
    Variant::Pruned(Pruning::Unstructured { zeros: 0.5 }),
    Variant::Pruned(Pruning::TwoOfFour),
];

impl Variant {
    /// As the report names it.
    pub fn name(self) -> String {
        match self {
            Variant::Bf16 => "bf16".into(),
            Variant::Quant(scheme) if scheme.bits == Bits::Int8 => "int8".into(),
            Variant::Quant(_) => "int4".into(),
            Variant::Pruned(pruning) => pruning.to_string(),
        }
    }

    /// Type of the activations.
    pub fn dtype(self) -> DType {
        match self {
            Variant::Bf16 => DType::Bf16,
            Variant::Quant(_) | Variant::Pruned(_) => DType::F32,
        }
    }

    /// The smaller weights.
    ///
    /// # Errors
    /// If a weight is not finite.
    pub fn apply(self, weights: &Weights) -> Result<Weights> {
        match self {
            Variant::Bf16 => Ok(rounded(weights)),
            Variant::Quant(scheme) => weights.map(|_, weight| quantize(weight, scheme)),
            Variant::Pruned(pruning) => weights.map(|_, weight| prune(weight, pruning)),
        }
    }
}

/// Every tensor in bf16.
fn rounded(weights: &Weights) -> Weights {
    let round = |values: &Values| Values::from_f32(DType::Bf16, &values.to_f32()).unwrap_or_else(|| values.clone());
    let mut small = Weights::default();
    for (name, tensor) in weights.iter() {
        let tensor = match tensor {
            Tensor::Matrix(Weight::Dense { n, k, values }) => {
                Tensor::Matrix(Weight::Dense { n: *n, k: *k, values: round(values) })
            }
            Tensor::Matrix(other) => Tensor::Matrix(other.clone()),
            Tensor::Dense { shape, values } => Tensor::Dense { shape: shape.clone(), values: round(values) },
        };
        small.insert(name, tensor);
    }
    small
}
