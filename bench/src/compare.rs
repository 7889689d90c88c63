//! Two runs, row by row: what changed beyond noise.
//!
//! A time has changed when the ratio of the medians exceeds the noise floor *and* the rows' own 95 % intervals do
//! not overlap; a quality, when the 95 % intervals do not overlap. The floor is the larger of the two runs'
//! `--null` floors; where neither run measured one, [`ASSUMED_FLOOR`], and the comparison says so.

use std::collections::BTreeMap;

use crate::figures;
use crate::report::{KernelRow, ModelRow, Report, Verdict};
use crate::stats::Interval;
use crate::table::Table;

/// The floor used when no run measured its own with `--null`.
pub const ASSUMED_FLOOR: f64 = 0.10;

/// What became of one figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Better beyond noise.
    Better,
    /// Worse beyond noise.
    Worse,
    /// Different in a way that is neither, e.g. a row that is NOISY now.
    Other,
}

impl Change {
    fn as_str(self) -> &'static str {
        match self {
            Self::Better => "better",
            Self::Worse => "WORSE",
            Self::Other => "changed",
        }
    }
}

/// One figure that changed.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    /// Row id.
    pub id: String,
    /// Which figure: `median`, `latency`, `quality`, `file size`, `verdict`.
    pub figure: &'static str,
    /// Before, as text.
    pub before: String,
    /// After, as text.
    pub after: String,
    /// By how much, as text.
    pub by: String,
    /// For better or worse.
    pub change: Change,
}

/// Whether a gate should let the second run pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing is worse beyond noise.
    NoRegression,
    /// Something is: exit code 2.
    Regression,
}

impl Outcome {
    /// The exit code of `compare`.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::NoRegression => 0,
            Self::Regression => 2,
        }
    }
}

/// The comparison of two runs.
#[derive(Clone, Debug, PartialEq)]
pub struct Comparison {
    /// Noise floor used.
    pub floor: f64,
    /// Rows found in both runs.
    pub matched: usize,
    /// Those VALID in both, whose times were compared.
    pub timed: usize,
    /// What changed, worst kind first.
    pub differences: Vec<Difference>,
    /// Why the two runs may not be comparable, and rows without a partner.
    pub warnings: Vec<String>,
}

/// Compares `after` with `before`.
pub fn compare(before: &Report, after: &Report) -> Comparison {
    let mut warnings = settings_warnings(before, after);
    let measured = [before, after].iter().filter_map(|run| run.noise_floor).map(|floor| floor.share).reduce(f64::max);
    let floor = measured.unwrap_or_else(|| {
        let assumed = figures::percent(ASSUMED_FLOOR);
        warnings.push(format!("neither run measured its noise floor (--null): {assumed} is assumed"));
        ASSUMED_FLOOR
    });
    let mut differences = Vec::new();
    let kernels = pair(&before.kernels, &after.kernels, |row| &row.id, &mut warnings);
    for (old, new) in &kernels {
        compare_kernel(old, new, floor, &mut differences);
    }
    let models = pair(&before.models, &after.models, |row| &row.id, &mut warnings);
    for (old, new) in &models {
        compare_model(old, new, floor, &mut differences);
    }
    differences.sort_by_key(|difference| match difference.change {
        Change::Worse => 0,
        Change::Other => 1,
        Change::Better => 2,
    });
    let valid = [Verdict::Valid; 2];
    let timed = kernels.iter().filter(|(old, new)| [old.verdict, new.verdict] == valid).count()
        + models.iter().filter(|(old, new)| [old.verdict, new.verdict] == valid).count();
    Comparison { floor, matched: kernels.len() + models.len(), timed, differences, warnings }
}

impl Comparison {
    /// Whether anything is worse beyond noise.
    pub fn outcome(&self) -> Outcome {
        match self.differences.iter().any(|difference| difference.change == Change::Worse) {
            true => Outcome::Regression,
            false => Outcome::NoRegression,
        }
    }

    /// The comparison as text that pastes into an issue.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for warning in &self.warnings {
            text += &format!("warning: {warning}\n");
        }
        if self.differences.is_empty() {
            return text + &format!("no change beyond noise in {}\n", self.extent());
        }
        let mut table = Table::new(&["row", "figure", "before", "after", "by", "change"]);
        for difference in &self.differences {
            let Difference { id, figure, before, after, by, change } = difference;
            table.push([id.as_str(), figure, before, after, by, change.as_str()].map(str::to_string));
        }
        let count = |change| self.differences.iter().filter(|difference| difference.change == change).count();
        text += &table.markdown();
        text += &format!(
            "\n{} worse, {} better, {} changed otherwise, in {}\n",
            count(Change::Worse),
            count(Change::Better),
            count(Change::Other),
            self.extent()
        );
        text
    }

    /// What the comparison covers.
    fn extent(&self) -> String {
        let rows = format!("{} rows (noise floor {})", self.matched, figures::percent(self.floor));
        match self.matched - self.timed {
            0 => rows,
            untimed => format!("{rows}; the times of {untimed} were not compared, as they are not VALID in both runs"),
        }
    }
}

fn settings_warnings(before: &Report, after: &Report) -> Vec<String> {
    let (a, b) = (&before.machine, &after.machine);
    let mut warnings = Vec::new();
    let mut differ = |what: &str, a: &dyn std::fmt::Display, b: &dyn std::fmt::Display| {
        let (a, b) = (a.to_string(), b.to_string());
        if a != b {
            warnings.push(format!("{what} differs: {a} and {b}"));
        }
    };
    let none = || "none".to_string();
    differ("CPU", &a.cpu, &b.cpu);
    differ("number of cores", &a.cores, &b.cores);
    differ("instruction sets", &a.isa.join(" "), &b.isa.join(" "));
    differ("GPU", &a.gpu.clone().unwrap_or_else(none), &b.gpu.clone().unwrap_or_else(none));
    differ("GPU driver", &a.driver.clone().unwrap_or_else(none), &b.driver.clone().unwrap_or_else(none));
    differ("operating system", &a.os, &b.os);
    differ("compiler", &a.rustc, &b.rustc);
    differ("seed", &a.seed, &b.seed);
    differ("number of threads", &a.threads, &b.threads);
    for old in &before.tasks {
        if let Some(new) = after.tasks.iter().find(|task| task.name == old.name) {
            differ(&format!("data of task {}", old.name), &old.digest, &new.digest);
        }
    }
    for (name, run) in [("first", before), ("second", after)] {
        if run.interrupted {
            warnings.push(format!("the {name} run was interrupted"));
        }
    }
    warnings
}

/// Rows with the same id; those without a partner are counted in a warning.
fn pair<'a, T>(
    before: &'a [T],
    after: &'a [T],
    id: impl Fn(&'a T) -> &'a str,
    warnings: &mut Vec<String>,
) -> Vec<(&'a T, &'a T)> {
    let mut unmatched: BTreeMap<&str, &T> = after.iter().map(|row| (id(row), row)).collect();
    let mut pairs = Vec::new();
    let mut gone = Vec::new();
    for row in before {
        match unmatched.remove(id(row)) {
            Some(partner) => pairs.push((row, partner)),
            None => gone.push(id(row)),
        }
    }
    let added: Vec<&str> = unmatched.into_keys().collect();
    for (run, only) in [("first", gone), ("second", added)] {
        if let Some(example) = only.first() {
            warnings.push(format!("{} rows are in the {run} run only, e.g. {example}", only.len()));
        }
    }
    pairs
}

fn compare_kernel(old: &KernelRow, new: &KernelRow, floor: f64, found: &mut Vec<Difference>) {
    if compare_verdicts(&old.id, (old.verdict, new.verdict), &new.reason, found) == Ranking::Allowed
        && let (Some(old_ns), Some(new_ns), Some(old_interval), Some(new_interval)) =
            (old.median_ns, new.median_ns, old.interval(), new.interval())
    {
        compare_times(&old.id, "median", (old_ns, old_interval), (new_ns, new_interval), floor, found);
    }
}

fn compare_model(old: &ModelRow, new: &ModelRow, floor: f64, found: &mut Vec<Difference>) {
    let ranking = compare_verdicts(&old.id, (old.verdict, new.verdict), &new.reason, found);
    if let (Ranking::Allowed, Some(old_ms), Some(new_ms)) = (ranking, &old.latency_ms, &new.latency_ms) {
        let ns = |interval: Interval| Interval { low: interval.low * 1e6, high: interval.high * 1e6 };
        let (before, after) = ((old_ms.p50 * 1e6, ns(old_ms.interval())), (new_ms.p50 * 1e6, ns(new_ms.interval())));
        compare_times(&old.id, "latency", before, after, floor, found);
    }
    // Quality does not depend on how quiet the machine was: NOISY rows are compared, too.
    if let (Some(before), Some(after)) = (&old.quality, &new.quality) {
        let change = match (after.clearly_better_than(before), before.clearly_better_than(after)) {
            (true, _) => Some(Change::Better),
            (_, true) => Some(Change::Worse),
            (false, false) => None,
        };
        found.extend(change.map(|change| Difference {
            id: old.id.clone(),
            figure: "quality",
            before: figures::quality(before),
            after: figures::quality(after),
            by: figures::quality_difference(before.metric, (after.value - before.value).abs()),
            change,
        }));
    }
    if let (Some(before), Some(after)) = (old.file_bytes, new.file_bytes)
        && before != after
    {
        found.push(Difference {
            id: old.id.clone(),
            figure: "file size",
            before: figures::bytes(before),
            after: figures::bytes(after),
            by: format!("{:+.1} %", (after as f64 / before as f64 - 1.0) * 100.0),
            change: if after < before { Change::Better } else { Change::Other },
        });
    }
}

/// Whether the times of two rows may be compared.
#[derive(PartialEq, Eq)]
enum Ranking {
    Allowed,
    Refused,
}

/// A row that was measured and now fails or is skipped is worse; any other change of verdict is told as it is.
fn compare_verdicts(id: &str, (old, new): (Verdict, Verdict), reason: &str, found: &mut Vec<Difference>) -> Ranking {
    let measured = |verdict| matches!(verdict, Verdict::Valid | Verdict::Noisy);
    if old != new {
        found.push(Difference {
            id: id.into(),
            figure: "verdict",
            before: old.as_str().into(),
            after: new.as_str().into(),
            by: reason.into(),
            change: match (measured(old), measured(new)) {
                (true, false) => Change::Worse,
                (false, true) => Change::Better,
                (true, true) | (false, false) => Change::Other,
            },
        });
    }
    match (old, new) {
        (Verdict::Valid, Verdict::Valid) => Ranking::Allowed,
        _ => Ranking::Refused,
    }
}

fn compare_times(
    id: &str,
    figure: &'static str,
    (before_ns, before_interval): (f64, Interval),
    (after_ns, after_interval): (f64, Interval),
    floor: f64,
    found: &mut Vec<Difference>,
) {
    let ratio = after_ns / before_ns;
    let change = if after_ns > before_ns * (1.0 + floor) && before_interval.below(after_interval) {
        Change::Worse
    } else if before_ns > after_ns * (1.0 + floor) && after_interval.below(before_interval) {
        Change::Better
    } else {
        return;
    };
    found.push(Difference {
        id: id.into(),
        figure,
        before: figures::time_ns(before_ns),
        after: figures::time_ns(after_ns),
        by: format!("{:+.1} %", (ratio - 1.0) * 100.0),
        change,
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture;
    use crate::report::NoiseFloor;

    fn slowed(factor: f64) -> Report {
        let mut report = fixture::report();
        let row = report.kernels.iter_mut().find(|row| row.verdict == Verdict::Valid).unwrap();
        for time in [&mut row.p10_ns, &mut row.median_low_ns, &mut row.median_ns, &mut row.median_high_ns, &mut row.p90_ns] {
            *time = time.map(|ns| ns * factor);
        }
        report
    }

    #[test]
    fn a_run_does_not_differ_from_itself() {
        let report = fixture::report();
        let comparison = compare(&report, &report);
        assert_eq!((comparison.differences.len(), comparison.outcome()), (0, Outcome::NoRegression));
        assert_eq!(comparison.matched, report.kernels.len() + report.models.len());
        assert!(comparison.text().contains("no change beyond noise"), "{}", comparison.text());
    }

    #[test]
    fn a_slowed_kernel_is_a_regression_one_way_and_a_gain_the_other() {
        let (before, after) = (fixture::report(), slowed(2.0));
        let worse = compare(&before, &after);
        assert_eq!((worse.differences.len(), worse.outcome().exit_code()), (1, 2));
        assert_eq!((worse.differences[0].by.as_str(), worse.differences[0].figure), ("+100.0 %", "median"));
        let better = compare(&after, &before);
        assert_eq!(better.differences[0].change, Change::Better);
        assert_eq!(better.outcome().exit_code(), 0);
    }

    #[test]
    fn times_that_were_not_compared_are_counted() {
        let before = fixture::report();
        let mut after = slowed(3.0);
        let id = compare(&before, &after).differences[0].id.clone();
        let row = after.kernels.iter_mut().find(|row| row.id == id).unwrap();
        (row.verdict, row.reason) = (Verdict::Noisy, "drifted".into());
        let (itself, comparison) = (compare(&before, &before), compare(&before, &after));
        assert_eq!(comparison.timed + 1, itself.timed);
        let untimed = format!("the times of {} were not compared", comparison.matched - comparison.timed);
        assert!(comparison.text().contains(&untimed), "{}", comparison.text());
    }

    #[test]
    fn a_change_below_the_floor_is_noise() {
        let floor = |share| Some(NoiseFloor { share, pairs: 4 });
        let (mut before, mut after) = (fixture::report(), slowed(1.5));
        (before.noise_floor, after.noise_floor) = (floor(0.02), floor(0.60));
        assert_eq!(compare(&before, &after).outcome(), Outcome::NoRegression);
        after.noise_floor = floor(0.40);
        assert_eq!(compare(&before, &after).outcome(), Outcome::Regression);
    }

    #[test]
    fn overlapping_intervals_are_noise_whatever_the_floor() {
        let (before, mut after) = (fixture::report(), slowed(2.0));
        let id = compare(&before, &after).differences[0].id.clone();
        let row = after.kernels.iter_mut().find(|row| row.id == id).unwrap();
        row.median_low_ns = Some(0.0);
        assert_eq!(compare(&before, &after).outcome(), Outcome::NoRegression);
    }

    #[test]
    fn a_row_that_no_longer_runs_is_a_regression() {
        let before = fixture::report();
        let mut after = before.clone();
        let row = after.models.iter_mut().find(|row| row.verdict == Verdict::Valid).unwrap();
        (row.verdict, row.reason) = (Verdict::Fail, "out of memory".into());
        assert_eq!(compare(&before, &after).outcome(), Outcome::Regression);
        assert_eq!(compare(&after, &before).outcome(), Outcome::NoRegression);
    }

    #[test]
    fn worse_quality_is_a_regression_in_both_metrics() {
        for task in ["digits", "rust-lm"] {
            let before = fixture::report();
            let mut after = before.clone();
            let row = after.models.iter_mut().find(|row| row.task == task && row.quality.is_some()).unwrap();
            let quality = row.quality.as_mut().unwrap();
            let worse = if quality.metric.higher_is_better() { 0.5 } else { 7.0 };
            (quality.value, quality.ci_low, quality.ci_high) = (worse, worse * 0.99, worse * 1.01);
            let comparison = compare(&before, &after);
            assert_eq!(comparison.differences[0].figure, "quality", "{task}");
            assert_eq!(comparison.outcome(), Outcome::Regression, "{task}");
        }
    }

    #[test]
    fn other_settings_are_warned_of() {
        let before = fixture::report();
        let mut after = before.clone();
        after.machine.threads += 1;
        after.machine.seed += 1;
        after.tasks[0].digest = "blake3:0".into();
        after.kernels.pop();
        let warnings = compare(&before, &after).warnings.join("\n");
        for wanted in ["threads", "seed", "data of task digits", "in the first run only", "assumed"] {
            assert!(warnings.contains(wanted), "{wanted}: {warnings}");
        }
    }
}
