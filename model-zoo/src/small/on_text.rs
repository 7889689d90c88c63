//! A model of tables, reading texts as their n-grams.

use super::features::TextFeatures;
use crate::Result;
use crate::container::Tokenizer;
use crate::data::Inputs;
use crate::model::{Classify, Describe, Scale, Store};

/// A model behind text features.
#[derive(Clone, Debug)]
pub struct OnText<M> {
    /// Turns texts into the table the model reads.
    pub features: TextFeatures,
    /// The model.
    pub model: M,
}

impl<M: Store> OnText<M> {
    /// Bytes of a file that holds the model and its features.
    ///
    /// # Errors
    /// As [`Store::to_container`].
    pub fn file_bytes(&self) -> Result<u64> {
        let mut container = self.model.to_container()?;
        container.header.tokenizer = Some(Tokenizer::Bytes);
        container.insert("idf", &[self.features.idf().len()], self.features.idf())?;
        container.file_bytes()
    }
}

impl<M: Describe> Describe for OnText<M> {
    fn family(&self) -> &'static str {
        self.model.family()
    }
    fn scale(&self) -> Scale {
        self.model.scale()
    }
    fn params(&self) -> u64 {
        self.model.params()
    }
    fn nonzero_params(&self) -> u64 {
        self.model.nonzero_params()
    }
}

impl<M: Classify> Classify for OnText<M> {
    fn classes(&self) -> usize {
        self.model.classes()
    }
    fn predict_proba(&self, inputs: &Inputs) -> Result<Vec<f32>> {
        let table = self.features.sparse(inputs.text()?).to_table();
        self.model.predict_proba(&Inputs::Table(table))
    }
}
