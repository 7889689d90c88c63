//! Text as numbers: hashed byte n-grams weighted by TF-IDF, for models that read tables.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::data::Table;
use crate::{Error, Result, hash};

/// Settings of [`TextFeatures`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TextFeaturesConfig {
    /// Number of features, a power of two up to 2²⁰.
    pub dims: usize,
    /// Longest n-gram in bytes, 1 to 8; all shorter ones are features too.
    pub max_ngram: usize,
}

impl Default for TextFeaturesConfig {
    fn default() -> Self {
        Self { dims: 4096, max_ngram: 4 }
    }
}

/// Rows of mostly zeros, as compressed sparse rows.
#[derive(Clone, Debug, PartialEq)]
pub struct SparseRows {
    /// Number of columns.
    pub cols: usize,
    /// Where each row's entries end.
    pub ends: Vec<usize>,
    /// Column of each entry, ascending within its row.
    pub columns: Vec<u32>,
    /// Value of each entry.
    pub values: Vec<f32>,
}

impl SparseRows {
    /// Columns and values of row `row`.
    ///
    /// # Panics
    /// If there is no such row, as slices do.
    pub fn row(&self, row: usize) -> (&[u32], &[f32]) {
        let range = if row == 0 { 0 } else { self.ends[row - 1] }..self.ends[row];
        (&self.columns[range.clone()], &self.values[range])
    }

    /// The same numbers with all their zeros, `[rows, cols]`.
    pub fn to_table(&self) -> Table {
        let mut values = vec![0f32; self.ends.len() * self.cols];
        for (row, out) in values.chunks_exact_mut(self.cols).enumerate() {
            let (columns, entries) = self.row(row);
            columns.iter().zip(entries).for_each(|(&column, &value)| out[column as usize] = value);
        }
        Table { rows: self.ends.len(), cols: self.cols, values }
    }
}

/// Maps a text to `dims` numbers of Euclidean length 1. Each byte n-gram adds its sign to one feature, both chosen by a hash;
/// a feature with sum s ≠ 0 becomes `sign(s) · (1 + ln |s|) · idf`, with `idf = 1 + ln((1 + n) / (1 + df))` where df of the n
/// training texts have the feature.
///
/// # Source
/// Weinberger et al., "Feature hashing for large scale multitask learning", ICML 2009 (signs); the weights are those of
/// scikit-learn's `TfidfTransformer(sublinear_tf=True)`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Unchecked")]
pub struct TextFeatures {
    config: TextFeaturesConfig,
    /// Weight of each feature, `[dims]`.
    idf: Vec<f32>,
}

/// [`TextFeatures`] as a file has it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Unchecked {
    config: TextFeaturesConfig,
    idf: Vec<f32>,
}

impl TryFrom<Unchecked> for TextFeatures {
    type Error = Error;

    fn try_from(Unchecked { config, idf }: Unchecked) -> Result<Self> {
        Self::from_idf(config, idf)
    }
}

impl TextFeatures {
    /// Measures the weights on training texts.
    ///
    /// # Errors
    /// `Config` for dims or lengths out of range.
    pub fn fit(train: &[Vec<u8>], config: TextFeaturesConfig) -> Result<Self> {
        check(&config)?;
        let mut texts_with = vec![0u32; config.dims];
        let sums: Vec<Vec<(u32, i32)>> = train.par_iter().map(|text| signed_counts(text, &config)).collect();
        sums.iter().flatten().for_each(|&(feature, _)| texts_with[feature as usize] += 1);
        let idf = |&with: &u32| (1.0 + ((1.0 + train.len() as f64) / (1.0 + f64::from(with))).ln()) as f32;
        Ok(Self { config, idf: texts_with.iter().map(idf).collect() })
    }

    /// Takes weights measured before, `[dims]`.
    ///
    /// # Errors
    /// `Config` for settings out of range, or weights that are not `dims` finite numbers.
    pub fn from_idf(config: TextFeaturesConfig, idf: Vec<f32>) -> Result<Self> {
        check(&config)?;
        if idf.len() != config.dims || idf.iter().any(|weight| !weight.is_finite()) {
            return Err(Error::config("idf", format!("{} finite weights are needed, got {}", config.dims, idf.len())));
        }
        Ok(Self { config, idf })
    }

    /// Settings.
    pub fn config(&self) -> TextFeaturesConfig {
        self.config
    }

    /// Weight of each feature, `[dims]`.
    pub fn idf(&self) -> &[f32] {
        &self.idf
    }

    /// Features of `texts`, `[texts, dims]`, without the zeros. A text too short for any n-gram has none.
    pub fn sparse(&self, texts: &[Vec<u8>]) -> SparseRows {
        let rows: Vec<Vec<(u32, f32)>> = texts.par_iter().map(|text| self.row(text)).collect();
        let ends = rows.iter().scan(0, |end, row| {
            *end += row.len();
            Some(*end)
        });
        let ends = ends.collect();
        let (columns, values) = rows.into_iter().flatten().unzip();
        SparseRows { cols: self.config.dims, ends, columns, values }
    }

    /// Features of `texts`, `[texts, dims]`.
    pub fn dense(&self, texts: &[Vec<u8>]) -> Table {
        self.sparse(texts).to_table()
    }

    fn row(&self, text: &[u8]) -> Vec<(u32, f32)> {
        let weight = |(feature, sum): (u32, i32)| {
            let sum = f64::from(sum);
            (feature, sum.signum() * (1.0 + sum.abs().ln()) * f64::from(self.idf[feature as usize]))
        };
        let weighted: Vec<(u32, f64)> = signed_counts(text, &self.config).into_iter().map(weight).collect();
        let length = weighted.iter().map(|(_, value)| value * value).sum::<f64>().sqrt();
        weighted.into_iter().map(|(feature, value)| (feature, (value / length) as f32)).collect()
    }
}

fn check(config: &TextFeaturesConfig) -> Result<()> {
    if !config.dims.is_power_of_two() || config.dims > 1 << 20 {
        return Err(Error::config("dims", format!("must be a power of two up to 2²⁰, got {}", config.dims)));
    }
    if !(1..=8).contains(&config.max_ngram) {
        return Err(Error::config("max_ngram", format!("must be 1 to 8, got {}", config.max_ngram)));
    }
    Ok(())
}

/// Each feature of a text with its sum of signs, ascending, without those that cancel out.
fn signed_counts(text: &[u8], config: &TextFeaturesConfig) -> Vec<(u32, i32)> {
    let mut signs = Vec::with_capacity(text.len() * config.max_ngram);
    for start in 0..text.len() {
        let mut hash = hash::START;
        for &byte in text[start..].iter().take(config.max_ngram) {
            // The hash of an n-gram continues that of the n-gram one byte shorter.
            hash = hash::push(hash, byte);
            let mixed = hash::scramble(hash);
            let sign = if mixed >> 31 == 0 { 1 } else { -1 };
            signs.push((mixed & (config.dims as u32 - 1), sign));
        }
    }
    signs.sort_unstable_by_key(|&(feature, _)| feature);
    let sums = signs.chunk_by(|a, b| a.0 == b.0).map(|run| (run[0].0, run.iter().map(|&(_, sign)| sign).sum()));
    sums.filter(|&(_, sum)| sum != 0).collect()
}
