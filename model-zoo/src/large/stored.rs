//! Transformers as files: settings and weights, in any stored form.

use super::classifier::{Classifier, ClassifierConfig};
use super::gpt::{Gpt, GptConfig};
use crate::Result;
use crate::container::{Container, Header, Tokenizer};
use crate::model::Store;
use crate::weights::Weights;
use std::sync::Arc;

/// A decoder and its weights.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredGpt {
    /// Size and kind.
    pub config: GptConfig,
    /// Values.
    pub weights: Weights,
}

/// A classifier and its weights.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredClassifier {
    /// Size and kind.
    pub config: ClassifierConfig,
    /// Values.
    pub weights: Weights,
}

impl StoredGpt {
    /// The decoder, ready for a [`GptRunner`](super::session::GptRunner).
    ///
    /// # Errors
    /// `Config` naming the setting that makes no sense.
    pub fn gpt(&self) -> Result<Arc<Gpt>> {
        Gpt::new(&self.config).map(Arc::new)
    }
}

impl StoredClassifier {
    /// The classifier, ready for a [`ClassifierRunner`](super::classifier_runner::ClassifierRunner).
    ///
    /// # Errors
    /// `Config` naming the setting that makes no sense.
    pub fn classifier(&self) -> Result<Arc<Classifier>> {
        Classifier::new(&self.config).map(Arc::new)
    }
}

impl Store for StoredGpt {
    fn to_container(&self) -> Result<Container> {
        let mut header = Header::new("gpt", &self.config)?;
        header.tokenizer = Some(Tokenizer::Bytes);
        let mut container = Container::new(header);
        container.insert_weights(&self.weights)?;
        Ok(container)
    }

    fn from_container(container: &Container) -> Result<Self> {
        let config: GptConfig = container.config("gpt")?;
        Gpt::new(&config).map_err(|error| container.damage("config", error.to_string()))?;
        Ok(StoredGpt { config, weights: container.weights()? })
    }
}

impl Store for StoredClassifier {
    fn to_container(&self) -> Result<Container> {
        let mut container = Container::new(Header::new("transformer", &self.config)?);
        container.insert_weights(&self.weights)?;
        Ok(container)
    }

    fn from_container(container: &Container) -> Result<Self> {
        let config: ClassifierConfig = container.config("transformer")?;
        Classifier::new(&config).map_err(|error| container.damage("config", error.to_string()))?;
        Ok(StoredClassifier { config, weights: container.weights()? })
    }
}
