//! The training loop: any model, any data, any backend.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use kernels::ops::Axpy;
use kernels::{Backend, Op};
use serde::{Deserialize, Serialize};

use super::checkpoint::{Checkpoints, Standing};
use super::optimizer::{Optimizer, Rule};
use super::order::Order;
use super::precision::Precision;
use super::regularize::Regularization;
use super::schedule::Schedule;
use crate::autograd::{Gradients, Tape, Var};
use crate::params::{Params, Vars};
use crate::weights::Weights;
use crate::{Error, Result};

/// What determines a run, bit for bit, beside the model, the data and the backend.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FitConfig {
    /// Steps in all.
    pub steps: u64,
    /// Examples of one step; the last step of an epoch takes what is left.
    pub batch: usize,
    /// Parts a batch is computed in, one after the other, to save memory; at least 1.
    pub micro_batches: usize,
    /// Order of the examples.
    pub seed: u64,
    /// Learning rate.
    pub schedule: Schedule,
    /// Rule of a step.
    pub rule: Rule,
    /// Penalties on weights.
    pub regularization: Regularization,
    /// Largest joint norm of the gradients; none for no limit.
    pub max_norm: Option<f32>,
    /// Type a step computes in.
    pub precision: Precision,
    /// Steps from one evaluation to the next; 0 for never. The last step is always evaluated, unless this is 0.
    pub evaluate_every: u64,
    /// Evaluations in a row without improvement after which the run ends, at least 1; none to go on. The best parameters are then restored.
    pub patience: Option<u32>,
}

impl FitConfig {
    /// Steps of an epoch over `examples` examples.
    pub fn steps_per_epoch(&self, examples: usize) -> u64 {
        examples.div_ceil(self.batch.max(1)) as u64
    }

    fn check(&self) -> Result<()> {
        self.schedule.check()?;
        if self.batch == 0 || self.micro_batches == 0 {
            return Err(Error::config("batch", "a step needs at least one example in at least one part"));
        }
        match self.max_norm {
            Some(norm) if norm.is_nan() || norm <= 0.0 => Err(Error::config("max_norm", format!("{norm} is not positive"))),
            _ => Ok(()),
        }
    }
}

/// The examples of one forward pass.
#[derive(Clone, Copy, Debug)]
pub struct Batch<'a> {
    /// The step, counted from 0.
    pub step: u64,
    /// The epoch, counted from 0.
    pub epoch: u64,
    /// Which examples; a function of seed, epoch and place.
    pub examples: &'a [usize],
}

/// What the callback learns after each step.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// Steps done.
    pub step: u64,
    /// Steps in all.
    pub steps: u64,
    /// Epoch of the step, counted from 0.
    pub epoch: u64,
    /// Mean loss over its examples, before the update.
    pub loss: f64,
    /// Joint norm of the gradients, before clipping.
    pub gradient_norm: f32,
    /// Learning rate.
    pub lr: f32,
    /// What the evaluation said, if there was one after this step.
    pub evaluation: Option<f64>,
    /// Time since [`Trainer::run`] was called.
    pub elapsed: Duration,
}

/// What surrounds a run without changing its numbers.
pub struct Surroundings<'a> {
    /// Called after each step.
    pub progress: &'a mut dyn FnMut(&Progress),
    /// Quality of the parameters on data not fitted to; smaller is better. Called as often as the configuration says.
    pub evaluate: Option<Evaluate<'a>>,
    /// Once true, the run ends after the current step.
    pub stop: &'a AtomicBool,
    /// The run ends after the step that exceeds it.
    pub time_budget: Option<Duration>,
    /// Where the run is saved, and how often.
    pub checkpoints: Option<CheckpointEvery>,
}

impl<'a> Surroundings<'a> {
    /// Nothing but a callback and a stop flag.
    pub fn new(progress: &'a mut dyn FnMut(&Progress), stop: &'a AtomicBool) -> Self {
        Self { progress, evaluate: None, stop, time_budget: None, checkpoints: None }
    }
}

/// An evaluation: runs the model on the tape with the given parameters.
pub type Evaluate<'a> = &'a mut dyn FnMut(&mut Tape, &Vars) -> Result<f64>;

/// Where and how often a run is saved. It is also saved when it ends.
#[derive(Clone, Debug)]
pub struct CheckpointEvery {
    /// The files of this run alone.
    pub directory: PathBuf,
    /// Steps from one checkpoint to the next; 0 for the end only.
    pub steps: u64,
}

/// Why a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// All steps are done.
    Finished,
    /// The evaluation has stopped improving.
    NoImprovement,
    /// The stop flag was set.
    Stopped,
    /// The time budget is used up.
    OutOfTime,
}

/// What a run did.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Summary {
    /// Why it ended.
    pub ended: Ended,
    /// Steps done since the start of the first run.
    pub steps: u64,
    /// Loss of the last step; none if no step was done.
    pub loss: Option<f64>,
    /// Best evaluation.
    pub best: Option<f64>,
}

/// Best evaluation so far, with its parameters.
#[derive(Debug)]
pub(super) struct Best {
    pub(super) value: f64,
    pub(super) step: u64,
    pub(super) weights: Weights,
}

/// A run of training: parameters, optimizer and position. The same configuration, seed, data and backend give the same bits,
/// whatever the number of threads and however often the run is saved and resumed.
pub struct Trainer {
    on: Arc<dyn Backend>,
    pub(super) config: FitConfig,
    pub(super) params: Params,
    pub(super) optimizer: Optimizer,
    pub(super) examples: usize,
    /// Steps done: with the configuration, also the position in the data.
    pub(super) step: u64,
    pub(super) last_loss: Option<f64>,
    pub(super) best: Option<Best>,
}

impl Trainer {
    /// A run over `examples` examples, at its start.
    ///
    /// # Errors
    /// `Config` for a configuration out of range or no examples; `Kernel(OutOfMemory)`.
    pub fn new(on: &Arc<dyn Backend>, params: Params, examples: usize, config: FitConfig) -> Result<Self> {
        config.check()?;
        if examples == 0 {
            return Err(Error::config("examples", "there are none to fit on"));
        }
        let optimizer = Optimizer::new(on.as_ref(), params.plan(), config.rule, &config.regularization)?;
        Ok(Self { on: Arc::clone(on), config, params, optimizer, examples, step: 0, last_loss: None, best: None })
    }

    /// The configuration.
    pub fn config(&self) -> &FitConfig {
        &self.config
    }

    /// The parameters as they are.
    pub fn params(&self) -> &Params {
        &self.params
    }

    /// The parameters, once the run is over.
    pub fn into_params(self) -> Params {
        self.params
    }

    /// The backend.
    pub fn on(&self) -> &Arc<dyn Backend> {
        &self.on
    }

    /// Takes the steps that are left. `loss` runs the model on the tape for a batch and returns the mean loss of its examples, one
    /// element.
    ///
    /// # Errors
    /// `Diverged` if a loss or gradient is not finite, before it touches the parameters; those of `loss` and of the evaluation;
    /// `Io` for checkpoints; `Kernel` from the device.
    pub fn run(
        &mut self,
        loss: &mut dyn FnMut(&mut Tape, &Vars, &Batch<'_>) -> Result<Var>,
        around: &mut Surroundings<'_>,
    ) -> Result<Summary> {
        let start = Instant::now();
        let mut tape = Tape::new(Arc::clone(&self.on));
        let mut reader = Tape::inference(Arc::clone(&self.on));
        let checkpoints = around.checkpoints.clone().map(|every| (Checkpoints::new(&every.directory), every.steps));
        let mut ended = Ended::Finished;
        while self.step < self.config.steps {
            let mut progress = self.step(&mut tape, loss)?;
            let is_last = self.step == self.config.steps;
            let every = self.config.evaluate_every;
            if let Some(evaluate) = around.evaluate.as_mut().filter(|_| every > 0 && (is_last || self.step.is_multiple_of(every)))
            {
                let vars = self.params.record(&mut reader, self.config.precision.dtype())?;
                let value = evaluate(&mut reader, &vars)?;
                progress.evaluation = Some(value);
                self.remember(value)?;
            }
            progress.elapsed = start.elapsed();
            (around.progress)(&progress);
            ended = match () {
                () if is_last => Ended::Finished,
                () if self.is_stale() => Ended::NoImprovement,
                () if around.stop.load(Ordering::Relaxed) => Ended::Stopped,
                () if around.time_budget.is_some_and(|budget| start.elapsed() >= budget) => Ended::OutOfTime,
                () => {
                    let is_due = |(_, steps): &&(Checkpoints, u64)| *steps > 0 && self.step.is_multiple_of(*steps);
                    if let Some((files, _)) = checkpoints.as_ref().filter(is_due) {
                        files.save(&Standing::of(self)?)?;
                    }
                    continue;
                }
            };
            break;
        }
        if let Some((files, _)) = &checkpoints {
            files.save(&Standing::of(self)?)?;
        }
        let is_over = matches!(ended, Ended::Finished | Ended::NoImprovement);
        if let Some(best) = self.best.as_ref().filter(|_| is_over && self.config.patience.is_some()) {
            self.params = Params::import(&self.on, self.params.plan(), &best.weights)?;
        }
        let best = self.best.as_ref().map(|best| best.value);
        Ok(Summary { ended, steps: self.step, loss: self.last_loss, best })
    }

    /// One step: forward and backward per part of the batch, clip, update.
    fn step(&mut self, tape: &mut Tape, loss: &mut dyn FnMut(&mut Tape, &Vars, &Batch<'_>) -> Result<Var>) -> Result<Progress> {
        let step = self.step;
        let per_epoch = self.config.steps_per_epoch(self.examples);
        let (epoch, first) = (step / per_epoch, (step % per_epoch) as usize * self.config.batch);
        let order = Order::new(self.config.seed, self.examples);
        let last = (first + self.config.batch).min(self.examples);
        let chosen: Vec<usize> = (first..last).map(|index| order.example(epoch, index)).collect();
        let part = chosen.len().div_ceil(self.config.micro_batches);

        let mut sum: Option<(Gradients, Vec<bool>)> = None;
        let mut mean = 0f64;
        for examples in chosen.chunks(part) {
            let share = examples.len() as f64 / chosen.len() as f64;
            let vars = self.params.record(tape, self.config.precision.dtype())?;
            let mut value = loss(tape, &vars, &Batch { step, epoch, examples })?;
            mean += share * self.finite("loss", f64::from(self.fetch(tape, &value)?))?;
            if share < 1.0 {
                value = tape.scale(&value, share as f32)?;
            }
            let gradients = tape.backward(&value)?;
            let reached = self.params.ids().map(|id| vars.gradient(&gradients, id).is_some()).collect();
            sum = Some(match sum {
                None => (gradients, reached),
                Some(sum) => self.accumulate(tape, sum, (gradients, reached))?,
            });
        }
        let Some((mut gradients, reached)) = sum else {
            return Err(Error::config("batch", "a step without examples"));
        };
        let max_norm = self.config.max_norm.unwrap_or(f32::INFINITY);
        let norm = self.optimizer.clip(self.on.as_ref(), &mut gradients, max_norm)?;
        self.finite("norm of the gradients", f64::from(norm))?;
        let lr = self.config.schedule.lr(step);
        self.optimizer.step(self.on.as_ref(), &mut self.params, &reached, &gradients, lr, step)?;
        tape.recycle(gradients);
        self.step = step + 1;
        self.last_loss = Some(mean);
        let elapsed = Duration::ZERO;
        Ok(Progress {
            step: self.step,
            steps: self.config.steps,
            epoch,
            loss: mean,
            gradient_norm: norm,
            lr,
            evaluation: None,
            elapsed,
        })
    }

    fn fetch(&self, tape: &Tape, value: &Var) -> Result<f32> {
        match tape.download::<f32>(value)?[..] {
            [value] => Ok(value),
            _ => Err(Error::config("loss", format!("one element is needed, got {}", value.shape()))),
        }
    }

    fn finite(&self, what: &'static str, value: f64) -> Result<f64> {
        match value.is_finite() {
            true => Ok(value),
            false => Err(Error::Diverged { step: self.step, what, value, last_good_loss: self.last_loss }),
        }
    }

    /// Adds the gradients of a further part of the batch to `sum`.
    fn accumulate(
        &self,
        tape: &mut Tape,
        mut sum: (Gradients, Vec<bool>),
        part: (Gradients, Vec<bool>),
    ) -> Result<(Gradients, Vec<bool>)> {
        if sum.1 != part.1 {
            return Err(Error::config("micro_batches", "the parts of a batch do not reach the same parameters"));
        }
        for (sum, part) in sum.0.iter_mut().zip(part.0.iter()) {
            Axpy { alpha: 1.0, x: part.view()?, out: sum.view_mut()? }.run(self.on.as_ref())?;
        }
        tape.recycle(part.0);
        Ok(sum)
    }

    /// Keeps the parameters if `value` is the best so far. NaN never is.
    fn remember(&mut self, value: f64) -> Result<()> {
        if !value.is_nan() && self.best.as_ref().is_none_or(|best| value < best.value) {
            let weights = match self.config.patience {
                Some(_) => self.params.export(&self.on)?,
                None => Weights::default(),
            };
            self.best = Some(Best { value, step: self.step, weights });
        }
        Ok(())
    }

    /// Whether the evaluation has not improved for as long as the patience lasts.
    fn is_stale(&self) -> bool {
        let (Some(patience), every) = (self.config.patience, self.config.evaluate_every) else {
            return false;
        };
        let since = self.step - self.best.as_ref().map_or(0, |best| best.step);
        every > 0 && since / every >= u64::from(patience.max(1))
    }
}
