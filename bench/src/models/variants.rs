//! The ways from large to small that a run compares.

use kernels::weight::{Bits, QuantScheme, Values, Zero};
use kernels::{DType, Weight};
use model_zoo::Result;
use model_zoo::large::blocks::TransformerConfig;
use model_zoo::large::units::prune_units;
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
    /// Whole heads and neurons left out: every matrix is smaller, and dense.
    PrunedUnits {
        /// Share of the heads and neurons of each block that go.
        percent: u8,
    },
}

/// Those measured: two widths of codes, two patterns of zeros, and smaller shapes.
pub const VARIANTS: [Variant; 6] = [
    Variant::Bf16,
    Variant::Quant(QuantScheme::per_channel(Bits::Int8)),
    Variant::Quant(QuantScheme { bits: Bits::Int4, group_size: 32, zero: Zero::Symmetric }),
    Variant::Pruned(Pruning::Unstructured { zeros: 0.5 }),
    Variant::Pruned(Pruning::TwoOfFour),
    Variant::PrunedUnits { percent: 25 },
];

impl Variant {
    /// As the report names it.
    pub fn name(self) -> String {
        match self {
            Variant::Bf16 => "bf16".into(),
            Variant::Quant(scheme) if scheme.bits == Bits::Int8 => "int8".into(),
            Variant::Quant(_) => "int4".into(),
            Variant::Pruned(pruning) => pruning.to_string(),
            Variant::PrunedUnits { percent } => format!("pruned-units-{percent}"),
        }
    }

    /// Type of the activations.
    pub fn dtype(self) -> DType {
        match self {
            Variant::Bf16 => DType::Bf16,
            Variant::Quant(_) | Variant::Pruned(_) | Variant::PrunedUnits { .. } => DType::F32,
        }
    }

    /// The smaller model: its shape and its weights.
    ///
    /// # Errors
    /// If a weight is not finite.
    pub fn apply(self, shape: &TransformerConfig, weights: &Weights) -> Result<(TransformerConfig, Weights)> {
        let weights = match self {
            Variant::Bf16 => rounded(weights),
            Variant::Quant(scheme) => weights.map(|_, weight| quantize(weight, scheme))?,
            Variant::Pruned(pruning) => weights.map(|_, weight| prune(weight, pruning))?,
            Variant::PrunedUnits { percent } => return prune_units(shape, weights, 1.0 - f64::from(percent) / 100.0),
        };
        Ok((shape.clone(), weights))
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
