//! Measures models and kernels side by side and writes the report.

pub mod backends;
pub mod cases;
pub mod check;
pub mod compare;
pub mod criterion_import;
pub mod crossover;
pub mod doctor;
pub mod figures;
#[cfg(test)]
mod fixture;
pub mod html;
pub mod kernels;
pub mod machine;
pub mod markdown;
pub mod measure;
pub mod models;
pub mod ops_table;
pub mod pareto;
#[cfg(feature = "peers")]
pub mod peers;
pub mod performance;
pub mod progress;
pub mod recommend;
pub mod report;
pub mod run;
pub mod run_dir;
pub mod stats;
pub mod table;
pub mod terminal;
