//! Knowledge distillation: a student learns from a teacher's distributions beside the labels.

use crate::autograd::{Tape, Target, Var};
use crate::{Error, Result};
use kernels::ops::UnaryOp;
use serde::{Deserialize, Serialize};

/// How much a student listens to its teacher.
///
/// loss = (1 − share) · CE(labels, student) + share · T² · CE(softmax(teacher / T), softmax(student / T))
///
/// The factor T² keeps the size of the second gradient whatever the temperature. CE and KL differ by the teacher's entropy, which
/// the student cannot change.
///
/// # Source
/// Hinton, Vinyals, Dean, *Distilling the Knowledge in a Neural Network* (2015), section 2.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Distillation {
    /// Temperature T: above 1 the teacher's second choices count more.
    pub temperature: f32,
    /// Share of the loss that comes from the teacher, 0..=1.
    pub share: f32,
}

impl Default for Distillation {
    /// T = 2, nine tenths from the teacher.
    fn default() -> Self {
        Distillation { temperature: 2.0, share: 0.9 }
    }
}

impl Distillation {
    /// Parameters are in range.
    ///
    /// # Errors
    /// `Config` for a temperature that is not positive and finite, or a share outside 0..=1.
    pub fn check(&self) -> Result<()> {
        if !(self.temperature.is_finite() && self.temperature > 0.0) {
            return Err(Error::config("temperature", format!("{} is not positive and finite", self.temperature)));
        }
        match (0.0..=1.0).contains(&self.share) {
            true => Ok(()),
            false => Err(Error::config("share", format!("{} is not within 0..=1", self.share))),
        }
    }

    /// The teacher's distributions [M, V] at the temperature, from its logits [M, V], f32.
    ///
    /// # Errors
    /// What the kernels report.
    pub fn soften(&self, tape: &mut Tape, teacher_logits: &Var) -> Result<Var> {
        let scaled = tape.unary(UnaryOp::Affine { scale: self.temperature.recip(), shift: 0.0 }, teacher_logits)?;
        Ok(tape.softmax(&scaled)?)
    }

    /// Mean loss of a batch: `logits` [M, V] of the student, `labels` \[M\] u32, `teacher` [M, V] f32 from [`Distillation::soften`].
    /// With share 0 it is the plain loss, bit for bit.
    ///
    /// # Errors
    /// What the kernels report.
    pub fn loss(&self, tape: &mut Tape, logits: &Var, labels: &Var, teacher: &Var) -> Result<Var> {
        let hard = match self.share {
            1.0 => None,
            _ => {
                let rows = tape.cross_entropy(logits, Target::Class(labels), 1.0)?;
                Some(tape.mean(&rows)?)
            }
        };
        if self.share == 0.0
            && let Some(hard) = hard
        {
            return Ok(hard);
        }
        let rows = tape.cross_entropy(logits, Target::Distribution(teacher), self.temperature.recip())?;
        let soft = tape.mean(&rows)?;
        let soft = tape.scale(&soft, self.share * self.temperature * self.temperature)?;
        match hard {
            Some(hard) => {
                let hard = tape.scale(&hard, 1.0 - self.share)?;
                Ok(tape.add(&hard, &soft)?)
            }
            None => Ok(soft),
        }
    }
}
