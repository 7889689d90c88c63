//! What every task of the model section works with.

use super::entry::{Entry, classifier};
use crate::kernels::Opened;
use crate::machine::Energy;
use crate::progress::Progress;
use crate::report::{Family, ModelRow};
use crate::run::{Depth, Run};
use kernels::Backend;
use model_zoo::Result;
use model_zoo::data::Examples;
use model_zoo::model::Classify;
use model_zoo::train::fit::Surroundings;
use regex::Regex;
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Backends, settings and surroundings of one task.
pub struct Section<'r> {
    opened: &'r [Opened],
    first: Arc<dyn Backend>,
    filter: Option<&'r Regex>,
    progress: &'r Progress,
    stop: &'static AtomicBool,
    energy: Option<Energy>,
    depth: Depth,
    seed: u64,
    /// Where only the names of rows are wanted: those asked about so far.
    names: Option<RefCell<Vec<String>>>,
}

/// Names a row before it exists.
#[derive(Clone, Debug)]
pub struct Named<'a> {
    /// Task.
    pub task: &'a str,
    /// Large or small.
    pub family: Family,
    /// Model.
    pub model: &'a str,
    /// How its weights are stored, or what it was made from.
    pub variant: String,
}

impl Named<'_> {
    /// An empty row on a backend.
    pub fn row(&self, backend: &str) -> ModelRow {
        ModelRow::new(self.task, self.family, self.model, &self.variant, backend)
    }
}

/// Cost of making a model, known before it is put on a device.
#[derive(Clone, Debug, Default)]
pub struct Made {
    /// Seconds it took to train or shrink.
    pub train_s: f64,
    /// Size of its file.
    pub file_bytes: u64,
    /// Id of the row it was made from.
    pub made_from: Option<String>,
}

impl<'r> Section<'r> {
    /// For one task; nothing if no backend can be used.
    pub fn new(run: &'r Run, opened: &'r [Opened], filter: Option<&'r Regex>) -> Option<Self> {
        let progress = &run.progress;
        let energy = Energy::open();
        let first = Self::usable(opened)?;
        Some(Section {
            opened,
            first,
            filter,
            progress,
            stop: run.stop_flag(),
            energy,
            depth: run.depth,
            seed: run.seed,
            names: None,
        })
    }

    /// One that trains nothing and gathers the names of the rows it would make; nothing as for [`Section::new`].
    pub fn lister(opened: &'r [Opened], depth: Depth, progress: &'r Progress) -> Option<Self> {
        static GO_ON: AtomicBool = AtomicBool::new(false);
        let (first, names) = (Self::usable(opened)?, Some(RefCell::default()));
        Some(Section { opened, first, filter: None, progress, stop: &GO_ON, energy: None, depth, seed: 0, names })
    }

    /// The names gathered.
    pub fn into_names(self) -> Vec<String> {
        self.names.map(RefCell::into_inner).unwrap_or_default()
    }

    fn usable(opened: &[Opened]) -> Option<Arc<dyn Backend>> {
        let usable = || opened.iter().filter_map(|opened| opened.backend.as_ref().ok());
        usable().find(|on| on.name() == "cpu").or_else(|| usable().next()).cloned()
    }

    /// The backend models are trained on: the CPU if it is among those asked for.
    pub fn first(&self) -> &Arc<dyn Backend> {
        &self.first
    }

    /// Seed of the run.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// `quick` or `full`, as the run is.
    pub fn by_depth<T>(&self, quick: T, full: T) -> T {
        match self.depth {
            Depth::Quick => quick,
            Depth::Full => full,
        }
    }

    /// Whether any row of this name is asked for.
    pub fn wants(&self, named: &Named<'_>) -> bool {
        if let Some(names) = &self.names {
            names.borrow_mut().extend(self.opened.iter().map(|opened| named.row(&opened.name).id));
            return false;
        }
        self.filter.is_none_or(|filter| self.opened.iter().any(|opened| filter.is_match(&named.row(&opened.name).id)))
    }

    /// Whether the user has asked to stop.
    pub fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Tells the user what is being done.
    pub fn step(&self, what: &str) {
        self.progress.step(what);
    }

    /// Runs a training with live progress under `title`, ended by Ctrl-C.
    pub fn train<T>(&self, title: &str, fit: impl FnOnce(&mut Surroundings<'_>) -> Result<T>) -> Result<(T, f64)> {
        self.step(title);
        let start = Instant::now();
        let mut shown = Instant::now();
        let mut progress = |at: &model_zoo::train::fit::Progress| {
            if shown.elapsed() >= Duration::from_millis(250) {
                shown = Instant::now();
                let left = at.elapsed.as_secs_f64() / at.step.max(1) as f64 * at.steps.saturating_sub(at.step) as f64;
                self.progress
                    .detail(&format!("{title}: step {} of {}, loss {:.3}, {left:.0} s left", at.step, at.steps, at.loss));
            }
        };
        let mut around =
            Surroundings { progress: &mut progress, evaluate: None, stop: self.stop, time_budget: None, checkpoints: None };
        let made = fit(&mut around)?;
        // A model half trained is no result.
        if self.stopped() {
            return Err(model_zoo::Error::Stopped { what: title.into() });
        }
        Ok((made, start.elapsed().as_secs_f64()))
    }

    /// A row on every backend asked for: the model is put there by `place` and measured on `test`, or the row says why not.
    pub fn classify(
        &self,
        entries: &mut Vec<Entry>,
        named: &Named<'_>,
        made: &Made,
        test: &Examples,
        place: impl Fn(&Arc<dyn Backend>) -> Result<Rc<dyn Classify>>,
    ) {
        self.on_each(entries, named, made, |row, on| match place(on) {
            Ok(model) => classifier(row, model, test),
            Err(error) => Entry::failed(row, &error),
        });
    }

    /// Fills an entry for each backend.
    pub fn on_each(
        &self,
        entries: &mut Vec<Entry>,
        named: &Named<'_>,
        made: &Made,
        measure: impl Fn(ModelRow, &Arc<dyn Backend>) -> Entry,
    ) {
        for Opened { name, backend } in self.opened {
            let mut row = filled(named.row(name), made);
            row.software = backend.as_ref().is_ok_and(|on| on.info().software);
            let entry = match backend {
                Ok(on) => measure(row, on),
                Err(error) => Entry::skipped(row, error.to_string()),
            };
            self.push(entries, entry);
        }
    }

    /// Adds an entry, with its energy where that can be read.
    pub fn push(&self, entries: &mut Vec<Entry>, mut entry: Entry) {
        if self.stopped() {
            entry.call = None;
        }
        entry.meter(self.energy.as_ref());
        entries.push(entry);
    }

    /// A row for each backend that says why there is no model.
    pub fn failed(&self, entries: &mut Vec<Entry>, named: &Named<'_>, error: &model_zoo::Error) {
        entries.extend(self.opened.iter().map(|opened| Entry::failed(named.row(&opened.name), error)));
    }
}

fn filled(mut row: ModelRow, made: &Made) -> ModelRow {
    row.train_s = Some(made.train_s);
    row.file_bytes = Some(made.file_bytes);
    row.made_from.clone_from(&made.made_from);
    row
}
