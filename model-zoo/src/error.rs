//! What can go wrong above the kernels: the user's data, a configuration, a model file, the file system.

use std::fmt;
use std::path::{Path, PathBuf};

/// Result of every fallible call of the zoo.
pub type Result<T> = std::result::Result<T, Error>;

/// Errors of data, configurations, model files and models.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A data set cannot be used; names the file and, where known, the line and the column.
    #[error("{}{}{}: {what}", path.display(), Line(*line), Column(column))]
    Data {
        /// The file, or the name of an embedded data set.
        path: PathBuf,
        /// Line in the file, counted from 1.
        line: Option<u64>,
        /// Name of the column.
        column: Option<String>,
        /// What is wrong and what would be right.
        what: String,
    },
    /// A setting or an argument is outside what the model or the data allow.
    #[error("`{name}`: {what}")]
    Config {
        /// Name of the setting or argument.
        name: &'static str,
        /// What is wrong and what would be right.
        what: String,
    },
    /// A model file is damaged, is no model file, or holds another model than was asked for.
    #[error("{}: `{field}`{}: {what}", path.display(), Offset(*offset))]
    Format {
        /// The file; empty for a container that was never written to one.
        path: PathBuf,
        /// Part of the file: a header field or the name of a tensor.
        field: String,
        /// Where that part begins, in bytes from the start of the file.
        offset: Option<u64>,
        /// What is wrong.
        what: String,
    },
    /// The file system refused.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// The reason the system gave.
        source: std::io::Error,
    },
    /// The user stopped it: what there is of the model is not finished.
    #[error("{what} was stopped before its end")]
    Stopped {
        /// What was going on.
        what: String,
    },
    /// An op or a device failed.
    #[error(transparent)]
    Kernel(#[from] kernels::Error),
    /// Training met a loss or a gradient that is not finite; the parameters are as after the last good step.
    #[error("step {step}: the {what} is {value}; the last good loss was {}", LastGood(*last_good_loss))]
    Diverged {
        /// The step, counted from 0.
        step: u64,
        /// `loss`, or `norm of the gradients`.
        what: &'static str,
        /// What it was.
        value: f64,
        /// Loss of the last step before; none at the first.
        last_good_loss: Option<f64>,
    },
    /// A step could not be recorded or played back.
    #[error(transparent)]
    Tape(#[from] crate::autograd::Error),
}

impl Error {
    /// A data error about a whole file.
    pub(crate) fn data(path: &Path, what: impl Into<String>) -> Self {
        Self::Data { path: path.into(), line: None, column: None, what: what.into() }
    }

    /// A data error at a line, counted from 1.
    pub(crate) fn data_at(path: &Path, line: u64, what: impl Into<String>) -> Self {
        Self::Data { path: path.into(), line: Some(line), column: None, what: what.into() }
    }

    /// A data error about a column.
    pub(crate) fn data_in(path: &Path, line: Option<u64>, column: &str, what: impl Into<String>) -> Self {
        Self::Data { path: path.into(), line, column: Some(column.into()), what: what.into() }
    }

    /// A configuration error.
    pub(crate) fn config(name: &'static str, what: impl Into<String>) -> Self {
        Self::Config { name, what: what.into() }
    }

    /// A damaged or foreign model container.
    pub(crate) fn format(path: &Path, field: impl Into<String>, offset: Option<u64>, what: impl Into<String>) -> Self {
        Self::Format { path: path.into(), field: field.into(), offset, what: what.into() }
    }

    /// For `map_err` on calls of the file system.
    pub(crate) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Self + '_ {
        move |source| Self::Io { path: path.into(), source }
    }
}

struct Line(Option<u64>);
impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |line| write!(f, ", line {line}"))
    }
}

struct Column<'a>(&'a Option<String>);
impl fmt::Display for Column<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_ref().map_or(Ok(()), |column| write!(f, ", column `{column}`"))
    }
}

struct LastGood(Option<f64>);
impl fmt::Display for LastGood {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(loss) => write!(f, "{loss}"),
            None => f.write_str("none"),
        }
    }
}

struct Offset(Option<u64>);
impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |offset| write!(f, " at byte {offset}"))
    }
}
