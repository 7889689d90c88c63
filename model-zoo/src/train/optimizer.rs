//! From gradients to new parameters, on the device.

use kernels::ops::{AdamW, ClipNorm, Download, Momentum, Sgd};
use kernels::{Backend, Buffer, DType, Op, ViewMut};
use serde::{Deserialize, Serialize};

use super::regularize::{Penalty, Regularization};
use crate::autograd::{Gradients, Output};
use crate::params::{ParamId, Params, Plan};
use crate::{Error, Result};

/// The rule of a step.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Rule {
    /// Gradient descent; with momentum in heavy-ball form.
    Sgd {
        /// Decay of the velocity; 0 for none.
        momentum: f32,
    },
    /// Gradient descent with Nesterov's momentum.
    Nesterov {
        /// Decay of the velocity.
        momentum: f32,
    },
    /// Adam with decoupled weight decay.
    Adamw {
        /// Decay of the first moment.
        beta1: f32,
        /// Decay of the second moment.
        beta2: f32,
        /// Added to the root of the second moment.
        eps: f32,
    },
}

impl Rule {
    /// AdamW as usual: β = (0.9, 0.999), eps = 10⁻⁸.
    pub const ADAMW: Rule = Rule::Adamw { beta1: 0.9, beta2: 0.999, eps: 1e-8 };

    /// What is remembered of each parameter, by name.
    pub(super) fn states(self) -> &'static [&'static str] {
        match self {
            Rule::Sgd { momentum: 0.0 } => &[],
            Rule::Sgd { .. } | Rule::Nesterov { .. } => &["velocity"],
            Rule::Adamw { .. } => &["m", "v"],
        }
    }

    pub(super) fn check(self) -> Result<()> {
        let rates = match self {
            Rule::Sgd { momentum } | Rule::Nesterov { momentum } => [("momentum", momentum, 1.0), ("momentum", momentum, 1.0)],
            Rule::Adamw { beta1, beta2, .. } => [("beta1", beta1, 1.0), ("beta2", beta2, 1.0)],
        };
        let bad = rates.iter().find(|(_, rate, limit)| !(0.0..*limit).contains(rate));
        bad.map_or(Ok(()), |(name, rate, _)| Err(Error::config(name, format!("{rate} is not from 0 to below 1"))))
    }
}

/// Changes parameters by their gradients. Its memory is taken once; a step takes none from the device.
#[derive(Debug)]
pub struct Optimizer {
    rule: Rule,
    penalties: Vec<Penalty>,
    /// Per parameter, in the order of [`Rule::states`]; f32, shaped as the parameter.
    states: Vec<Vec<Buffer>>,
    norm: Buffer,
}

impl Optimizer {
    /// An optimizer of the parameters of `plan`, at rest.
    ///
    /// # Errors
    /// `Config` for a rate or penalty out of range; `Kernel(OutOfMemory)`.
    pub fn new(on: &dyn Backend, plan: &Plan, rule: Rule, regularization: &Regularization) -> Result<Self> {
        rule.check()?;
        regularization.check()?;
        let mut states = Vec::with_capacity(plan.iter().len());
        for (_, declared) in plan.iter() {
            let len = declared.shape.numel()?;
            states.push(rule.states().iter().map(|_| on.alloc(DType::F32, len)).collect::<kernels::Result<Vec<_>>>()?);
        }
        let penalties = plan.iter().map(|(_, declared)| regularization.of(declared.role)).collect();
        Ok(Self { rule, penalties, states, norm: on.alloc(DType::F32, 1)? })
    }

    /// Scales `gradients` so that their joint norm is at most `max_norm` (∞ for no limit), and returns the norm before. Waits for
    /// the device. A norm that is not finite leaves the gradients as they are.
    ///
    /// # Errors
    /// `Kernel` from the device, or if `max_norm` is not positive.
    pub fn clip(&mut self, on: &dyn Backend, gradients: &mut Gradients, max_norm: f32) -> Result<f32> {
        let mut grads = gradients.iter_mut().map(Output::view_mut).collect::<crate::autograd::Result<Vec<_>>>()?;
        ClipNorm { grads: &mut grads, max_norm, norm: self.norm.view_mut([1])? }.run(on)?;
        let mut norm = [0f32];
        Download::new(self.norm.view([1])?, &mut norm).run(on)?;
        Ok(norm[0])
    }

    /// One step. `reached` says which parameters have a gradient, in the order of the plan; `gradients` holds those, in the same
    /// order. A parameter without one stays as it is, its penalties included. `step` counts from 0.
    ///
    /// # Errors
    /// `Config` if gradients and parameters do not match; `Tape(Held)` while a variable holds a parameter; `Kernel` from the device.
    pub fn step(
        &mut self,
        on: &dyn Backend,
        params: &mut Params,
        reached: &[bool],
        gradients: &Gradients,
        lr: f32,
        step: u64,
    ) -> Result<()> {
        let mut gradients = gradients.iter();
        for (id, _) in params.ids().zip(reached).filter(|(_, reached)| **reached) {
            let at = id.index();
            let (Some(gradient), Some(states), Some(&penalty)) =
                (gradients.next(), self.states.get_mut(at), self.penalties.get(at))
            else {
                return Err(Error::config("gradients", "there are fewer gradients than parameters reached"));
            };
            let param = params.get_mut(id)?;
            let shape = *param.shape();
            let mut states = states.iter_mut().map(|state| state.view_mut(shape));
            let (first, second) = (states.next().transpose()?, states.next().transpose()?);
            update(on, self.rule, param, gradient, [first, second], penalty, lr, step)?;
        }
        match gradients.next() {
            None => Ok(()),
            Some(_) => Err(Error::config("gradients", "there are more gradients than parameters reached")),
        }
    }

    /// What is remembered of a parameter, by name.
    pub(super) fn state(&self, id: ParamId) -> impl Iterator<Item = (&'static str, &Buffer)> {
        self.rule.states().iter().copied().zip(self.states.get(id.index()).into_iter().flatten())
    }

    /// As [`Optimizer::state`], to write.
    pub(super) fn state_mut(&mut self, id: ParamId) -> &mut [Buffer] {
        self.states.get_mut(id.index()).map_or(&mut [], Vec::as_mut_slice)
    }
}

#[expect(clippy::too_many_arguments, reason = "the operands of one kernel")]
fn update(
    on: &dyn Backend,
    rule: Rule,
    param: ViewMut<'_>,
    gradient: &Output,
    states: [Option<ViewMut<'_>>; 2],
    penalty: Penalty,
    lr: f32,
    step: u64,
) -> Result<()> {
    let grad = gradient.view()?;
    let [first, second] = states;
    let sgd = |param, velocity, momentum, form| {
        Sgd { param, grad, velocity, lr, momentum, form, l2: penalty.l2, l1: penalty.l1 }.run(on)
    };
    match (rule, first, second) {
        (Rule::Sgd { momentum }, velocity, _) => sgd(param, velocity, momentum, Momentum::Heavy)?,
        (Rule::Nesterov { momentum }, velocity, _) => sgd(param, velocity, momentum, Momentum::Nesterov)?,
        (Rule::Adamw { beta1, beta2, eps }, Some(m), Some(v)) => {
            // The bias corrections are 1 long before the counter of the kernel ends.
            let step = u32::try_from(step + 1).unwrap_or(u32::MAX);
            let (weight_decay, l1) = (penalty.l2, penalty.l1);
            AdamW { param, grad, m, v, lr, beta1, beta2, eps, weight_decay, l1, step }.run(on)?;
        }
        (Rule::Adamw { .. }, ..) => return Err(Error::config("rule", "AdamW needs two moments")),
    }
    Ok(())
}
