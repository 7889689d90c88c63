//! Measures models and kernels side by side and writes the report.

pub mod measure;
pub mod report;
pub mod stats;
