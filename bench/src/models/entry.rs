//! A model on its way into the report: its row, and the call that is timed.

use crate::machine::{self, Energy, PeakReset};
use crate::report::{Metric, ModelRow, Quality, Verdict};
use crate::stats::{bootstrap_ratio, wilson};
use model_zoo::data::{Examples, Inputs, Table};
use model_zoo::model::{Classify, accuracy};
use std::rc::Rc;
use std::time::{Duration, Instant};

/// A row, and what to time for it; nothing if the model could not be had.
pub struct Entry {
    /// The row so far.
    pub row: ModelRow,
    /// One call.
    pub call: Option<Call>,
    /// Rows, texts or tokens a call handles.
    pub examples_per_call: u64,
}

/// One timed call, finished when it returns.
pub type Call = Box<dyn FnMut() -> Result<(), String>>;

impl Entry {
    /// A row that ends here: unsupported and stopped are SKIP, anything else FAIL.
    pub fn failed(mut row: ModelRow, error: &model_zoo::Error) -> Self {
        row.verdict = match error {
            model_zoo::Error::Kernel(kernels::Error::Unsupported { .. } | kernels::Error::Unavailable { .. })
            | model_zoo::Error::Stopped { .. } => Verdict::Skip,
            _ => Verdict::Fail,
        };
        row.reason = error.to_string();
        Entry { row, call: None, examples_per_call: 1 }
    }

    /// A row that cannot be measured, and why.
    pub fn skipped(mut row: ModelRow, reason: impl Into<String>) -> Self {
        row.verdict = Verdict::Skip;
        row.reason = reason.into();
        Entry { row, call: None, examples_per_call: 1 }
    }

    /// Adds the energy of one call, where this machine has counters: the call is repeated for a third of a second.
    pub fn meter(&mut self, energy: Option<&Energy>) {
        let (Some(energy), Some(call)) = (energy, self.call.as_mut()) else {
            return;
        };
        let (start, Some(before)) = (Instant::now(), energy.read()) else {
            return;
        };
        let mut calls = 0u64;
        while start.elapsed() < Duration::from_millis(333) {
            if call().is_err() {
                return;
            }
            calls += 1;
        }
        let after = energy.read();
        self.row.energy_j = after.map(|after| energy.joules(&before, &after) / (calls * self.examples_per_call) as f64);
    }
}

/// Examples of the held-out side that single calls go through in turn.
const SINGLES: usize = 64;

/// Predicts the held-out side for quality, and prepares the timed call of one example (or of `row.batch` at once).
pub fn classifier(mut row: ModelRow, model: Rc<dyn Classify>, test: &Examples) -> Entry {
    row.params = Some(model.params());
    row.nonzero_params = Some(model.nonzero_params());
    let reset = machine::reset_peak_memory();
    let predicted = match model.predict(&test.inputs) {
        Ok(predicted) => predicted,
        Err(error) => return Entry::failed(row, &error),
    };
    if reset == PeakReset::Done {
        row.peak_memory_bytes = machine::peak_memory_bytes();
    }
    row.quality = quality(&predicted, &test.labels);
    let examples_per_call = row.batch;
    let calls: Vec<Inputs> = batches(&test.inputs, row.batch as usize);
    let mut turn = 0;
    let call = move || {
        turn = (turn + 1) % calls.len().max(1);
        match calls.get(turn) {
            Some(inputs) => model.predict_proba(inputs).map(drop).map_err(|error| error.to_string()),
            None => Ok(()),
        }
    };
    Entry { row, call: Some(Box::new(call)), examples_per_call }
}

/// Accuracy with Wilson's interval.
fn quality(predicted: &[u32], labels: &[u32]) -> Option<Quality> {
    let value = accuracy(predicted, labels).ok()?;
    let n = labels.len() as u64;
    let interval = wilson((value * n as f64).round() as u64, n)?;
    Some(Quality { metric: Metric::Accuracy, value, ci_low: interval.low, ci_high: interval.high, n })
}

/// Bits per byte over windows of text, `(bits, bytes)` each, with a bootstrap interval over windows.
pub fn bits_per_byte(windows: &[(f64, f64)], seed: u64) -> Option<Quality> {
    let (bits, bytes) = windows.iter().fold((0.0, 0.0), |(bits, bytes), window| (bits + window.0, bytes + window.1));
    let interval = bootstrap_ratio(windows, 2000, seed)?;
    let (value, n) = (bits / bytes, windows.len() as u64);
    Some(Quality { metric: Metric::BitsPerByte, value, ci_low: interval.low, ci_high: interval.high, n })
}

/// Parts of the held-out side, `size` examples each.
fn batches(inputs: &Inputs, size: usize) -> Vec<Inputs> {
    let count = (inputs.len() / size.max(1)).min(SINGLES.div_ceil(size).max(1));
    (0..count).map(|part| slice(inputs, part * size, size)).collect()
}

/// `len` examples from `start`.
pub fn slice(inputs: &Inputs, start: usize, len: usize) -> Inputs {
    match inputs {
        Inputs::Table(table) => {
            let values = table.values.iter().skip(start * table.cols).take(len * table.cols).copied().collect();
            Inputs::Table(Table { rows: len, cols: table.cols, values })
        }
        Inputs::Text(texts) => Inputs::Text(texts.iter().skip(start).take(len).cloned().collect()),
    }
}
