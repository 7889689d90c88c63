//! The ways from large to small. Each maps weights to weights; no model is written twice.

pub mod prune;
pub mod quantize;
