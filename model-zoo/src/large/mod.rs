//! Transformers: a decoder of text and a classifier, on the same blocks, trained and run by the same forward pass.

pub mod blocks;
pub mod classifier;
pub mod classifier_runner;
pub mod fit;
pub mod gpt;
pub mod kv_cache;
pub mod llama;
pub mod sampling;
pub mod session;
pub mod stored;
pub mod units;
mod words;
