//! The model section of a run: every model trained, shrunk and measured on every task.

mod task;

pub use task::load_tasks;

use crate::kernels::Opened;
use crate::run::Run;
use crate::run_dir::RunDirError;
use model_zoo::data::Task;
use regex::Regex;

/// Trains, shrinks and measures the models into `run.report`.
///
/// # Errors
/// If the run folder cannot be written. What fails becomes a row with the reason.
pub fn run(run: &mut Run, _opened: &[Opened], tasks: &[Task], _models: Option<&Regex>) -> Result<(), RunDirError> {
    run.report.tasks = tasks.iter().map(task::describe).collect();
    run.save()
}
