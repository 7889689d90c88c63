//! Reference of [`Sgd`](crate::ops::Sgd).

use crate::ops::Momentum;

/// Rates of a step.
#[derive(Clone, Copy, Debug)]
pub struct SgdRates {
    /// Learning rate.
    pub lr: f64,
    /// Decay of the velocity.
    pub momentum: f64,
    /// How the velocity enters.
    pub form: Momentum,
    /// Weight of ½·param².
    pub l2: f64,
    /// Weight of |param|.
    pub l1: f64,
}

/// −1, 0 or 1; NaN for NaN.
pub fn sign(x: f64) -> f64 {
    if x == 0.0 { 0.0 } else { x.signum() }
}

/// One element; `velocity` is `None` for an op without one.
pub fn sgd(rates: SgdRates, grad: f64, param: &mut f64, velocity: Option<&mut f64>) {
    let g = grad + rates.l2 * *param + rates.l1 * sign(*param);
    let step = match velocity {
        None => g,
        Some(velocity) => {
            *velocity = rates.momentum * *velocity + g;
            match rates.form {
                Momentum::Heavy => *velocity,
                Momentum::Nesterov => g + rates.momentum * *velocity,
            }
        }
    };
    *param -= rates.lr * step;
}
