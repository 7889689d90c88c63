//! Large and small models on top of the sizewise kernels, and the ways from large to small.

pub mod autograd;
pub mod container;
pub mod data;
mod error;
mod hash;
pub mod large;
pub mod model;
pub mod params;
pub mod random;
pub mod shrink;
pub mod small;
pub mod stored_weights;
pub mod train;
pub mod weights;

pub use error::{Error, Result};
