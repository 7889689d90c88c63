//! What can go wrong on a tape.

use kernels::{DType, Shape};

/// Result of every fallible call of the tape.
pub type Result<T> = std::result::Result<T, Error>;

/// Errors of tapes and variables.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An op or the device failed.
    #[error(transparent)]
    Kernel(#[from] kernels::Error),
    /// An op without a gradient was asked for on a tape that records, with an argument that needs one.
    #[error("{op} cannot be recorded: {reason}")]
    NotDifferentiable {
        /// Name of the op.
        op: &'static str,
        /// Why there is no gradient.
        reason: &'static str,
    },
    /// A variable belongs to another tape, or to a step that has been played back.
    #[error("{op}: an argument was recorded on another tape or in an earlier step")]
    Stale {
        /// Name of the op.
        op: &'static str,
    },
    /// A buffer cannot be written while a variable shows its content.
    #[error("a buffer cannot be written while a variable holds it: end the step and drop its variables first")]
    Held,
    /// The gradient an op computed does not fit the variable it is for: a defect of that op.
    #[error("a gradient of shape {got} ({got_dtype}) was given for a variable of shape {wanted} ({wanted_dtype})")]
    Gradient {
        /// Shape of the variable.
        wanted: Shape,
        /// Element type of the variable.
        wanted_dtype: DType,
        /// Shape of the gradient.
        got: Shape,
        /// Element type of the gradient.
        got_dtype: DType,
    },
    /// The variable to differentiate is not one recorded element.
    #[error("backward: the loss must be one recorded element that depends on a parameter, got shape {got}")]
    Loss {
        /// Shape of the variable given.
        got: Shape,
    },
}
