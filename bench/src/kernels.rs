//! The kernel section of a run: every case on every backend, measured side by side.

use crate::backends::OpenError;
use crate::cases::{Case, Prepared, cases, gpu_cases};
use crate::check::{Checked, checked, self_test_of};
use crate::measure::{Step, Subject};
use crate::report::{KernelRow, NoiseFloor, Verdict};
use crate::run::{Depth, Run};
use crate::run_dir::RunDirError;
use kernels::{Backend, Error};
use regex::Regex;
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// A backend that was asked for, or why it cannot be had.
pub struct Opened {
    /// Name as on the command line.
    pub name: String,
    /// The backend.
    pub backend: Result<Arc<dyn Backend>, OpenError>,
}

/// Whether everything is measured a second time, to learn how far equal things come out apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Null {
    /// Once.
    No,
    /// Twice; the report gets a noise floor.
    Twice,
}

/// Refuses a filter that no op matches, before anything is measured or written.
///
/// # Errors
/// The filter, and the ops there are.
pub fn check_filter(depth: Depth, filter: &Regex) -> Result<(), String> {
    let ops: BTreeSet<&str> = cases(depth == Depth::Full).iter().map(Case::op).collect();
    match ops.iter().any(|op| filter.is_match(op)) {
        true => Ok(()),
        false => {
            let ops: Vec<&str> = ops.into_iter().collect();
            Err(format!("--ops {filter} matches no op; the ops measured are {}", ops.join(", ")))
        }
    }
}

/// What is measured on a backend: the cases of all, and on a GPU in a full run those that only a GPU does in reasonable time.
fn wanted(depth: Depth, backend: &Result<Arc<dyn Backend>, OpenError>, ops: Option<&Regex>) -> Vec<Case> {
    let full = depth == Depth::Full;
    let gpu = backend.as_ref().is_ok_and(|on| on.name() != "cpu" && !on.info().software);
    let extra = if full && gpu { gpu_cases() } else { Vec::new() };
    cases(full).into_iter().chain(extra).filter(|case| ops.is_none_or(|ops| ops.is_match(case.op()))).collect()
}

/// Time for a row. A device with a queue of its own is disturbed by less, and its calls are short.
fn seconds(depth: Depth, queues: bool) -> f64 {
    match depth {
        Depth::Full if !queues => 2.0,
        _ => 0.45,
    }
}

/// Measures the kernels into `run.report`.
///
/// # Errors
/// If the run folder cannot be written. What a backend cannot do becomes a row with the reason.
pub fn run(run: &mut Run, opened: &[Opened], ops: Option<&Regex>, null: Null) -> Result<(), RunDirError> {
    let mut rows = Vec::new();
    let mut prepared = Vec::new();
    for Opened { name, backend } in opened {
        let cases = wanted(run.depth, backend, ops);
        run.progress.step(&format!("kernels: preparing {} operands on {name}", cases.len()));
        for (at, case) in cases.iter().enumerate() {
            if run.stopped() {
                break;
            }
            // A GPU's driver compiles kernels here, a software one for seconds each.
            run.progress.detail(&format!("kernels: preparing {} of {} on {name}: {}", at + 1, cases.len(), case.op()));
            let (row, ready) = prepare(case, name, backend);
            prepared.extend(ready.map(|ready| (rows.len(), ready)));
            rows.push(row);
        }
    }
    let copies = if null == Null::Twice { 2 } else { 1 };
    let budget: f64 = prepared.iter().map(|(_, ready)| seconds(run.depth, ready.queues())).sum();
    let budget = Duration::from_secs_f64(budget * copies as f64);
    run.progress.step(&format!("kernels: measuring {} rows side by side", prepared.len()));
    // The second measurement of `--null` shares its operands with the first, so calls go through a cell.
    let cells: Vec<(String, RefCell<&mut Prepared<'_>>)> =
        prepared.iter_mut().map(|(place, ready)| (rows[*place].id.clone(), RefCell::new(ready))).collect();
    let again =
        cells.iter().map(|(id, cell)| (format!("{id}#again"), cell)).take(if null == Null::Twice { cells.len() } else { 0 });
    let subjects = cells.iter().map(|(id, cell)| (id.clone(), cell)).chain(again);
    let subjects = subjects
        .map(|(id, cell)| {
            let wait: Option<Step<'_>> = cell
                .borrow()
                .queues()
                .then(|| -> Step<'_> { Box::new(|| cell.borrow().wait().map_err(|error| error.to_string())) });
            Subject { id, call: Box::new(|| cell.borrow_mut().start().map_err(|error| error.to_string())), wait }
        })
        .collect();
    let measurements = run.measure(subjects, budget)?;
    drop(cells);
    let (first, again) = measurements.split_at(prepared.len().min(measurements.len()));
    for ((place, ready), measurement) in prepared.iter_mut().zip(first) {
        let row = &mut rows[*place];
        if let Ok(work) = ready.work() {
            row.record(measurement, work, run.report.limits.get(&row.backend));
        }
    }
    if null == Null::Twice {
        let medians = first.iter().zip(again).filter_map(|(a, b)| Some((a.summary()?.median, b.summary()?.median)));
        run.report.noise_floor = NoiseFloor::of_pairs(&medians.collect::<Vec<_>>());
    }
    verify(run, opened, ops, &mut rows);
    run.report.kernels.extend(rows);
    run.save()
}

/// Runs the short conformance check, so that a fast kernel that is wrong does not pass for a fast kernel. Rows of a backend are in
/// the order of the cases.
fn verify(run: &Run, opened: &[Opened], ops: Option<&Regex>, rows: &mut [KernelRow]) {
    for Opened { name, backend } in opened {
        let Ok(on) = backend else {
            continue;
        };
        if run.stopped() || !rows.iter().any(|row| row.backend == *name && row.median_ns.is_some()) {
            continue;
        }
        let cases = wanted(run.depth, backend, ops);
        run.progress.step(&format!("kernels: checking a few cases of every op that was timed on {name} against f64"));
        let report = self_test_of(on.as_ref(), cases.iter().map(|case| (case.op(), case.op_dtype())));
        let of_backend = rows.iter_mut().filter(|row| row.backend == *name);
        for (row, case) in of_backend.zip(&cases).filter(|(row, _)| row.median_ns.is_some()) {
            match checked(&report, case.op(), case.op_dtype()) {
                Checked::Right { budget_used } => row.error_budget_used = budget_used,
                Checked::Wrong(what) => {
                    row.verdict = Verdict::Fail;
                    row.reason = format!("computes wrong: {what}");
                }
                Checked::Not => {
                    row.verdict = Verdict::Fail;
                    row.reason = "no case of the op was checked: its time may be that of wrong results".into();
                }
            }
        }
    }
}

fn prepare<'b>(case: &Case, name: &str, backend: &'b Result<Arc<dyn Backend>, OpenError>) -> (KernelRow, Option<Prepared<'b>>) {
    let threads = backend.as_ref().map_or(0, |on| on.info().threads as u32);
    let mut row = case.row(name, threads);
    row.software = backend.as_ref().is_ok_and(|on| on.info().software);
    let ready = match backend {
        Ok(on) => case.prepare(on.as_ref()).and_then(|mut ready| ready.call().map(|()| ready)),
        Err(error) => {
            row.reason = error.to_string();
            return (row, None);
        }
    };
    match ready {
        Ok(ready) => (row, Some(ready)),
        Err(error) => {
            row.verdict = match error {
                Error::Unsupported { .. } | Error::Limit { .. } => Verdict::Skip,
                _ => Verdict::Fail,
            };
            row.reason = error.to_string();
            (row, None)
        }
    }
}
