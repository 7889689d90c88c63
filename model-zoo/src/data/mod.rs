//! Real data: the embedded tasks and the user's own tables and texts.

mod digits;
mod jsonl;
mod labelled;
mod rust_sources;
mod split;
mod standardize;
mod table;

use std::path::Path;

use serde::{Deserialize, Serialize};

pub use digits::digits;
pub use rust_sources::{CRATES, rust_lm, rust_snippets};
pub use standardize::Standardizer;

use crate::{Error, Result};

/// Numbers in `[rows, cols]`, row-major.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Table {
    /// Number of examples.
    pub rows: usize,
    /// Number of features.
    pub cols: usize,
    /// `rows * cols` values.
    pub values: Vec<f32>,
}

impl Table {
    /// A table over `values`.
    ///
    /// # Errors
    /// As [`Table::check`].
    pub fn new(rows: usize, cols: usize, values: Vec<f32>) -> Result<Self> {
        let table = Self { rows, cols, values };
        table.check().map(|()| table)
    }

    /// Whether the fields agree.
    ///
    /// # Errors
    /// `Config` if there are not `rows * cols` values.
    pub fn check(&self) -> Result<()> {
        let Self { rows, cols, values } = self;
        if rows.checked_mul(*cols) != Some(values.len()) {
            let what = format!("{rows} rows of {cols} columns need as many values, got {}", values.len());
            return Err(Error::config("table", what));
        }
        Ok(())
    }

    /// Row `row`, `cols` values.
    ///
    /// # Panics
    /// If `row >= rows`, as slices do.
    pub fn row(&self, row: usize) -> &[f32] {
        &self.values[row * self.cols..(row + 1) * self.cols]
    }
}

/// What a classifier reads.
#[derive(Clone, Debug, PartialEq)]
pub enum Inputs {
    /// One row of numbers per example.
    Table(Table),
    /// One text per example; any bytes.
    Text(Vec<Vec<u8>>),
}

impl Inputs {
    /// Number of examples.
    pub fn len(&self) -> usize {
        match self {
            Self::Table(table) => table.rows,
            Self::Text(texts) => texts.len(),
        }
    }

    /// Whether there is no example.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Copies of the examples at `indices`, in that order.
    ///
    /// # Panics
    /// If an index is not below [`Inputs::len`], as slices do.
    pub fn select(&self, indices: &[usize]) -> Self {
        match self {
            Self::Table(table) => {
                let values = indices.iter().flat_map(|&row| table.row(row)).copied().collect();
                Self::Table(Table { rows: indices.len(), cols: table.cols, values })
            }
            Self::Text(texts) => Self::Text(indices.iter().map(|&index| texts[index].clone()).collect()),
        }
    }

    /// The numbers, for models that read tables.
    ///
    /// # Errors
    /// `Config` for texts, and as [`Table::check`].
    pub fn table(&self) -> Result<&Table> {
        match self {
            Self::Table(table) => table.check().map(|()| table),
            Self::Text(_) => Err(Error::config("inputs", "this model reads tables of numbers, got texts")),
        }
    }

    /// The texts, for models that read texts.
    ///
    /// # Errors
    /// `Config` for tables.
    pub fn text(&self) -> Result<&[Vec<u8>]> {
        match self {
            Self::Text(texts) => Ok(texts),
            Self::Table(_) => Err(Error::config("inputs", "this model reads texts, got a table of numbers")),
        }
    }
}

/// Examples with their classes.
#[derive(Clone, Debug, PartialEq)]
pub struct Examples {
    /// What a model reads.
    pub inputs: Inputs,
    /// What it should say: an index into [`Classification::classes`] per example.
    pub labels: Vec<u32>,
}

impl Examples {
    /// Copies of the examples at `indices`, in that order.
    ///
    /// # Panics
    /// If an index is out of range, as slices do.
    pub fn select(&self, indices: &[usize]) -> Self {
        Self { inputs: self.inputs.select(indices), labels: indices.iter().map(|&index| self.labels[index]).collect() }
    }
}

/// A classification task with a fixed split. Both sides hold at least one example of every class.
#[derive(Clone, Debug, PartialEq)]
pub struct Classification {
    /// `digits`, `rust-snippets`, or the user's path.
    pub name: String,
    /// Examples to fit on.
    pub train: Examples,
    /// Held-out examples: only for the final quality.
    pub test: Examples,
    /// Names of the classes, in the order of the labels.
    pub classes: Vec<String>,
    /// Names of the table's columns, in order; empty for texts and for unnamed columns.
    pub columns: Vec<String>,
    /// Where the data came from.
    pub provenance: Provenance,
}

/// A byte-level language modelling task with a fixed split. Documents end with [`Language::SEPARATOR`].
#[derive(Clone, Debug, PartialEq)]
pub struct Language {
    /// `rust-lm`.
    pub name: String,
    /// Text to fit on.
    pub train: Vec<u8>,
    /// Text to choose settings on.
    pub valid: Vec<u8>,
    /// Held-out text: only for the final quality.
    pub test: Vec<u8>,
    /// Where the data came from.
    pub provenance: Provenance,
}

impl Language {
    /// The byte after every document; it occurs nowhere else.
    pub const SEPARATOR: u8 = 0;
}

/// Where data came from, exactly enough to get it again; stands in every report and model file.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Provenance {
    /// Origin, for a reader.
    pub source: String,
    /// Licence and attribution.
    pub licence: String,
    /// `name version` of every crate whose text was used.
    pub crates: Vec<String>,
    /// BLAKE3 of the data after the split, as hex.
    pub digest: String,
    /// How the data was split.
    pub split: String,
}

/// A task of either kind.
#[derive(Clone, Debug, PartialEq)]
pub enum Task {
    /// Choose a class.
    Classification(Classification),
    /// Predict the next byte.
    Language(Language),
}

impl Task {
    /// Names of the embedded tasks.
    pub const EMBEDDED: [&str; 3] = ["digits", "rust-lm", "rust-snippets"];

    /// Loads an embedded task by name, or the user's `PATH.csv` / `PATH.jsonl`, whose classes stand in column `label`.
    /// The embedded tasks are always split with seed 42; `seed` splits the user's data.
    ///
    /// # Errors
    /// `Config` for an unknown name or a missing `label`; `Data` or `Io` if the data cannot be read or used.
    pub fn load(name: &str, label: Option<&str>, seed: u64) -> Result<Self> {
        let path = Path::new(name);
        let own = |read: fn(&Path, &str, u64) -> Result<Classification>| {
            let label = label.ok_or_else(|| Error::config("label", format!("{name} needs the name of its class column")))?;
            read(path, label, seed).map(Self::Classification)
        };
        match (name, path.extension().and_then(|extension| extension.to_str())) {
            ("digits", _) => Ok(Self::Classification(digits()?)),
            ("rust-lm", _) => Ok(Self::Language(rust_lm()?)),
            ("rust-snippets", _) => Ok(Self::Classification(rust_snippets()?)),
            (_, Some("csv")) => own(Self::csv),
            (_, Some("jsonl")) => own(Self::jsonl),
            _ => {
                let what = format!("`{name}` is none of {}, PATH.csv, PATH.jsonl", Self::EMBEDDED.join(", "));
                Err(Error::config("task", what))
            }
        }
    }

    /// Reads a table or texts from a CSV file with a header line; the classes stand in column `label`.
    ///
    /// A column whose cells are mostly numbers is numeric, and then every cell must be a finite number. One text column and
    /// nothing else is a text task; text columns among others become one 0/1 column per distinct text. A fifth of each class
    /// is held out, chosen by `seed`. The file is only read.
    ///
    /// # Errors
    /// `Io`, or `Data` with line and column: missing label column, one class only, fewer than two rows of a class, no rows,
    /// not UTF-8, ragged rows, missing or non-finite numbers, duplicate column names, too many distinct texts in a column.
    pub fn csv(path: &Path, label: &str, seed: u64) -> Result<Classification> {
        labelled::assemble(path, table::read(path, label)?, seed)
    }

    /// Reads a table or texts from a file of one JSON object per line; the classes stand in field `label`.
    /// The same rules as [`Task::csv`], except that a field's type is that of its first value; booleans are 0 and 1.
    ///
    /// # Errors
    /// As [`Task::csv`]; a line is limited to 16 MiB.
    pub fn jsonl(path: &Path, label: &str, seed: u64) -> Result<Classification> {
        labelled::assemble(path, jsonl::read(path, label)?, seed)
    }

    /// Name of the task.
    pub fn name(&self) -> &str {
        match self {
            Self::Classification(task) => &task.name,
            Self::Language(task) => &task.name,
        }
    }

    /// Where its data came from.
    pub fn provenance(&self) -> &Provenance {
        match self {
            Self::Classification(task) => &task.provenance,
            Self::Language(task) => &task.provenance,
        }
    }
}

/// BLAKE3 over both sides of a classification task: for each, the length of every input, its bytes, then the labels.
fn digest(train: &Examples, test: &Examples) -> String {
    let mut hasher = blake3::Hasher::new();
    for side in [train, test] {
        match &side.inputs {
            Inputs::Table(table) => {
                hasher.update(&(table.cols as u64).to_le_bytes());
                for value in &table.values {
                    hasher.update(&value.to_le_bytes());
                }
            }
            Inputs::Text(texts) => {
                for text in texts {
                    hasher.update(&(text.len() as u64).to_le_bytes());
                    hasher.update(text);
                }
            }
        }
        for label in &side.labels {
            hasher.update(&label.to_le_bytes());
        }
    }
    hasher.finalize().to_hex().to_string()
}
