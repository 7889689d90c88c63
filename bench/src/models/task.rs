//! The tasks of a run.

use crate::report;
use model_zoo::data::{Inputs, Task};

/// Loads the tasks of `--task`, before anything else is done: a user's file with a mistake in it is refused at once.
///
/// # Errors
/// What is wrong with which file, line and column.
pub fn load_tasks(names: &[String], label: Option<&str>, seed: u64) -> Result<Vec<Task>, model_zoo::Error> {
    names.iter().map(|name| Task::load(name, label, seed)).collect()
}

/// A task as the report describes it.
pub fn describe(task: &Task) -> report::Task {
    let provenance = task.provenance();
    let (kind, train, test, classes, majority) = match task {
        Task::Classification(task) => {
            let kind = match task.train.inputs {
                Inputs::Table(_) => report::TaskKind::ClassifyRows,
                Inputs::Text(_) => report::TaskKind::ClassifyText,
            };
            (kind, task.train.labels.len(), task.test.labels.len(), Some(task.classes.len() as u32), majority(&task.test.labels))
        }
        Task::Language(task) => (report::TaskKind::LanguageModel, task.train.len(), task.test.len(), None, None),
    };
    report::Task {
        name: task.name().into(),
        kind,
        source: provenance.source.clone(),
        attribution: provenance.licence.clone(),
        crates: provenance.crates.clone(),
        digest: format!("blake3:{}", provenance.digest),
        train: train as u64,
        test: test as u64,
        classes,
        majority,
    }
}

/// Share of the commonest label.
fn majority(labels: &[u32]) -> Option<f64> {
    let mut counts = std::collections::BTreeMap::new();
    labels.iter().for_each(|label| *counts.entry(label).or_insert(0u64) += 1);
    counts.into_values().max().map(|most| most as f64 / labels.len() as f64)
}
