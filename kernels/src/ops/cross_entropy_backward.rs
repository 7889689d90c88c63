//! Gradient of cross entropy.

use super::cross_entropy::{check_logits, target_bytes};
use super::{Check, Target, Window};
use crate::op::operands;
use crate::{Cost, DType, Op, Result, View, ViewMut};

/// Gradient of [`CrossEntropy`](super::CrossEntropy) with respect to the logits.
///
/// dlogits[m, v] = dloss\[m\] · scale · (exp(scale·logits[m, v] − lse\[m\]) · Σᵤ target[m, u] − target[m, v])
///
/// | argument | shape | dtype |
/// |---|---|---|
/// | `logits` | [M, V], last stride 1 | f32, bf16, f16 |
/// | `target` | as given to the forward op | |
/// | `lse` | \[M\] from the forward op | f32 |
/// | `dloss` | \[M\] (broadcast one value by stride 0) | f32 |
/// | `dlogits` | [M, V], last stride 1; overwritten | as `logits` |
///
/// Rows left out (class `u32::MAX`) get zeros. Cost: 6 flop per logit.
///
/// # Errors
/// As the forward op.
pub struct CrossEntropyBackward<'a> {
    /// Unnormalized log-probabilities.
    pub logits: View<'a>,
    /// What they are compared with.
    pub target: Target<'a>,
    /// Factor of the logits.
    pub scale: f32,
    /// Log-sum-exp of each row.
    pub lse: View<'a>,
    /// Gradient of the loss of each row.
    pub dloss: View<'a>,
    /// Gradient of the logits.
    pub dlogits: ViewMut<'a>,
}

impl Op for CrossEntropyBackward<'_> {
    const NAME: &'static str = "cross_entropy_backward";
    operands!(logits, target, lse, dloss, dlogits);

    fn check(&self) -> Result<()> {
        let check = Check(Self::NAME);
        let (m, v) = check_logits(check, &self.logits, &self.target, self.scale)?;
        for (arg, row) in [("lse", &self.lse), ("dloss", &self.dloss)] {
            check.shape(arg, row, &[m])?;
            check.dtype(arg, row, DType::F32)?;
        }
        check.shape("dlogits", &self.dlogits, &[m, v])?;
        check.dtype("dlogits", &self.dlogits, self.logits.dtype())?;
        check.last_dense("dlogits", &self.dlogits)?;
        check.writable("dlogits", &self.dlogits)
    }

    fn cost(&self) -> Cost {
        let bytes = 2 * self.logits.bytes() + target_bytes(&self.target) + 2 * self.lse.bytes();
        Cost { flop: 6 * self.logits.numel() as u64, bytes }
    }

    fn dtype(&self) -> DType {
        self.logits.dtype()
    }
}
