//! A linear classifier at work: what logistic regression and the linear SVM become on a device.

use std::sync::Arc;

use kernels::ops::{Act, Download, Linear, Upload};
use kernels::weight::Values;
use kernels::{Backend, Buffer, DType, Op, Packed, Weight, WeightRef};
use serde::{Deserialize, Serialize};

use super::reader::Reader;
use super::rows::Rows;
use crate::data::Inputs;
use crate::model::{Classify, Describe, Scale};
use crate::weights::{Tensor, Weights};
use crate::{Error, Result};

const WEIGHT: &str = "weight";
const BIAS: &str = "bias";
/// Most numbers of a block of rows that goes to the device at once (4 MiB).
const BLOCK_ELEMENTS: usize = 1 << 20;

/// Scores of classes: w · x + b.
#[derive(Clone, Debug, PartialEq)]
pub struct Scores {
    /// [classes, columns]; dense after fitting, anything after shrinking.
    pub weight: Weight,
    /// \[classes\].
    pub bias: Vec<f32>,
}

impl Scores {
    /// As named tensors `weight` and `bias`.
    pub fn to_weights(&self) -> Weights {
        let mut weights = Weights::default();
        weights.insert(WEIGHT, Tensor::Matrix(self.weight.clone()));
        weights.insert(BIAS, Tensor::Dense { shape: vec![self.bias.len()], values: Values::F32(self.bias.clone()) });
        weights
    }

    /// From named tensors of a model with `classes` classes and `cols` columns.
    ///
    /// # Errors
    /// `Config` if they are other tensors.
    pub fn from_weights(weights: &Weights, classes: usize, cols: usize) -> Result<Self> {
        let fits = |weight: &Weight, bias: &Values| (weight.n(), weight.k(), bias.len()) == (classes, cols, classes);
        match (weights.get(WEIGHT), weights.get(BIAS)) {
            (Some(Tensor::Matrix(weight)), Some(Tensor::Dense { values, .. })) if fits(weight, values) => {
                Ok(Self { weight: weight.clone(), bias: values.to_f32() })
            }
            _ => Err(Error::config("weights", format!("`{WEIGHT}` [{classes}, {cols}] and `{BIAS}` [{classes}] are needed"))),
        }
    }
}

/// How scores become probabilities.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Link {
    /// exp(sᵢ) / Σ exp(sⱼ). The probabilities of logistic regression; of an SVM only a ranking that sums to 1.
    #[default]
    Softmax,
    /// 1 / (1 + exp(aᵢ·sᵢ + bᵢ)) per class, divided by their sum: Platt's calibration, (a, b) per class.
    Platt(Vec<[f64; 2]>),
}

/// A linear classifier whose weights lie on a device.
///
/// One row takes one [`Linear`] and starts no thread of its own.
pub struct LinearClassifier {
    on: Arc<dyn Backend>,
    family: &'static str,
    reader: Reader,
    weight: Packed,
    bias: Buffer,
    link: Link,
    params: u64,
    nonzero_params: u64,
}

impl LinearClassifier {
    /// Packs `scores` for `on`.
    ///
    /// # Errors
    /// `Config` if bias or link do not have one entry per class; `Kernel` from the device.
    pub(super) fn new(
        on: &Arc<dyn Backend>,
        family: &'static str,
        reader: &Reader,
        scores: &Scores,
        link: &Link,
    ) -> Result<Self> {
        let classes = scores.weight.n();
        link.check(classes)?;
        if scores.bias.len() != classes {
            return Err(Error::config("bias", format!("{} biases for {classes} classes", scores.bias.len())));
        }
        let mut bias = on.alloc(DType::F32, classes)?;
        Upload::new(&scores.bias, bias.view_mut([classes])?).run(on.as_ref())?;
        let nonzero_biases = scores.bias.iter().filter(|&&b| b != 0.0).count();
        Ok(Self {
            on: Arc::clone(on),
            family,
            reader: reader.clone(),
            weight: on.pack(&scores.weight)?,
            bias,
            link: link.clone(),
            params: ((scores.weight.k() + 1) * classes) as u64,
            nonzero_params: (scores.weight.nonzeros() + nonzero_biases) as u64,
        })
    }

    /// Number of features.
    pub fn cols(&self) -> usize {
        self.weight.k()
    }

    /// Scores of `rows`, `[rows, classes]` row-major: log-odds up to a constant per row (logistic regression), or distances from
    /// the separating planes in units of the margin (SVM). Sparse rows are filled up with zeros, a block at a time.
    ///
    /// # Errors
    /// `Config` for another number of columns than the model's; `Kernel` from the device.
    pub fn scores(&self, rows: Rows<'_>) -> Result<Vec<f32>> {
        let (cols, classes) = (self.cols(), self.classes());
        if rows.cols() != cols {
            return Err(Error::config("inputs", format!("fitted on {cols} columns, got {}", rows.cols())));
        }
        let mut scores = vec![0f32; rows.len() * classes];
        let block = (BLOCK_ELEMENTS / cols.max(1)).clamp(1, rows.len().max(1));
        let mut x = self.on.alloc(DType::F32, block * cols)?;
        let mut out = self.on.alloc(DType::F32, block * classes)?;
        let mut filled = Vec::new();
        for (index, scores) in scores.chunks_mut((block * classes).max(1)).enumerate() {
            let (first, len) = (index * block, scores.len() / classes.max(1));
            let values = match rows.values(first, len) {
                Some(values) => values,
                None => {
                    filled.clear();
                    filled.resize(len * cols, 0.0);
                    (0..len).for_each(|row| rows.for_each(first + row, |column, x| filled[row * cols + column] = x));
                    &filled
                }
            };
            Upload::new(values, x.view_mut([len, cols])?).run(self.on.as_ref())?;
            Linear {
                x: x.view([len, cols])?,
                weight: WeightRef::Packed(&self.weight),
                bias: Some(self.bias.view([classes])?),
                act: Act::None,
                out: out.view_mut([len, classes])?,
            }
            .run(self.on.as_ref())?;
            Download::new(out.view([len, classes])?, scores).run(self.on.as_ref())?;
        }
        Ok(scores)
    }

    /// Probabilities of `rows`, `[rows, classes]` row-major.
    ///
    /// # Errors
    /// As [`LinearClassifier::scores`].
    pub fn probabilities(&self, rows: Rows<'_>) -> Result<Vec<f32>> {
        let mut scores = self.scores(rows)?;
        scores.chunks_exact_mut(self.classes().max(1)).for_each(|row| self.link.apply(row));
        Ok(scores)
    }
}

impl Link {
    /// # Errors
    /// `Config` unless there is one finite sigmoid per class.
    pub(super) fn check(&self, classes: usize) -> Result<()> {
        match self {
            Link::Platt(sigmoids) if sigmoids.len() != classes || !sigmoids.iter().flatten().all(|x| x.is_finite()) => {
                Err(Error::config("link", format!("{} sigmoids for {classes} classes", sigmoids.len())))
            }
            _ => Ok(()),
        }
    }

    /// Scores of one row become probabilities.
    fn apply(&self, row: &mut [f32]) {
        match self {
            Link::Softmax => softmax(row),
            Link::Platt(sigmoids) => {
                let sigmoid = |s: f32, [a, b]: [f64; 2]| 1.0 / (1.0 + (a * f64::from(s) + b).exp());
                // A row far from every class has only tiny probabilities; their ratios are what is left to say.
                row.iter_mut().zip(sigmoids).for_each(|(s, &ab)| *s = sigmoid(*s, ab).max(1e-30) as f32);
                let total: f32 = row.iter().sum();
                row.iter_mut().for_each(|p| *p /= total);
            }
        }
    }
}

/// exp(sᵢ − max) / Σ exp(sⱼ − max), in place.
pub(super) fn softmax(row: &mut [f32]) {
    let top = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut total = 0f32;
    for s in row.iter_mut() {
        *s = (*s - top).exp();
        total += *s;
    }
    row.iter_mut().for_each(|p| *p /= total);
}

impl Describe for LinearClassifier {
    fn family(&self) -> &'static str {
        self.family
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

impl Classify for LinearClassifier {
    fn classes(&self) -> usize {
        self.weight.n()
    }

    fn predict_proba(&self, inputs: &Inputs) -> Result<Vec<f32>> {
        self.probabilities(self.reader.read(inputs)?.rows()?)
    }
}
