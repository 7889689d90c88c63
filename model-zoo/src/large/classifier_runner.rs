//! A classifier with its weights on a device.

use super::classifier::Classifier;
use super::session::softmax;
use crate::Result;
use crate::autograd::Tape;
use crate::data::Inputs;
use crate::model::{Classify, Describe, Scale};
use crate::params::Vars;
use crate::weights::Weights;
use kernels::{Backend, DType};
use std::sync::Arc;

/// Examples that are predicted at once.
const BATCH: usize = 64;

/// A transformer classifier, ready to run. Weights may be stored in any form.
#[derive(Clone)]
pub struct ClassifierRunner {
    on: Arc<dyn Backend>,
    classifier: Arc<Classifier>,
    vars: Vars,
    dtype: DType,
    params: u64,
    nonzero_params: u64,
}

impl ClassifierRunner {
    /// Puts weights on a device; activations are of `dtype`.
    ///
    /// # Errors
    /// As [`Plan::pack`](crate::params::Plan::pack).
    pub fn new(on: Arc<dyn Backend>, classifier: Arc<Classifier>, weights: &Weights, dtype: DType) -> Result<Self> {
        let vars = classifier.plan().pack(&on, weights, dtype)?;
        Ok(ClassifierRunner { on, classifier, vars, dtype, params: weights.params(), nonzero_params: weights.nonzero_params() })
    }

    /// The model.
    pub fn classifier(&self) -> &Classifier {
        &self.classifier
    }

    /// Bytes of the weights on the device.
    pub fn weight_bytes(&self) -> u64 {
        self.vars.size_bytes()
    }

    /// Logits [rows, classes] of each example, row-major.
    ///
    /// # Errors
    /// As [`Classify::predict_proba`].
    pub fn logits(&self, inputs: &Inputs) -> Result<Vec<f32>> {
        let mut tape = Tape::inference(Arc::clone(&self.on));
        let mut logits = Vec::with_capacity(inputs.len() * self.classes());
        // Texts of similar length share a batch, so that little is padding.
        let mut order: Vec<usize> = (0..inputs.len()).collect();
        if let Inputs::Text(texts) = inputs {
            order.sort_by_key(|&index| texts[index].len());
        }
        for indices in order.chunks(BATCH) {
            let batch = self.classifier.batch(inputs, indices)?;
            let rows = self.classifier.logits(&mut tape, &self.vars, &batch, self.dtype)?;
            let rows = tape.cast(&rows, DType::F32)?;
            logits.extend(tape.download::<f32>(&rows)?);
        }
        let mut sorted = vec![0f32; logits.len()];
        for (&index, row) in order.iter().zip(logits.chunks_exact(self.classes())) {
            sorted[index * row.len()..(index + 1) * row.len()].copy_from_slice(row);
        }
        Ok(sorted)
    }
}

impl Describe for ClassifierRunner {
    fn family(&self) -> &'static str {
        "transformer"
    }

    fn scale(&self) -> Scale {
        Scale::Large
    }

    fn params(&self) -> u64 {
        self.params
    }

    fn nonzero_params(&self) -> u64 {
        self.nonzero_params
    }
}

impl Classify for ClassifierRunner {
    fn classes(&self) -> usize {
        self.classifier.config().classes
    }

    fn predict_proba(&self, inputs: &Inputs) -> Result<Vec<f32>> {
        Ok(self.logits(inputs)?.chunks_exact(self.classes()).flat_map(softmax).collect())
    }
}
