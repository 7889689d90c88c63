//! Fitting: optimizers, schedules, the loop, and what survives a crash.

pub mod checkpoint;
pub mod fit;
pub mod lbfgs;
pub mod optimizer;
pub mod order;
pub mod precision;
pub mod proximal;
pub mod regularize;
pub mod schedule;
