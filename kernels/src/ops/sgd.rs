//! Stochastic gradient descent.

use super::{Check, Window, bytes_of};
use crate::op::operands;
use crate::{Cost, DType, Op, Result, View, ViewMut};

/// How the velocity enters the step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Momentum {
    /// param −= lr · velocity.
    Heavy,
    /// param −= lr · (g + momentum · velocity).
    Nesterov,
}

/// One step of gradient descent with momentum, L2 and L1, in place.
///
/// g = grad + l2·param + l1·sign(param);  velocity = momentum·velocity + g;  param −= lr·velocity   (or Nesterov's form)
///
/// | argument | shape | dtype |
/// |---|---|---|
/// | `param` | any, any strides; read and written | f32 |
/// | `grad` | as `param`, any strides | f32, bf16, f16 |
/// | `velocity` | as `param`, optional; read and written | f32 |
///
/// Without `velocity`, `momentum` is not used and param −= lr·g. sign(0) = 0. Cost: 8 flop per element.
///
/// # Errors
/// `Shape`, `DType`, `Layout`; `Value` if a rate is not finite or negative.
///
/// # Source
/// Sutskever et al., *On the importance of initialization and momentum* (2013), in PyTorch's form.
pub struct Sgd<'a> {
    /// Parameters.
    pub param: ViewMut<'a>,
    /// Their gradient.
    pub grad: View<'a>,
    /// Running sum of gradients.
    pub velocity: Option<ViewMut<'a>>,
    /// Learning rate.
    pub lr: f32,
    /// Decay of the velocity.
    pub momentum: f32,
    /// How the velocity enters.
    pub form: Momentum,
    /// Weight of ½·param².
    pub l2: f32,
    /// Weight of |param|.
    pub l1: f32,
}

/// Rates are finite and not negative.
pub(super) fn check_rates(check: Check, rates: &[(&'static str, f32)]) -> Result<()> {
    rates.iter().try_for_each(|&(arg, rate)| check.value(arg, rate.is_finite() && rate >= 0.0, "finite and not negative", rate))
}

/// Parameters, gradient and state have one shape; state is f32.
pub(super) fn check_states(
    check: Check,
    param: &ViewMut<'_>,
    grad: &View<'_>,
    states: &[(&'static str, &ViewMut<'_>)],
) -> Result<()> {
    check.dtype("param", param, DType::F32)?;
    check.writable("param", param)?;
    check.shape("grad", grad, param.shape())?;
    check.float("grad", grad)?;
    for &(arg, state) in states {
        check.shape(arg, state, param.shape())?;
        check.dtype(arg, state, DType::F32)?;
        check.writable(arg, state)?;
    }
    Ok(())
}

impl Op for Sgd<'_> {
    const NAME: &'static str = "sgd";
    operands!(param, grad, velocity);

    fn check(&self) -> Result<()> {
        let check = Check(Self::NAME);
        check_rates(check, &[("lr", self.lr), ("momentum", self.momentum), ("l2", self.l2), ("l1", self.l1)])?;
        match &self.velocity {
            Some(velocity) => check_states(check, &self.param, &self.grad, &[("velocity", velocity)]),
            None => check_states(check, &self.param, &self.grad, &[]),
        }
    }

    fn cost(&self) -> Cost {
        let bytes = 2 * self.param.bytes() + self.grad.bytes() + 2 * bytes_of(&self.velocity);
        Cost { flop: 8 * self.param.numel() as u64, bytes }
    }

    fn dtype(&self) -> DType {
        self.grad.dtype()
    }
}
