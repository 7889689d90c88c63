//! The small models.

mod bins;
mod coordinate_descent;
pub mod features;
pub mod forest;
pub mod linear;
pub mod logistic;
pub mod mlp;
pub mod ngram;
pub mod on_text;
pub mod placed_forest;
mod platt;
pub mod reader;
pub mod rows;
mod softmax_loss;
pub mod svm;
mod tree;
