//! Gradients on an explicit tape, over any [`kernels::Backend`].
//!
//! A [`Tape`] runs ops as they are called and, for those that depend on a parameter, keeps a closure that turns the gradient of
//! the result into the gradients of the arguments. Each op is one file with its forward and its gradient side by side; there is
//! no list of ops, so that a new one is a new file that calls [`Tape::record`].
//!
//! ```no_run
//! use std::sync::Arc;
//! use kernels::{Backend, DType, ops::Act};
//! use model_zoo::autograd::{Tape, Target};
//! fn step(on: Arc<dyn Backend>, weight: Arc<kernels::Buffer>) -> model_zoo::autograd::Result<()> {
//!     let mut tape = Tape::new(on);
//!     let w = tape.leaf(&weight, [10, 64])?;
//!     let x = tape.upload(&[0f32; 128], [2, 64])?;
//!     let class = tape.upload(&[3u32, 7], [2])?;
//!     let logits = tape.linear(&x, &w, None, Act::None)?;
//!     let loss = tape.cross_entropy(&logits, Target::Class(&class), 1.0)?;
//!     let loss = tape.mean(&loss)?;
//!     let gradients = tape.backward(&loss)?;
//!     assert!(gradients.get(&w).is_some());
//!     tape.recycle(gradients);
//!     Ok(())
//! }
//! ```

mod attention;
mod backward;
mod binary;
mod cast;
mod cross_entropy;
mod error;
mod gather;
mod gradients;
mod layer_norm;
mod linear;
mod matmul;
mod pool;
mod reduce;
mod rms_norm;
mod rope;
mod softmax;
mod tape;
mod unary;
mod var;
mod view;

pub use backward::Backward;
pub use cross_entropy::Target;
pub use error::{Error, Result};
pub use gradients::Gradients;
pub use linear::Matrix;
pub use pool::{Output, exclusive};
pub use tape::Tape;
pub use var::{Input, Var};
