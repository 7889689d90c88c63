//! The ways from large to small. Each maps weights to weights, or trains a smaller model; no model is written twice.

pub mod blocks;
pub mod distill;
pub mod prune;
pub mod quantize;
