//! In which type a step computes.

use kernels::DType;
use serde::{Deserialize, Serialize};

/// Type of activations and products. The parameters that training changes, their gradients as the optimizer sees them, and the
/// optimizer's state are f32 in every case: an update below 2⁻⁸ of a weight would be lost in bf16.
///
/// bf16 has the exponent of f32, so that no gradient underflows that would not in f32: the loss is not scaled. (fp16, whose
/// smallest normal number is 6·10⁻⁵, needs that, and is not offered for training.)
///
/// # Source
/// Micikevicius et al., *Mixed Precision Training* (2018); Kalamkar et al., *A Study of BFLOAT16 for Deep Learning Training* (2019).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Precision {
    /// f32 throughout.
    #[default]
    F32,
    /// bf16, with sums in f32.
    Bf16,
}

impl Precision {
    /// Type the parameters are cast to on the tape.
    pub const fn dtype(self) -> DType {
        match self {
            Precision::F32 => DType::F32,
            Precision::Bf16 => DType::Bf16,
        }
    }
}
