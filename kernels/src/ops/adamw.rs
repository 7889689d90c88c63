//! Adam with decoupled weight decay.

use super::sgd::{check_rates, check_states};
use super::{Check, Window};
use crate::op::operands;
use crate::{Cost, DType, Op, Result, View, ViewMut};

/// One step of AdamW, in place.
///
/// m = β₁·m + (1 − β₁)·grad;  v = β₂·v + (1 − β₂)·grad²;
/// param −= lr·( (m / (1 − β₁ᵗ)) / (√(v / (1 − β₂ᵗ)) + eps) + weight_decay·param + l1·sign(param) )
///
/// | argument | shape | dtype |
/// |---|---|---|
/// | `param`, `m`, `v` | any, any strides; read and written | f32 |
/// | `grad` | as `param`, any strides | f32, bf16, f16 |
///
/// The bias corrections are computed in f64 and rounded to f32. sign(0) = 0. Cost: 16 flop per element.
///
/// # Errors
/// `Shape`, `DType`, `Layout`; `Value` if a rate is not finite or negative, β₁ or β₂ ≥ 1, or `step` = 0.
///
/// # Source
/// Loshchilov, Hutter, *Decoupled Weight Decay Regularization* (2019), algorithm 2; L1 decoupled in the same way.
pub struct AdamW<'a> {
    /// Parameters.
    pub param: ViewMut<'a>,
    /// Their gradient.
    pub grad: View<'a>,
    /// First moment.
    pub m: ViewMut<'a>,
    /// Second moment.
    pub v: ViewMut<'a>,
    /// Learning rate.
    pub lr: f32,
    /// Decay of the first moment.
    pub beta1: f32,
    /// Decay of the second moment.
    pub beta2: f32,
    /// Added to the root of the second moment.
    pub eps: f32,
    /// Decoupled L2.
    pub weight_decay: f32,
    /// Decoupled L1.
    pub l1: f32,
    /// Number of this step, from 1.
    pub step: u32,
}

impl Op for AdamW<'_> {
    const NAME: &'static str = "adamw";
    operands!(param, grad, m, v);

    fn check(&self) -> Result<()> {
        let check = Check(Self::NAME);
        let rates = [
            ("lr", self.lr),
            ("beta1", self.beta1),
            ("beta2", self.beta2),
            ("eps", self.eps),
            ("weight_decay", self.weight_decay),
            ("l1", self.l1),
        ];
        check_rates(check, &rates)?;
        check.value("beta1", self.beta1 < 1.0, "below 1", self.beta1)?;
        check.value("beta2", self.beta2 < 1.0, "below 1", self.beta2)?;
        check.value("step", self.step > 0, "at least 1", self.step)?;
        check_states(check, &self.param, &self.grad, &[("m", &self.m), ("v", &self.v)])
    }

    fn cost(&self) -> Cost {
        Cost { flop: 16 * self.param.numel() as u64, bytes: 6 * self.param.bytes() + self.grad.bytes() }
    }

    fn dtype(&self) -> DType {
        self.grad.dtype()
    }
}
