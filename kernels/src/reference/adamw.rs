//! Reference of [`AdamW`](crate::ops::AdamW).

use super::sgd::sign;

/// Rates of a step.
#[derive(Clone, Copy, Debug)]
pub struct AdamWRates {
    /// Learning rate.
    pub lr: f64,
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Added to the root of the second moment.
    pub eps: f64,
    /// Decoupled L2.
    pub weight_decay: f64,
    /// Decoupled L1.
    pub l1: f64,
    /// Number of the step, from 1.
    pub step: u32,
}

/// One element.
pub fn adamw(rates: AdamWRates, grad: f64, param: &mut f64, m: &mut f64, v: &mut f64) {
    *m = rates.beta1 * *m + (1.0 - rates.beta1) * grad;
    *v = rates.beta2 * *v + (1.0 - rates.beta2) * grad * grad;
    let step = f64::from(rates.step);
    let (m_hat, v_hat) = (*m / (1.0 - rates.beta1.powf(step)), *v / (1.0 - rates.beta2.powf(step)));
    *param -= rates.lr * (m_hat / (v_hat.sqrt() + rates.eps) + rates.weight_decay * *param + rates.l1 * sign(*param));
}
