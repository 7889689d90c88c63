//! A small multilayer perceptron: fully connected layers on standardized columns.

use std::sync::Arc;

use kernels::ops::Act;
use kernels::{Backend, DType};
use serde::{Deserialize, Serialize};

use super::features::TextFeaturesConfig;
use super::linear::softmax;
use super::reader::Reader;
use super::rows::Rows;
use super::softmax_loss::Targets;
use crate::autograd::{Tape, Target, Var};
use crate::container::{Container, Header};
use crate::data::{Inputs, Standardizer};
use crate::model::{Classify, Describe, Scale, Store};
use crate::params::{Init, ParamId, Params, Plan, Role, Vars};
use crate::random::Random;
use crate::train::fit::{FitConfig, Summary, Surroundings, Trainer};
use crate::train::optimizer::Rule;
use crate::train::precision::Precision;
use crate::train::regularize::Regularization;
use crate::train::schedule::Schedule;
use crate::weights::Weights;
use crate::{Error, Result};

const FAMILY: &str = "mlp";
/// Rows that go through the network together at prediction.
const BLOCK_ROWS: usize = 256;
/// Stream of the seed that chooses the validation rows; the streams from 0 on draw the weights.
const VALIDATION_STREAM: u64 = u64::MAX;

/// What stands between two layers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Activation {
    /// max(x, 0).
    #[default]
    Relu,
    /// GELU in the tanh form.
    Gelu,
}

impl Activation {
    fn act(self) -> Act {
        match self {
            Activation::Relu => Act::Relu,
            Activation::Gelu => Act::Gelu,
        }
    }
}

/// Settings of an MLP.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MlpConfig {
    /// Widths of the hidden layers, the first one first.
    pub hidden: Vec<usize>,
    /// What stands between the layers.
    pub activation: Activation,
    /// Passes over the rows at most.
    pub epochs: u32,
    /// Rows of a step.
    pub batch: usize,
    /// Largest learning rate; it falls along a cosine to a hundredth.
    pub lr: f32,
    /// Decoupled decay of the matrices.
    pub weight_decay: f32,
    /// Share of the rows that is kept for validation; 0 for none.
    pub validation: f64,
    /// Epochs without a better validation loss after which the fit ends with the best weights.
    pub patience: u32,
    /// Type a step computes in.
    pub precision: Precision,
    /// The same seed gives the same bits on one backend, whatever the number of threads.
    pub seed: u64,
}

impl Default for MlpConfig {
    fn default() -> Self {
        Self {
            hidden: vec![128],
            activation: Activation::Relu,
            epochs: 60,
            batch: 64,
            lr: 3e-3,
            weight_decay: 1e-2,
            validation: 0.1,
            patience: 15,
            precision: Precision::F32,
            seed: 42,
        }
    }
}

/// The layers of a network without their weights.
#[derive(Clone, Debug)]
struct Network {
    plan: Plan,
    /// Weight and bias of each layer.
    layers: Vec<[ParamId; 2]>,
    act: Act,
}

impl Network {
    /// Layers named `layer0`, `layer1`, …, from `cols` numbers to `classes` logits; He's initial weights.
    fn new(cols: usize, classes: usize, config: &MlpConfig) -> Self {
        let (mut plan, mut layers, mut inputs) = (Plan::default(), Vec::new(), cols);
        for (layer, &outputs) in config.hidden.iter().chain([&classes]).enumerate() {
            let init = Init::Normal { std: (2.0 / inputs.max(1) as f32).sqrt() };
            let weight = plan.declare(format!("layer{layer}.weight"), [outputs, inputs], Role::Matrix, init);
            let bias = plan.declare(format!("layer{layer}.bias"), [outputs], Role::Vector, Init::Zeros);
            layers.push([weight, bias]);
            inputs = outputs;
        }
        Self { plan, layers, act: config.activation.act() }
    }

    /// Logits `[M, classes]` of `x`, `[M, cols]`, in the type of `vars`.
    fn logits(&self, tape: &mut Tape, vars: &Vars, x: &Var) -> Result<Var> {
        let mut x = x.clone();
        for (layer, &[weight, bias]) in self.layers.iter().enumerate() {
            let act = if layer + 1 < self.layers.len() { self.act } else { Act::None };
            x = tape.linear(&x, vars.matrix(weight), Some(vars.dense(bias)?), act)?;
        }
        Ok(x)
    }
}

/// A fitted MLP. Its weights may be quantized or pruned: see [`Mlp::with_weights`].
#[derive(Clone, Debug)]
pub struct Mlp {
    config: MlpConfig,
    reader: Reader,
    /// Of tables; text features are of unit length as they are.
    standardizer: Option<Standardizer>,
    cols: usize,
    classes: usize,
    weights: Weights,
}

impl Mlp {
    /// Fits on `inputs` to classes or to a teacher's distributions, by AdamW on minibatches, until the loss on the validation rows
    /// stops falling. The evaluation of `around` is not used: the validation rows take its place.
    ///
    /// # Errors
    /// `Config` for inputs the reader does not read, numbers that are not finite, targets that do not fit the rows, or settings
    /// out of range; `Diverged` if the learning rate is too high; `Kernel` from the device.
    pub fn fit(
        on: &Arc<dyn Backend>,
        reader: Reader,
        inputs: &Inputs,
        targets: Targets<'_>,
        classes: usize,
        config: MlpConfig,
        around: &mut Surroundings<'_>,
    ) -> Result<(Self, Summary)> {
        check(&config)?;
        let read = reader.read(inputs)?;
        let rows = read.rows()?;
        targets.check(rows.len(), classes)?;
        let (fitted, validation) = split(rows.len(), &config);
        let standardizer = match reader {
            Reader::Table => Some(measure(rows, &fitted)?),
            Reader::Text(_) => None,
        };
        let network = Network::new(rows.cols(), classes, &config);
        let data = Data { rows, targets, classes, standardizer: standardizer.as_ref(), dtype: config.precision.dtype() };
        let params = Params::init(on, &network.plan, config.seed)?;
        let mut trainer = Trainer::new(on, params, fitted.len(), fit_config(&config, fitted.len(), !validation.is_empty()))?;
        let mut evaluate = |tape: &mut Tape, vars: &Vars| {
            let mut sum = 0f64;
            for part in validation.chunks(BLOCK_ROWS) {
                let loss = data.loss(tape, vars, &network, part)?;
                sum += f64::from(tape.download::<f32>(&loss)?[0]) * part.len() as f64;
            }
            Ok(sum / validation.len() as f64)
        };
        let mut around = Surroundings {
            progress: &mut *around.progress,
            evaluate: Some(&mut evaluate),
            stop: around.stop,
            time_budget: around.time_budget,
            checkpoints: around.checkpoints.clone(),
        };
        let summary = trainer.run(
            &mut |tape, vars, batch| {
                let chosen: Vec<usize> = batch.examples.iter().map(|&example| fitted[example]).collect();
                data.loss(tape, vars, &network, &chosen)
            },
            &mut around,
        )?;
        let weights = trainer.into_params().export(on)?;
        Ok((Self { config, cols: rows.cols(), reader, standardizer, classes, weights }, summary))
    }

    /// Settings it was fitted with.
    pub fn config(&self) -> &MlpConfig {
        &self.config
    }

    /// The weights, by name.
    pub fn weights(&self) -> &Weights {
        &self.weights
    }

    /// The same network with other weights: the way to a quantized or pruned one.
    pub fn with_weights(&self, weights: Weights) -> Self {
        Self { weights, ..self.clone() }
    }

    /// The model on a device, ready to predict; matrices are packed in the form they are stored in.
    ///
    /// # Errors
    /// `Config` if the weights are not those of this network; `Kernel` from the device.
    pub fn place(&self, on: &Arc<dyn Backend>) -> Result<MlpClassifier> {
        let network = Network::new(self.cols, self.classes, &self.config);
        let dtype = self.config.precision.dtype();
        Ok(MlpClassifier {
            on: Arc::clone(on),
            vars: network.plan.pack(on, &self.weights, dtype)?,
            network,
            reader: self.reader.clone(),
            standardizer: self.standardizer.clone(),
            cols: self.cols,
            classes: self.classes,
            dtype,
            params: self.weights.params(),
            nonzero_params: self.weights.nonzero_params(),
        })
    }
}

fn check(config: &MlpConfig) -> Result<()> {
    if config.hidden.contains(&0) || config.epochs == 0 {
        return Err(Error::config("hidden", "every layer needs a width, and the fit an epoch"));
    }
    match (0.0..=0.5).contains(&config.validation) {
        true => Ok(()),
        false => Err(Error::config("validation", format!("a share of {} is not from 0 to 0.5", config.validation))),
    }
}

/// Rows to fit on and rows to validate on; at least one of the former.
fn split(rows: usize, config: &MlpConfig) -> (Vec<usize>, Vec<usize>) {
    let mut order: Vec<usize> = (0..rows).collect();
    Random::stream(config.seed, VALIDATION_STREAM).shuffle(&mut order);
    let kept = ((rows as f64 * config.validation) as usize).min(rows.saturating_sub(1));
    let fitted = order.split_off(kept);
    (fitted, order)
}

fn measure(rows: Rows<'_>, chosen: &[usize]) -> Result<Standardizer> {
    let cols = rows.cols();
    let mut values = vec![0f32; chosen.len() * cols];
    for (at, &row) in chosen.iter().enumerate() {
        rows.for_each(row, |column, x| values[at * cols + column] = x);
    }
    Ok(Standardizer::fit(&crate::data::Table::new(chosen.len(), cols, values)?))
}

fn fit_config(config: &MlpConfig, fitted: usize, validates: bool) -> FitConfig {
    let per_epoch = fitted.div_ceil(config.batch.max(1)) as u64;
    let total_steps = per_epoch * u64::from(config.epochs);
    FitConfig {
        steps: total_steps,
        batch: config.batch,
        micro_batches: 1,
        seed: config.seed,
        schedule: Schedule::WarmupCosine {
            peak: config.lr,
            floor: 0.01 * config.lr,
            warmup_steps: per_epoch.min(100),
            total_steps,
        },
        rule: Rule::ADAMW,
        regularization: Regularization::matrices(config.weight_decay, 0.0),
        max_norm: Some(1.0),
        precision: config.precision,
        evaluate_every: if validates { per_epoch } else { 0 },
        patience: validates.then_some(config.patience),
    }
}

/// What a fit reads.
struct Data<'a> {
    rows: Rows<'a>,
    targets: Targets<'a>,
    classes: usize,
    standardizer: Option<&'a Standardizer>,
    dtype: DType,
}

impl Data<'_> {
    /// Mean cross entropy of `chosen` rows.
    fn loss(&self, tape: &mut Tape, vars: &Vars, network: &Network, chosen: &[usize]) -> Result<Var> {
        let x = inputs(tape, self.rows, chosen.iter().copied(), self.standardizer, self.dtype)?;
        let logits = network.logits(tape, vars, &x)?;
        let losses = match self.targets {
            Targets::Classes(classes) => {
                let classes: Vec<u32> = chosen.iter().map(|&row| classes[row]).collect();
                let classes = tape.upload(&classes, [classes.len()])?;
                tape.cross_entropy(&logits, Target::Class(&classes), 1.0)?
            }
            Targets::Distributions(values) => {
                let chosen = chosen.iter().flat_map(|row| &values[row * self.classes..][..self.classes]);
                let chosen: Vec<f32> = chosen.copied().collect();
                let chosen = tape.upload(&chosen, [chosen.len() / self.classes, self.classes])?;
                tape.cross_entropy(&logits, Target::Distribution(&chosen), 1.0)?
            }
        };
        Ok(tape.mean(&losses)?)
    }
}

/// `chosen` rows on the device, `[M, cols]`, standardized if tables are.
fn inputs(
    tape: &mut Tape,
    rows: Rows<'_>,
    chosen: impl ExactSizeIterator<Item = usize>,
    standardizer: Option<&Standardizer>,
    dtype: DType,
) -> Result<Var> {
    let (len, cols) = (chosen.len(), rows.cols());
    let mut values = vec![0f32; len * cols];
    for (row, out) in chosen.zip(values.chunks_exact_mut(cols.max(1))) {
        match standardizer {
            Some(Standardizer { mean, deviation }) => rows.for_each(row, |j, x| out[j] = (x - mean[j]) / deviation[j]),
            None => rows.for_each(row, |j, x| out[j] = x),
        }
    }
    let x = tape.upload(&values, [len, cols])?;
    Ok(tape.cast(&x, dtype)?)
}

/// An MLP on a device.
pub struct MlpClassifier {
    on: Arc<dyn Backend>,
    network: Network,
    vars: Vars,
    reader: Reader,
    standardizer: Option<Standardizer>,
    cols: usize,
    classes: usize,
    dtype: DType,
    params: u64,
    nonzero_params: u64,
}

impl Describe for MlpClassifier {
    fn family(&self) -> &'static str {
        FAMILY
    }
    fn scale(&self) -> Scale {
        Scale::Small
    }
    fn params(&self) -> u64 {
        self.params
    }
    fn nonzero_params(&self) -> u64 {
        self.nonzero_params
    }
}

impl Classify for MlpClassifier {
    fn classes(&self) -> usize {
        self.classes
    }

    fn predict_proba(&self, given: &Inputs) -> Result<Vec<f32>> {
        let read = self.reader.read(given)?;
        let rows = read.rows()?;
        if rows.cols() != self.cols {
            return Err(Error::config("inputs", format!("fitted on {} columns, got {}", self.cols, rows.cols())));
        }
        let mut tape = Tape::inference(Arc::clone(&self.on));
        let mut probabilities = Vec::with_capacity(rows.len() * self.classes);
        for first in (0..rows.len()).step_by(BLOCK_ROWS) {
            let block = first..rows.len().min(first + BLOCK_ROWS);
            let x = inputs(&mut tape, rows, block, self.standardizer.as_ref(), self.dtype)?;
            let logits = self.network.logits(&mut tape, &self.vars, &x)?;
            let logits = tape.cast(&logits, DType::F32)?;
            probabilities.extend(tape.download::<f32>(&logits)?);
        }
        probabilities.chunks_exact_mut(self.classes.max(1)).for_each(softmax);
        Ok(probabilities)
    }
}

/// What the header says beside the weights.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    cols: usize,
    classes: usize,
    text: Option<TextFeaturesConfig>,
    standardizer: Option<Standardizer>,
    mlp: MlpConfig,
}

impl Store for Mlp {
    fn to_container(&self) -> Result<Container> {
        let stored = Stored {
            cols: self.cols,
            classes: self.classes,
            text: self.reader.config(),
            standardizer: self.standardizer.clone(),
            mlp: self.config.clone(),
        };
        let mut header = Header::new(FAMILY, &stored)?;
        header.seed = self.config.seed;
        let mut container = Container::new(header);
        self.reader.store(&mut container)?;
        container.insert_weights(&self.weights)?;
        Ok(container)
    }

    fn from_container(container: &Container) -> Result<Self> {
        let Stored { cols, classes, text, standardizer, mlp: config } = container.config(FAMILY)?;
        check(&config).map_err(|error| container.damage("config", error.to_string()))?;
        let reader = Reader::load(container, text, cols)?;
        let is_sound = |Standardizer { mean, deviation }: &Standardizer| {
            let finite = |values: &[f32]| values.len() == cols && values.iter().all(|value| value.is_finite());
            finite(mean) && finite(deviation) && deviation.iter().all(|&deviation| deviation > 0.0)
        };
        if classes < 2 || !standardizer.as_ref().is_none_or(is_sound) {
            return Err(container.damage("config", format!("{classes} classes, or a standardizer that is not of {cols} columns")));
        }
        let weights = container.weights()?;
        let network = Network::new(cols, classes, &config);
        network.plan.check(&weights).map_err(|error| container.damage("weights", error.to_string()))?;
        Ok(Self { config, reader, standardizer, cols, classes, weights })
    }
}
