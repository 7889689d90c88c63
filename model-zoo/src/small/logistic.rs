//! Multinomial logistic regression, fitted to its optimum on any backend.

use std::sync::Arc;

use kernels::Backend;
use serde::{Deserialize, Serialize};

use super::features::TextFeaturesConfig;
use super::linear::{LinearClassifier, Link, Scores};
use super::reader::Reader;
use super::rows::Rows;
use super::softmax_loss::SoftmaxLoss;
pub use super::softmax_loss::Targets;
use crate::container::{Container, Header};
use crate::data::Inputs;
use crate::model::Store;
use crate::train::lbfgs::{Lbfgs, Minimum};
use crate::train::proximal::Proximal;
use crate::weights::Weights;
use crate::{Error, Result};

const FAMILY: &str = "logistic";
/// Error of a mean of losses computed in f32 from scores of some tens, in nats.
const VALUE_NOISE: f64 = 1e-6;

/// Which weights the penalties act on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Penalized {
    /// Those of the columns as they are, as scikit-learn does.
    #[default]
    Raw,
    /// Those of columns of variance 1: fair to columns in different units.
    Standardized,
}

/// Settings of a logistic regression. The defaults are those of scikit-learn 1.9: C = 1, and a search that may end before its
/// optimum on columns of unequal size; 1000 iterations and a tolerance of 10⁻⁶ reach it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogisticConfig {
    /// Weight of ½·‖w‖² against the sum of the rows' losses: 1/C.
    pub l2: f64,
    /// Weight of ‖w‖₁; above 0 the solver is proximal and weights become exactly zero.
    pub l1: f64,
    /// Which weights these act on. Biases are never penalised.
    pub penalized: Penalized,
    /// Most steps of the solver.
    pub max_iterations: u32,
    /// Largest element of the gradient of the mean loss (in the solver's scaled columns) at the end.
    pub tolerance: f64,
}

impl Default for LogisticConfig {
    fn default() -> Self {
        Self { l2: 1.0, l1: 0.0, penalized: Penalized::Raw, max_iterations: 100, tolerance: 1e-4 }
    }
}

/// A fitted logistic regression: p(class | x) = softmax(w·x + b).
#[derive(Clone, Debug, PartialEq)]
pub struct Logistic {
    config: LogisticConfig,
    reader: Reader,
    scores: Scores,
}

impl Logistic {
    /// Fits on `inputs` to classes or to a teacher's distributions:
    /// minimises Σ rows' cross entropy + ½·l2·‖w‖² + l1·‖w‖₁, by L-BFGS or (l1 > 0) by FISTA. Returns also how the search ended.
    ///
    /// A constant column gets the weight 0; a class without rows gets a low probability.
    ///
    /// # Errors
    /// `Config` for inputs the reader does not read or numbers that are not finite, no rows, fewer than two classes, targets that do not fit the rows, or settings out of range; `Kernel` from
    /// the device.
    pub fn fit(
        on: &dyn Backend,
        reader: Reader,
        inputs: &Inputs,
        targets: Targets<'_>,
        classes: usize,
        config: LogisticConfig,
    ) -> Result<(Self, Minimum)> {
        check(&config)?;
        let read = reader.read(inputs)?;
        let rows = read.rows()?;
        targets.check(rows.len(), classes)?;
        let cols = rows.cols();
        let columns = Columns::measure(rows, classes, &config);
        let mut loss = SoftmaxLoss::new(on, rows, &columns.centre, &columns.scale, targets, classes)?;
        let share = 1.0 / rows.len() as f64;
        // Biases stand in the last column and are not penalised.
        let penalty = |lambda: f64, power: i32| -> Vec<f64> {
            let per_column = (0..cols).map(|j| lambda * share * (columns.unit[j] * columns.scale[j]).powi(power));
            let row: Vec<f64> = per_column.chain([0.0]).collect();
            row.repeat(classes)
        };
        let (l2, l1) = (penalty(config.l2, 2), penalty(config.l1, 1));
        let objective = |theta: &[f64], gradient: &mut [f64]| {
            let mut value = share * loss.evaluate(theta, gradient)?;
            for ((g, t), l2) in gradient.iter_mut().zip(theta).zip(&l2) {
                *g = share * *g + l2 * t;
                value += 0.5 * l2 * t * t;
            }
            Ok(value)
        };
        let mut theta = vec![0f64; classes * (cols + 1)];
        let (max_iterations, gradient_tolerance) = (config.max_iterations, config.tolerance);
        let minimum = if config.l1 > 0.0 {
            let settings = Proximal { max_iterations, gradient_tolerance };
            settings.minimize(&mut theta, &l1, objective)?
        } else {
            let settings = Lbfgs { memory: 10, max_iterations, gradient_tolerance, value_noise: VALUE_NOISE };
            settings.minimize(&mut theta, objective)?
        };
        Ok((Self { config, reader, scores: columns.unscale(&theta, classes)? }, minimum))
    }

    /// Settings it was fitted with.
    pub fn config(&self) -> &LogisticConfig {
        &self.config
    }

    /// The weights.
    pub fn scores(&self) -> &Scores {
        &self.scores
    }

    /// The weights, by name.
    pub fn weights(&self) -> Weights {
        self.scores.to_weights()
    }

    /// The same model with other weights: the way to a quantized or pruned one.
    ///
    /// # Errors
    /// `Config` if they are of another model.
    pub fn with_weights(&self, weights: &Weights) -> Result<Self> {
        let (classes, cols) = (self.scores.weight.n(), self.scores.weight.k());
        Ok(Self { scores: Scores::from_weights(weights, classes, cols)?, ..self.clone() })
    }

    /// The model on a device, ready to predict.
    ///
    /// # Errors
    /// `Kernel` from the device.
    pub fn place(&self, on: &Arc<dyn Backend>) -> Result<LinearClassifier> {
        LinearClassifier::new(on, FAMILY, &self.reader, &self.scores, &Link::Softmax)
    }
}

/// What the header says beside the weights.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    cols: usize,
    classes: usize,
    text: Option<TextFeaturesConfig>,
    logistic: LogisticConfig,
}

impl Store for Logistic {
    fn to_container(&self) -> Result<Container> {
        let (classes, cols) = (self.scores.weight.n(), self.scores.weight.k());
        let stored = Stored { cols, classes, text: self.reader.config(), logistic: self.config };
        let mut container = Container::new(Header::new(FAMILY, &stored)?);
        self.reader.store(&mut container)?;
        container.insert_weights(&self.weights())?;
        Ok(container)
    }

    fn from_container(container: &Container) -> Result<Self> {
        let Stored { cols, classes, text, logistic: config } = container.config(FAMILY)?;
        let reader = Reader::load(container, text, cols)?;
        let scores = Scores::from_weights(&container.weights()?, classes, cols)
            .map_err(|error| container.damage("weights", error.to_string()))?;
        Ok(Self { config, reader, scores })
    }
}

fn check(config: &LogisticConfig) -> Result<()> {
    for (name, value) in [("l2", config.l2), ("l1", config.l1), ("tolerance", config.tolerance)] {
        if !value.is_finite() || value < 0.0 {
            return Err(Error::config(name, format!("{value} is not finite and at least 0")));
        }
    }
    Ok(())
}

/// How the solver sees the columns. It minimises over u = w / scale on (x − centre)·scale: the same optimum, better conditioned.
struct Columns {
    /// Mean of each column; 0 for sparse rows, which centring would fill.
    centre: Vec<f64>,
    /// 1 / √(curvature of the column's weight), so that the Hessian's diagonal is about 1 at the start.
    scale: Vec<f64>,
    /// What the penalties multiply a weight with: 1, or the column's standard deviation.
    unit: Vec<f64>,
}

impl Columns {
    fn measure(rows: Rows<'_>, classes: usize, config: &LogisticConfig) -> Self {
        let cols = rows.cols();
        let share = 1.0 / rows.len().max(1) as f64;
        let (mut mean, mut variance) = (vec![0f64; cols], vec![0f64; cols]);
        let mut stored = vec![0usize; cols];
        for row in 0..rows.len() {
            rows.for_each(row, |j, x| {
                mean[j] += share * f64::from(x);
                stored[j] += 1;
            });
        }
        for row in 0..rows.len() {
            rows.for_each(row, |j, x| variance[j] += share * (f64::from(x) - mean[j]).powi(2));
        }
        for j in 0..cols {
            variance[j] += share * (rows.len() - stored[j]) as f64 * mean[j] * mean[j];
            // A constant column's computed variance is rounding noise.
            let noise = rows.len() as f64 * f64::EPSILON * mean[j].abs();
            if variance[j].sqrt() <= noise {
                variance[j] = 0.0;
            }
        }
        let unit: Vec<f64> = match config.penalized {
            Penalized::Raw => vec![1.0; cols],
            Penalized::Standardized => variance.iter().map(|variance| variance.sqrt()).collect(),
        };
        let centre = if rows.is_sparse() { vec![0.0; cols] } else { mean.clone() };
        // Σ p·(1 − p)·x² over the rows, with p = 1/classes.
        let spread = (1.0 - 1.0 / classes as f64) / classes as f64;
        let scale = (0..cols).map(|j| {
            let square = variance[j] + (mean[j] - centre[j]).powi(2);
            let curvature = spread * square + share * config.l2 * unit[j] * unit[j];
            // A column without variance says nothing: out it goes.
            if variance[j] > 0.0 { 1.0 / curvature.sqrt() } else { 0.0 }
        });
        Self { scale: scale.collect(), centre, unit }
    }

    /// Weights of the raw columns from those of the solver, `[classes, cols + 1]`.
    fn unscale(&self, theta: &[f64], classes: usize) -> Result<Scores> {
        let cols = self.scale.len();
        let (mut weight, mut bias) = (Vec::with_capacity(classes * cols), Vec::with_capacity(classes));
        for theta in theta.chunks_exact(cols + 1) {
            let mut b = theta[cols];
            for ((u, scale), centre) in theta.iter().zip(&self.scale).zip(&self.centre) {
                weight.push((u * scale) as f32);
                b -= u * scale * centre;
            }
            bias.push(b as f32);
        }
        Ok(Scores { weight: kernels::Weight::dense(classes, cols, kernels::weight::Values::F32(weight))?, bias })
    }
}
