//! The small models.

mod bins;
pub mod forest;
mod tree;
