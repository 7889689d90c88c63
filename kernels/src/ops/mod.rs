//! The ops, one file each: arguments, documentation, checks, cost.
//!
//! Rules all of them share, said once:
//! - Shapes must match exactly; broadcasting is done by the caller through stride 0 ([`View::broadcast_to`](crate::View::broadcast_to)).
//! - An output may have any strides under which no two indices share an element, unless the op asks for a dense last dimension.
//! - Zero sizes are legal: an op without output elements does nothing.
//! - bf16 and f16 operands are widened to f32, all arithmetic is f32, and each output rounds once (to nearest, ties to even).
//!   Where both factors of [`Matmul`] or [`Linear`] are bf16, subnormal ones may count as zero and subnormal sums become zero.
//! - NaN and infinity follow IEEE 754 unless an op says otherwise; nothing is skipped because it would be multiplied by zero,
//!   except the values a sparse weight does not store.

mod adamw;
mod attention;
mod attention_backward;
mod axpy;
mod binary;
mod cast;
mod check;
mod clip_norm;
mod copy;
mod cross_entropy;
mod cross_entropy_backward;
mod download;
mod fill;
mod forest;
mod gather;
mod layer_norm;
mod layer_norm_backward;
mod linear;
mod linear_int8;
mod matmul;
mod quantize;
mod random;
mod reduce;
mod rms_norm;
mod rms_norm_backward;
mod rope;
mod scatter_add;
mod sgd;
mod softmax;
mod softmax_backward;
mod unary;
mod unary_backward;
mod upload;

pub use adamw::AdamW;
pub use attention::{Attention, Mask};
pub use attention_backward::AttentionBackward;
pub use axpy::Axpy;
pub use binary::{Binary, BinaryOp};
pub use cast::Cast;
pub use clip_norm::ClipNorm;
pub use copy::Copy;
pub use cross_entropy::{CrossEntropy, Target};
pub use cross_entropy_backward::CrossEntropyBackward;
pub use download::{Download, HostSliceMut};
pub use fill::Fill;
pub use forest::Forest;
pub use gather::Gather;
pub use layer_norm::LayerNorm;
pub use layer_norm_backward::LayerNormBackward;
pub use linear::{Act, Linear};
pub use linear_int8::LinearInt8;
pub use matmul::Matmul;
pub use quantize::Quantize;
pub use random::{Distribution, Random};
pub use reduce::{Reduce, ReduceOp};
pub use rms_norm::RmsNorm;
pub use rms_norm_backward::RmsNormBackward;
pub use rope::{Direction, Pairing, Rope};
pub use scatter_add::ScatterAdd;
pub use sgd::{Momentum, Sgd};
pub use softmax::Softmax;
pub use softmax_backward::SoftmaxBackward;
pub use unary::{Unary, UnaryOp};
pub use unary_backward::UnaryBackward;
pub use upload::{HostSlice, Upload};

use check::{Check, Window, bytes_of};
