//! What can go wrong, with the op, the argument, what was wanted and what was got; never data.

use crate::{DType, Layout, Shape};

/// Result of every fallible call of the contract.
pub type Result<T> = std::result::Result<T, Error>;

/// Errors of ops, memory and devices.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An argument has the wrong shape.
    #[error("{op}: `{arg}` must have shape {wanted}, got {got}")]
    Shape {
        /// Name of the op.
        op: &'static str,
        /// Name of the argument.
        arg: &'static str,
        /// The shape, or the rule for it.
        wanted: Box<str>,
        /// The shape given.
        got: Shape,
    },
    /// An argument has the wrong element type.
    #[error("{op}: `{arg}` must be {wanted}, got {got}")]
    DType {
        /// Name of the op.
        op: &'static str,
        /// Name of the argument.
        arg: &'static str,
        /// The dtypes allowed.
        wanted: Box<str>,
        /// The dtype given.
        got: DType,
    },
    /// An argument has strides the op does not take.
    #[error("{op}: `{arg}` must have {wanted}, got shape {} with strides {:?}", got.shape(), got.strides())]
    Layout {
        /// Name of the op.
        op: &'static str,
        /// Name of the argument.
        arg: &'static str,
        /// The rule for the strides.
        wanted: &'static str,
        /// The layout given.
        got: Box<Layout>,
    },
    /// A parameter is out of its range.
    #[error("{op}: `{arg}` must be {wanted}, got {got}")]
    Value {
        /// Name of the op.
        op: &'static str,
        /// Name of the parameter.
        arg: &'static str,
        /// The range allowed.
        wanted: &'static str,
        /// The value given, as text.
        got: String,
    },
    /// An index among the data is out of range. Nothing outside the operands was read or written; the outputs are unspecified.
    #[error("{op}: `{arg}`[{at}] = {got} is out of range, it must be below {limit}")]
    Index {
        /// Name of the op.
        op: &'static str,
        /// Name of the argument that holds the index.
        arg: &'static str,
        /// Position of the offending index.
        at: usize,
        /// One past the largest legal index.
        limit: usize,
        /// The index found.
        got: u64,
    },
    /// An operand lives on another device.
    #[error("{op}: `{arg}` lives on another device than the backend {backend} the op runs on")]
    Device {
        /// Name of the op.
        op: &'static str,
        /// Name of the argument.
        arg: &'static str,
        /// Backend the op was asked to run on.
        backend: &'static str,
    },
    /// The backend has no kernel for this op and dtype.
    #[error("{op}: not supported for {dtype} on backend {backend}: {reason}")]
    Unsupported {
        /// Name of the op.
        op: &'static str,
        /// Compute dtype asked for.
        dtype: DType,
        /// Name of the backend.
        backend: &'static str,
        /// Why, from the support table.
        reason: &'static str,
    },
    /// The backend cannot be opened on this machine.
    #[error("backend {backend} is not available: {reason}\n  remedy: {remedy}")]
    Unavailable {
        /// Name of the backend.
        backend: &'static str,
        /// What is missing.
        reason: String,
        /// What the user can do about it.
        remedy: String,
    },
    /// The device or host has not enough memory.
    #[error("backend {backend}: out of memory, {wanted_bytes} bytes wanted")]
    OutOfMemory {
        /// Name of the backend.
        backend: &'static str,
        /// Size of the allocation that failed.
        wanted_bytes: u64,
    },
    /// A size is beyond what the format or the device can address.
    #[error("{op}: {what} is limited to {limit}, got {got}")]
    Limit {
        /// Name of the op.
        op: &'static str,
        /// The quantity that is limited.
        what: &'static str,
        /// Its largest value.
        limit: u64,
        /// The value asked for.
        got: u64,
    },
    /// A self-test of the device found that it computes this op wrong.
    #[error("{op}: refused by backend {backend}, as {device} computes it wrong: {what}")]
    Quarantined {
        /// Name of the op.
        op: &'static str,
        /// Name of the backend.
        backend: &'static str,
        /// Name of the device.
        device: String,
        /// What it gave.
        what: String,
    },
    /// The device failed while running an op. Sticky: every later call on this backend returns it.
    #[error("backend {backend}: {op} failed on the device: {what}")]
    Fault {
        /// Name of the backend.
        backend: &'static str,
        /// Op that was running.
        op: &'static str,
        /// The device's own words.
        what: String,
    },
}
