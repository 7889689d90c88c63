//! How models of numbers read what they are given.

use super::features::{SparseRows, TextFeatures, TextFeaturesConfig};
use super::rows::Rows;
use crate::Result;
use crate::container::Container;
use crate::data::{Inputs, Table};

/// Name of the tensor with the weights of text features.
const IDF: &str = "idf";

/// What a model of numbers makes of its inputs; part of the model.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Reader {
    /// A table as it is.
    #[default]
    Table,
    /// A text as its n-grams.
    Text(TextFeatures),
}

/// Inputs as numbers.
#[derive(Clone, Debug)]
pub enum Read<'a> {
    /// Every number.
    Dense(&'a Table),
    /// Without the zeros.
    Sparse(SparseRows),
}

impl Read<'_> {
    /// The numbers, proven finite.
    ///
    /// # Errors
    /// `Config` naming row and column of a number that is not.
    pub fn rows(&self) -> Result<Rows<'_>> {
        match self {
            Read::Dense(table) => Rows::dense(table),
            Read::Sparse(rows) => Rows::sparse(rows),
        }
    }
}

impl Reader {
    /// Reads inputs.
    ///
    /// # Errors
    /// `Config` for texts where a table is wanted and the other way round.
    pub fn read<'a>(&self, inputs: &'a Inputs) -> Result<Read<'a>> {
        Ok(match self {
            Reader::Table => Read::Dense(inputs.table()?),
            Reader::Text(features) => Read::Sparse(features.sparse(inputs.text()?)),
        })
    }

    /// Settings of the features; none for tables.
    pub(super) fn config(&self) -> Option<TextFeaturesConfig> {
        match self {
            Reader::Table => None,
            Reader::Text(features) => Some(features.config()),
        }
    }

    /// Adds what the settings do not say.
    pub(super) fn store(&self, container: &mut Container) -> Result<()> {
        match self {
            Reader::Table => Ok(()),
            Reader::Text(features) => container.insert(IDF, &[features.idf().len()], features.idf()),
        }
    }

    /// The reader of a stored model with these settings, which reads `cols` numbers.
    pub(super) fn load(container: &Container, config: Option<TextFeaturesConfig>, cols: usize) -> Result<Self> {
        let Some(config) = config else {
            return Ok(Reader::Table);
        };
        if config.dims != cols {
            return Err(container.damage("config", format!("{} text features for {cols} columns", config.dims)));
        }
        let idf = container.values(IDF, &[Some(config.dims)])?;
        TextFeatures::from_idf(config, idf).map(Reader::Text).map_err(|error| container.damage(IDF, error.to_string()))
    }
}
