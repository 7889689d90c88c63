//! The specification: every op, naive, in f64, on contiguous row-major slices.
//!
//! Nothing here is fast or clever. Conformance compares every backend with these functions, applied to the inputs as they are
//! after rounding to their dtype; the functions themselves are tested against hand-computed values, published golden values and
//! (gradients) central differences. Copies, fills and casts need no function: rounding is [`Element::from_f64`](crate::Element).

mod adamw;
mod attention;
mod binary;
mod clip_norm;
mod cross_entropy;
mod erf;
mod forest;
mod gather;
mod layer_norm;
mod linear;
mod matmul;
mod quantize;
mod random;
mod reduce;
mod rms_norm;
mod rope;
mod scatter_add;
mod sgd;
mod softmax;
mod unary;

pub use adamw::{AdamWRates, adamw};
pub use attention::{AttentionDims, Forward, Query, attention, attention_backward, dot, scores};
pub use binary::binary;
pub use clip_norm::clip_norm;
pub use cross_entropy::{TargetRow, cross_entropy_backward_row, cross_entropy_row};
pub use erf::{erf, erfc};
pub use forest::{Stray, Trees};
pub use gather::gather;
pub use layer_norm::{layer_norm_backward_row, layer_norm_row};
pub use linear::{activate, linear, stored};
pub use matmul::{MatmulDims, matmul, wrap_i32};
pub use quantize::quantize_row;
pub use random::{philox, random, words};
pub use reduce::reduce;
pub use rms_norm::{rms_norm_backward_row, rms_norm_row};
pub use rope::{Rotation, pair, rope};
pub use scatter_add::scatter_add;
pub use sgd::{SgdRates, sgd, sign};
pub use softmax::{softmax_backward_row, softmax_row};
pub use unary::{unary, unary_derivative};
