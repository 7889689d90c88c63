//! Clipping of gradients by their global norm.

use super::{Check, Window};
use crate::op::OnDevice;
use crate::{Cost, DType, DeviceId, Op, Result, ViewMut};

/// Scales all gradients so that their joint Euclidean norm is at most `max_norm`.
///
/// norm = √(Σ_tensors Σᵢ grad\[i\]²);   grad *= min(1, max_norm / norm)
///
/// | argument | shape | dtype |
/// |---|---|---|
/// | `grads` | each any, any strides; read and written | f32, bf16, f16, the same for all |
/// | `norm` | \[1\]; overwritten with the norm before clipping | f32 |
///
/// A norm that is not finite leaves the gradients as they are, so that the caller can see it in `norm` and skip the step.
/// `max_norm = ∞` clips nothing. Sums in f32 blocks joined in f64, in a fixed order. Cost: 3 flop per element.
///
/// # Errors
/// `Shape`, `DType`, `Layout`; `Value` if `max_norm` is NaN or not positive.
///
/// # Source
/// Pascanu, Mikolov, Bengio, *On the difficulty of training recurrent neural networks* (2013).
pub struct ClipNorm<'a> {
    /// Gradients of all parameters.
    pub grads: &'a mut [ViewMut<'a>],
    /// Largest norm allowed.
    pub max_norm: f32,
    /// The norm found.
    pub norm: ViewMut<'a>,
}

impl Op for ClipNorm<'_> {
    const NAME: &'static str = "clip_norm";

    fn operands(&self, see: &mut dyn FnMut(&'static str, Option<DeviceId>)) {
        for grad in self.grads.iter() {
            see("grads", OnDevice::device(grad));
        }
        see("norm", OnDevice::device(&self.norm));
    }

    fn check(&self) -> Result<()> {
        let check = Check(Self::NAME);
        check.value("max_norm", self.max_norm > 0.0, "positive", self.max_norm)?;
        for grad in self.grads.iter() {
            check.float("grads", grad)?;
            check.dtype("grads", grad, self.dtype())?;
            check.writable("grads", grad)?;
        }
        check.shape("norm", &self.norm, &[1])?;
        check.dtype("norm", &self.norm, DType::F32)
    }

    fn cost(&self) -> Cost {
        let elements: u64 = self.grads.iter().map(|grad| grad.numel() as u64).sum();
        let bytes: u64 = self.grads.iter().map(|grad| grad.bytes()).sum();
        Cost { flop: 3 * elements, bytes: 3 * bytes }
    }

    fn dtype(&self) -> DType {
        self.grads.first().map_or(DType::F32, |grad| grad.dtype())
    }
}
