//! The small models.

mod bins;
pub mod forest;
pub mod ngram;
mod tree;
