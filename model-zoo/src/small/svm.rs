//! Linear support vector machine, one class against the others.

use std::sync::Arc;

use kernels::weight::Values;
use kernels::{Backend, Weight};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

pub use super::coordinate_descent::Margin;
use super::coordinate_descent::{Problem, Solution};
use super::features::TextFeaturesConfig;
use super::linear::{LinearClassifier, Link, Scores};
use super::platt;
use super::reader::Reader;
use super::softmax_loss::Targets;
use crate::container::{Container, Header};
use crate::data::Inputs;
use crate::model::Store;
use crate::random::Random;
use crate::weights::Weights;
use crate::{Error, Result};

const FAMILY: &str = "linear-svm";

/// Where probabilities come from; an SVM has none of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Calibration {
    /// A softmax of the scores: costs nothing, ranks as the scores do, and says nothing about how sure to be.
    #[default]
    Softmax,
    /// Platt's sigmoids, fitted to the scores of rows left out of `folds` further fits.
    Platt {
        /// Parts the rows are divided into; at least 2.
        folds: usize,
    },
}

/// Settings of a linear SVM. The defaults are those of LIBLINEAR's dual solver and scikit-learn 1.9's `LinearSVC`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SvmConfig {
    /// Weight of the margins' costs against ½·(‖w‖² + b²).
    pub c: f64,
    /// What a margin costs.
    pub margin: Margin,
    /// Largest spread of the projected gradients at the end.
    pub tolerance: f64,
    /// Most passes over the rows.
    pub max_epochs: u32,
    /// Where probabilities come from.
    pub calibration: Calibration,
    /// The same seed gives the same bits, whatever the number of threads.
    pub seed: u64,
}

impl Default for SvmConfig {
    fn default() -> Self {
        let (margin, calibration) = (Margin::SquaredHinge, Calibration::Softmax);
        Self { c: 1.0, margin, tolerance: 1e-4, max_epochs: 1000, calibration, seed: 42 }
    }
}

/// A fitted linear SVM.
#[derive(Clone, Debug, PartialEq)]
pub struct Svm {
    config: SvmConfig,
    reader: Reader,
    scores: Scores,
    link: Link,
    converged: bool,
}

impl Svm {
    /// Fits on `inputs` with a class below `classes` per row; one plane per class, in parallel (one in all for two
    /// classes). Columns should be of like size: the penalty looks at raw weights, the bias included.
    ///
    /// # Errors
    /// `Config` for inputs the reader does not read or numbers that are not finite, no rows, fewer than two classes, labels out of range or not one per row, or settings out of range.
    pub fn fit(reader: Reader, inputs: &Inputs, labels: &[u32], classes: usize, config: SvmConfig) -> Result<Self> {
        let read = reader.read(inputs)?;
        let rows = read.rows()?;
        Targets::Classes(labels).check(rows.len(), classes)?;
        check(&config, rows.len())?;
        let everything: Vec<usize> = (0..rows.len()).collect();
        let problem = Problem::new(rows, &config);
        let solutions = solve(&problem, &everything, labels, classes, &config);
        let converged = solutions.iter().all(|solution| solution.converged);
        let link = match config.calibration {
            Calibration::Softmax => Link::Softmax,
            Calibration::Platt { folds } => Link::Platt(calibrate(&problem, labels, classes, folds, &config)),
        };
        let cols = rows.cols();
        let weight = solutions.iter().flat_map(|solution| solution.w[..cols].iter().map(|&w| w as f32)).collect();
        let bias = solutions.iter().map(|solution| solution.w[cols] as f32).collect();
        let scores = Scores { weight: Weight::dense(classes, cols, Values::F32(weight))?, bias };
        Ok(Self { config, reader, scores, link, converged })
    }

    /// Settings it was fitted with.
    pub fn config(&self) -> &SvmConfig {
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

    /// Whether every plane reached the tolerance within the epochs.
    pub fn converged(&self) -> bool {
        self.converged
    }

    /// The model on a device, ready to predict.
    ///
    /// # Errors
    /// `Kernel` from the device.
    pub fn place(&self, on: &Arc<dyn Backend>) -> Result<LinearClassifier> {
        LinearClassifier::new(on, FAMILY, &self.reader, &self.scores, &self.link)
    }
}

/// What the header says beside the weights.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    cols: usize,
    classes: usize,
    text: Option<TextFeaturesConfig>,
    link: Link,
    converged: bool,
    svm: SvmConfig,
}

impl Store for Svm {
    fn to_container(&self) -> Result<Container> {
        let (classes, cols) = (self.scores.weight.n(), self.scores.weight.k());
        let (text, link) = (self.reader.config(), self.link.clone());
        let stored = Stored { cols, classes, text, link, converged: self.converged, svm: self.config };
        let mut header = Header::new(FAMILY, &stored)?;
        header.seed = self.config.seed;
        let mut container = Container::new(header);
        self.reader.store(&mut container)?;
        container.insert_weights(&self.weights())?;
        Ok(container)
    }

    fn from_container(container: &Container) -> Result<Self> {
        let Stored { cols, classes, text, link, converged, svm: config } = container.config(FAMILY)?;
        let reader = Reader::load(container, text, cols)?;
        let scores = Scores::from_weights(&container.weights()?, classes, cols)
            .map_err(|error| container.damage("weights", error.to_string()))?;
        link.check(classes).map_err(|error| container.damage("config", error.to_string()))?;
        Ok(Self { config, reader, scores, link, converged })
    }
}

fn check(config: &SvmConfig, rows: usize) -> Result<()> {
    for (name, value) in [("c", config.c), ("tolerance", config.tolerance)] {
        if !value.is_finite() || value <= 0.0 {
            return Err(Error::config(name, format!("{value} is not finite and above 0")));
        }
    }
    match config.calibration {
        Calibration::Platt { folds } if folds < 2 || folds > rows => {
            Err(Error::config("folds", format!("{folds} parts of {rows} rows; from 2 to one per row")))
        }
        _ => Ok(()),
    }
}

/// One plane per class over the rows `among`; of two classes the first is the second turned around.
fn solve(problem: &Problem<'_>, among: &[usize], labels: &[u32], classes: usize, config: &SvmConfig) -> Vec<Solution> {
    let plane = |class: usize| {
        let random = Random::stream(config.seed, class as u64);
        problem.solve(among, |row| labels[row] as usize == class, random)
    };
    if classes > 2 {
        return (0..classes).into_par_iter().map(plane).collect();
    }
    let second = plane(1);
    let first = Solution { w: second.w.iter().map(|w| -w).collect(), ..second };
    vec![first, second]
}

/// A sigmoid per class, fitted to scores that each row gets from a fit without it.
fn calibrate(problem: &Problem<'_>, labels: &[u32], classes: usize, folds: usize, config: &SvmConfig) -> Vec<[f64; 2]> {
    let rows = problem.rows;
    let mut scores = vec![vec![0f64; rows.len()]; classes];
    let mut order: Vec<usize> = (0..rows.len()).collect();
    Random::stream(config.seed, u64::MAX).shuffle(&mut order);
    for fold in 0..folds {
        let among: Vec<usize> = order.iter().enumerate().filter(|(at, _)| at % folds != fold).map(|(_, &row)| row).collect();
        let solutions = solve(problem, &among, labels, classes, config);
        for &row in order.iter().skip(fold).step_by(folds) {
            for (scores, solution) in scores.iter_mut().zip(&solutions) {
                scores[row] = rows.dot(row, &solution.w) + solution.w[rows.cols()];
            }
        }
    }
    scores.iter().enumerate().map(|(class, scores)| platt::fit(scores, |row| labels[row] as usize == class)).collect()
}
