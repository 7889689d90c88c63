//! The contract of sizewise: what a device must do, said once.
//!
//! An op is a struct of named arguments; [`Op::run`] validates it and queues it on any [`Backend`]:
//!
//! ```no_run
//! use kernels::{Backend, DType, Memory, Op, ops::*};
//! fn double(on: &dyn Backend) -> kernels::Result<Vec<f32>> {
//!     let mut x = on.alloc(DType::F32, 4)?;
//!     let mut y = on.alloc(DType::F32, 4)?;
//!     Upload::new(&[1f32, 2.0, 3.0, 4.0], x.view_mut([4])?).run(on)?;
//!     Unary { op: UnaryOp::Affine { scale: 2.0, shift: 0.0 }, x: x.view([4])?, out: y.view_mut([4])? }.run(on)?;
//!     let mut host = vec![0f32; 4];
//!     Download::new(y.view([4])?, &mut host).run(on)?;
//!     Ok(host)
//! }
//! ```
//!
//! Shapes in the documentation are written `[B, T, H, D]`; weights are `[N, K]` = `[out_features, in_features]`.
//! With the feature `conformance` the crate also holds the f64 reference of every op and the suite that any backend,
//! inside or outside this workspace, is proven by.

mod backend;
mod buffer;
#[cfg(feature = "conformance")]
pub mod conformance;
mod dtype;
mod error;
mod layout;
pub mod op;
pub mod ops;
#[cfg(feature = "conformance")]
pub mod reference;
mod shape;
pub mod weight;

pub use backend::{Backend, DeviceInfo, Memory, MemoryStats, OP_NAMES, SupportRow, support_table};
pub use buffer::{Buffer, DeviceId, View, ViewMut};
pub use dtype::{DType, Element};
pub use error::{Error, Result};
pub use layout::{Indices, Layout};
pub use op::{Checked, Cost, Launch, Op, Support};
pub use shape::{MAX_RANK, Shape};
pub use weight::{Packed, Weight, WeightRef};
