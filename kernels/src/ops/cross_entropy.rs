//! Cross entropy of softmax.

use super::{Check, Window};
use crate::op::{OnDevice, operands};
use crate::{Cost, DType, DeviceId, Op, Result, View, ViewMut};

/// What the distribution is compared with.
#[derive(Clone, Copy, Debug)]
pub enum Target<'a> {
    /// \[M\], u32: the right class of each row. `u32::MAX` leaves the row out (loss 0, gradient 0).
    Class(View<'a>),
    /// [M, V], f32, last stride 1: a distribution per row, as a teacher gives.
    Distribution(View<'a>),
}

impl OnDevice for Target<'_> {
    fn device(&self) -> Option<DeviceId> {
        match self {
            Target::Class(view) | Target::Distribution(view) => Some(view.device()),
        }
    }
}

/// Cross entropy between a target and the softmax of `scale · logits`, per row, in nats.
///
/// lse\[m\] = log Σᵥ exp(scale·logits[m, v]),   loss\[m\] = Σᵥ target[m, v] · (lse\[m\] − scale·logits[m, v])
///
/// | argument | shape | dtype |
/// |---|---|---|
/// | `logits` | [M, V], last stride 1 | f32, bf16, f16 |
/// | `target` | classes \[M\] u32, or distributions [M, V] f32 | |
/// | `loss` | \[M\]; overwritten | f32 |
/// | `lse` | \[M\]; overwritten | f32, needed by `CrossEntropyBackward` |
///
/// `scale` is 1/T for distillation at temperature T. Precision: sums in f32. Cost: 6 flop per logit.
///
/// # Errors
/// `Shape`, `DType`, `Layout`; `Value` if `scale` is not finite; `Index` for a class ≥ V other than `u32::MAX`, from this call or
/// (asynchronous devices) from the next that waits.
///
/// # Source
/// Soft targets: Hinton, Vinyals, Dean, *Distilling the Knowledge in a Neural Network* (2015).
pub struct CrossEntropy<'a> {
    /// Unnormalized log-probabilities.
    pub logits: View<'a>,
    /// What they are compared with.
    pub target: Target<'a>,
    /// Factor of the logits.
    pub scale: f32,
    /// Loss of each row.
    pub loss: ViewMut<'a>,
    /// Log-sum-exp of each row.
    pub lse: ViewMut<'a>,
}

/// What forward and backward share. Returns (M, V).
pub(super) fn check_logits(check: Check, logits: &View<'_>, target: &Target<'_>, scale: f32) -> Result<(usize, usize)> {
    let [m, v] = check.dims("logits", logits, "[M, V]")?;
    check.float("logits", logits)?;
    check.last_dense("logits", logits)?;
    match target {
        Target::Class(class) => {
            check.shape("target", class, &[m])?;
            check.dtype("target", class, DType::U32)?;
        }
        Target::Distribution(distribution) => {
            check.shape("target", distribution, &[m, v])?;
            check.dtype("target", distribution, DType::F32)?;
            check.last_dense("target", distribution)?;
        }
    }
    check.finite("scale", scale)?;
    Ok((m, v))
}

/// Bytes of a target.
pub(super) fn target_bytes(target: &Target<'_>) -> u64 {
    match target {
        Target::Class(view) | Target::Distribution(view) => view.bytes(),
    }
}

impl Op for CrossEntropy<'_> {
    const NAME: &'static str = "cross_entropy";
    operands!(logits, target, loss, lse);

    fn check(&self) -> Result<()> {
        let check = Check(Self::NAME);
        let (m, _) = check_logits(check, &self.logits, &self.target, self.scale)?;
        for (arg, out) in [("loss", &self.loss), ("lse", &self.lse)] {
            check.shape(arg, out, &[m])?;
            check.dtype(arg, out, DType::F32)?;
            check.writable(arg, out)?;
        }
        Ok(())
    }

    fn cost(&self) -> Cost {
        let bytes = self.logits.bytes() + target_bytes(&self.target) + 2 * self.loss.bytes();
        Cost { flop: 6 * self.logits.numel() as u64, bytes }
    }

    fn dtype(&self) -> DType {
        self.logits.dtype()
    }
}
