//! Fitting: optimizers, schedules, the loop, and what survives a crash.

pub mod lbfgs;
pub mod order;
pub mod proximal;
pub mod schedule;
