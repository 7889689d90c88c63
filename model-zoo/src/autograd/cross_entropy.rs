//! Cross entropy of softmax per row; the log-sum-exp of each row is kept for the gradient.

use super::{Result, Tape, Var};
use kernels::ops::{self, CrossEntropy, CrossEntropyBackward};
use kernels::{DType, Op};

/// What the distribution is compared with. Gets no gradient.
#[derive(Clone, Copy, Debug)]
pub enum Target<'a> {
    /// \[M\], u32: the right class of each row; `u32::MAX` leaves the row out.
    Class(&'a Var),
    /// [M, V], f32: a distribution per row, as a teacher gives.
    Distribution(&'a Var),
}

/// A target that a closure owns.
enum Saved {
    Class(Var),
    Distribution(Var),
}

impl Saved {
    fn view(&self) -> kernels::Result<ops::Target<'_>> {
        Ok(match self {
            Saved::Class(var) => ops::Target::Class(var.view()?),
            Saved::Distribution(var) => ops::Target::Distribution(var.view()?),
        })
    }
}

impl Tape {
    /// Cross entropy of each row between `target` and the softmax of `scale` · `logits` [M, V]: \[M\], f32, in nats.
    ///
    /// A mean over all rows is [`Tape::mean`] of it; a weighted one, [`Tape::mul`] with a weight per row before.
    ///
    /// # Errors
    /// As [`CrossEntropy`]; `NotDifferentiable` if the target needs a gradient.
    pub fn cross_entropy(&mut self, logits: &Var, target: Target<'_>, scale: f32) -> Result<Var> {
        let saved = match target {
            Target::Class(var) => Saved::Class(var.clone()),
            Target::Distribution(var) => Saved::Distribution(var.clone()),
        };
        let m = logits.shape().first().copied().unwrap_or(0);
        let (mut loss, mut lse) = (self.output(DType::F32, [m])?, self.output(DType::F32, [m])?);
        CrossEntropy { logits: logits.view()?, target: saved.view()?, scale, loss: loss.view_mut()?, lse: lse.view_mut()? }
            .run(&**self.on())?;
        let (loss, lse) = (self.share(loss), self.share(lse));
        let (Target::Class(var) | Target::Distribution(var)) = target;
        let loss = self.record_without_gradient(CrossEntropy::NAME, "targets have no gradient", &[var], loss)?;
        let logits_saved = logits.clone();
        self.record(CrossEntropy::NAME, &[logits], loss, move |back, dloss| {
            let logits = logits_saved;
            let mut dlogits = back.output_for(&logits.input())?;
            CrossEntropyBackward {
                logits: logits.view()?,
                target: saved.view()?,
                scale,
                lse: lse.view()?,
                dloss: dloss.view()?,
                dlogits: dlogits.view_mut()?,
            }
            .run(back.on())?;
            back.give(&logits.input(), dlogits)
        })
    }
}
