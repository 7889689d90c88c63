//! The model section of a run: every model trained, shrunk and measured on every task.

mod classification;
mod entry;
mod language;
mod section;
mod small;
mod task;
mod variants;

pub use task::load_tasks;

use crate::kernels::Opened;
use crate::progress::Progress;
use crate::report::{NOT_REACHED, Report};
use crate::run::{Depth, Run};
use crate::run_dir::RunDirError;
use entry::Entry;
use model_zoo::data::Task;
use regex::Regex;
use section::Section;
use std::time::Duration;

/// Trains, shrinks and measures the models into `run.report`, task by task.
///
/// # Errors
/// If the run folder cannot be written. What fails becomes a row with the reason.
pub fn run(run: &mut Run, opened: &[Opened], tasks: &[Task], models: Option<&Regex>) -> Result<(), RunDirError> {
    run.report.tasks = tasks.iter().map(task::describe).collect();
    run.save()?;
    for task in tasks {
        let Some(section) = Section::new(run, opened, models) else {
            break;
        };
        let entries = match task {
            Task::Classification(task) => classification::entries(&section, task),
            Task::Language(task) => language::entries(&section, task),
        };
        measure(run, task.name(), entries)?;
        if run.stopped() {
            break;
        }
    }
    Ok(())
}

/// Refuses a filter that no row matches, before anything is measured or written.
///
/// # Errors
/// The filter, and the names there are.
pub fn check_filter(opened: &[Opened], tasks: &[Task], depth: Depth, filter: &Regex) -> Result<(), String> {
    let progress = Progress::silent();
    let names = |task: &Task| {
        let section = Section::lister(opened, depth, &progress)?;
        match task {
            Task::Classification(task) => drop(classification::entries(&section, task)),
            Task::Language(task) => drop(language::entries(&section, task)),
        }
        Some(section.into_names())
    };
    let names: Vec<String> = tasks.iter().filter_map(names).flatten().collect();
    match names.is_empty() || names.iter().any(|name| filter.is_match(name)) {
        true => Ok(()),
        false => Err(format!("--models {filter} matches no model; the models are\n  {}", names.join("\n  "))),
    }
}

/// Times the entries of a task side by side and adds their rows to the report.
fn measure(run: &mut Run, task: &str, mut entries: Vec<Entry>) -> Result<(), RunDirError> {
    let timed: Vec<usize> = (0..entries.len()).filter(|&at| entries[at].call.is_some()).collect();
    run.progress.step(&format!("{task}: timing {} models side by side", timed.len()));
    let per_model = if run.depth == Depth::Full { 1.5 } else { 0.3 };
    let budget = Duration::from_secs_f64(per_model * timed.len() as f64);
    let subjects = entries.iter_mut().filter_map(|entry| {
        let id = entry.row.id.clone();
        entry.call.take().map(|call| crate::measure::Subject { id, call, wait: None })
    });
    let measurements = run.measure(subjects.collect(), budget)?;
    for (&at, measurement) in timed.iter().zip(&measurements) {
        let examples = entries[at].examples_per_call;
        entries[at].row.record(measurement, examples);
    }
    let known = |report: &Report, id: &str| report.models.iter().any(|row| row.id == id);
    for mut entry in entries {
        if entry.row.reason == NOT_REACHED && entry.row.quality.is_some() {
            entry.row.reason = "evaluated, not timed: the run was stopped".into();
        }
        if !known(&run.report, &entry.row.id) {
            run.report.models.push(entry.row);
        }
    }
    run.save()
}
