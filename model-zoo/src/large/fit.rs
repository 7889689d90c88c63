//! Training the transformers: examples and losses for [`Trainer`].

use super::classifier::Classifier;
use super::gpt::{Gpt, Scored};
use crate::autograd::Target;
use crate::data::Examples;
use crate::params::{Params, Vars};
use crate::shrink::distill::Distillation;
use crate::train::fit::{FitConfig, Summary, Surroundings, Trainer};
use crate::train::optimizer::Rule;
use crate::train::precision::Precision;
use crate::train::regularize::Regularization;
use crate::train::schedule::Schedule;
use crate::weights::Weights;
use crate::{Error, Result};
use kernels::Backend;
use std::sync::Arc;

/// Settings that suit transformers: AdamW with β₂ = 0.95, warm-up over a twentieth of the steps, cosine to a tenth of the peak,
/// decay of 0.1 on matrices, gradients clipped at 1.
///
/// # Source
/// Brown et al., *Language Models are Few-Shot Learners* (2020), appendix B.
pub fn transformer_config(steps: u64, batch: usize, peak: f32, seed: u64) -> FitConfig {
    FitConfig {
        steps,
        batch,
        micro_batches: 1,
        seed,
        schedule: Schedule::WarmupCosine { peak, floor: 0.1 * peak, warmup_steps: steps.div_ceil(20), total_steps: steps },
        rule: Rule::Adamw { beta1: 0.9, beta2: 0.95, eps: 1e-8 },
        regularization: Regularization::matrices(0.1, 0.0),
        max_norm: Some(1.0),
        precision: Precision::F32,
        evaluate_every: 0,
        patience: None,
    }
}

/// What a classifier learns from beside its labels: the teacher's logits, `[rows, classes]`.
#[derive(Clone, Copy, Debug)]
pub struct Lessons<'a> {
    /// How much they count.
    pub distillation: Distillation,
    /// One row per example.
    pub logits: &'a [f32],
}

/// Trains a classifier from its initial weights (drawn from `config.seed`), or on from `start`.
///
/// # Errors
/// `Config` if lessons or labels do not fit the examples; those of [`Trainer::run`].
pub fn fit_classifier(
    on: &Arc<dyn Backend>,
    classifier: &Classifier,
    examples: &Examples,
    start: Option<&Weights>,
    lessons: Option<Lessons<'_>>,
    config: FitConfig,
    around: &mut Surroundings<'_>,
) -> Result<(Weights, Summary)> {
    let (rows, classes) = (examples.labels.len(), classifier.config().classes);
    if examples.inputs.len() != rows {
        return Err(Error::config("labels", format!("{rows} labels for {} examples", examples.inputs.len())));
    }
    if let Some(Lessons { distillation, logits }) = &lessons {
        distillation.check()?;
        if rows.checked_mul(classes) != Some(logits.len()) {
            return Err(Error::config("lessons", format!("{} logits for {rows} examples of {classes} classes", logits.len())));
        }
    }
    let dtype = config.precision.dtype();
    let mut trainer = trainer(on, classifier.plan(), start, rows, config)?;
    let summary = trainer.run(
        &mut |tape, vars, batch| {
            let labels: Vec<u32> = batch.examples.iter().map(|&example| examples.labels[example]).collect();
            let labels = tape.upload(&labels, [labels.len()])?;
            let inputs = classifier.batch(&examples.inputs, batch.examples)?;
            let Some(Lessons { distillation, logits }) = &lessons else {
                return classifier.loss(tape, vars, &inputs, Target::Class(&labels), 1.0, dtype);
            };
            let taught: Vec<f32> = batch
                .examples
                .iter()
                .flat_map(|&example| logits[example * classes..(example + 1) * classes].iter().copied())
                .collect();
            let taught = tape.upload(&taught, [batch.examples.len(), classes])?;
            let taught = distillation.soften(tape, &taught)?;
            let student = classifier.logits(tape, vars, &inputs, dtype)?;
            distillation.loss(tape, &student, &labels, &taught)
        },
        around,
    )?;
    Ok((trainer.into_params().export(on)?, summary))
}

/// A larger decoder that teaches a smaller one as it trains.
#[derive(Clone, Copy)]
pub struct Teacher<'a> {
    /// How much it counts.
    pub distillation: Distillation,
    /// The decoder.
    pub gpt: &'a Gpt,
    /// Its weights on the same device, packed in f32.
    pub vars: &'a Vars,
}

/// Trains a decoder on windows of `text`, as long as its context. Every epoch cuts the text at other places.
///
/// # Errors
/// `Config` for a text shorter than one window; those of [`Trainer::run`].
pub fn fit_gpt(
    on: &Arc<dyn Backend>,
    gpt: &Gpt,
    text: &[u8],
    start: Option<&Weights>,
    teacher: Option<Teacher<'_>>,
    config: FitConfig,
    around: &mut Surroundings<'_>,
) -> Result<(Weights, Summary)> {
    let context = gpt.config().transformer.context;
    // A window needs one byte more than it reads, and the cut may move by up to a window.
    let windows = (text.len() / context.max(1)).saturating_sub(2);
    if windows == 0 {
        return Err(Error::config("text", format!("{} bytes are too few for windows of {context}", text.len())));
    }
    if let Some(Teacher { distillation, .. }) = &teacher {
        distillation.check()?;
    }
    let mut trainer = trainer(on, gpt.plan(), start, windows, config)?;
    let summary = trainer.run(
        &mut |tape, vars, batch| {
            // A step that shares no factor with the context visits every cut before one comes again.
            let cut = batch.epoch as usize * 7919 % context;
            let places = || batch.examples.iter().flat_map(|&window| (0..context).map(move |t| window * context + cut + t));
            let tokens: Vec<u32> = places().map(|at| u32::from(text[at])).collect();
            let targets: Vec<u32> = places().map(|at| u32::from(text[at + 1])).collect();
            let Some(Teacher { distillation, gpt: larger, vars: larger_vars }) = &teacher else {
                return gpt.loss(tape, vars, &tokens, &targets, batch.examples.len());
            };
            let tokens = tape.upload(&tokens, [tokens.len()])?;
            let targets = tape.upload(&targets, [targets.len()])?;
            let taught = larger.logits(tape, larger_vars, &tokens, batch.examples.len(), Scored::All, None)?;
            let taught = distillation.soften(tape, &taught)?;
            let student = gpt.logits(tape, vars, &tokens, batch.examples.len(), Scored::All, None)?;
            distillation.loss(tape, &student, &targets, &taught)
        },
        around,
    )?;
    Ok((trainer.into_params().export(on)?, summary))
}

fn trainer(
    on: &Arc<dyn Backend>,
    plan: &crate::params::Plan,
    start: Option<&Weights>,
    examples: usize,
    config: FitConfig,
) -> Result<Trainer> {
    let params = match start {
        Some(weights) => Params::import(on, plan, weights)?,
        None => Params::init(on, plan, config.seed)?,
    };
    Trainer::new(on, params, examples, config)
}
