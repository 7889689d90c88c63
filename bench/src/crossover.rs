//! Crossovers: between which two measured points the better choice changes.
//!
//! Nothing is fitted or extrapolated. A crossover is named only when one side clearly wins at one measured point
//! and the other side at a later one; points whose intervals overlap decide nothing.

use std::collections::BTreeMap;

use crate::figures;
use crate::markdown;
use crate::report::{Family, Finding, KernelRow, ModelRow, Report, Topic, Verdict};
use crate::stats::Interval;

/// Who wins at one point of a series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Winner {
    First,
    Second,
    Unclear,
}

/// Two rivals at one point: dimension, batch or number of training examples.
struct Point<'a> {
    at: u64,
    winner: Winner,
    first: &'a str,
    second: &'a str,
}

/// A change of the clear winner: the last point before it and the first after.
struct Flip<'p, 'a> {
    before: &'p Point<'a>,
    after: &'p Point<'a>,
}

/// The changes of winner along a series sorted by `at`; unclear points between widen the bracket.
fn flips<'p, 'a>(points: &'p [Point<'a>]) -> Vec<Flip<'p, 'a>> {
    let clear: Vec<&Point<'_>> = points.iter().filter(|point| point.winner != Winner::Unclear).collect();
    clear
        .iter()
        .zip(clear.iter().skip(1))
        .filter(|(before, after)| before.winner != after.winner)
        .map(|(before, after)| Flip { before, after })
        .collect()
}

fn faster(first: Interval, second: Interval) -> Winner {
    match (first.below(second), second.below(first)) {
        (true, _) => Winner::First,
        (_, true) => Winner::Second,
        (false, false) => Winner::Unclear,
    }
}

impl Flip<'_, '_> {
    fn evidence(&self) -> Vec<String> {
        [self.before.first, self.before.second, self.after.first, self.after.second].map(str::to_string).into()
    }

    /// Names of who wins below and above, given the names of the rivals.
    fn winners<'n>(&self, first: &'n str, second: &'n str) -> (&'n str, &'n str) {
        match self.before.winner {
            Winner::First => (first, second),
            Winner::Second | Winner::Unclear => (second, first),
        }
    }
}

/// All crossovers that the measured rows show.
pub fn find(report: &Report) -> Vec<Finding> {
    let mut found = Vec::new();
    for task in &report.tasks {
        let rows: Vec<&ModelRow> = report.models.iter().filter(|row| row.task == task.name).collect();
        large_or_small_by_latency(&task.name, &rows, &mut found);
        large_or_small_by_training_size(&task.name, task.train, &rows, &mut found);
        variants_by_batch(&task.name, &rows, &mut found);
    }
    weights_by_dimension(&report.kernels, &mut found);
    weights_by_zeros(&report.kernels, &mut found);
    found
}

/// The latency from which a large model buys quality that no faster small one has.
fn large_or_small_by_latency(task: &str, rows: &[&ModelRow], found: &mut Vec<Finding>) {
    let best_of = |family| best(rows.iter().copied().filter(|row| row.is_main() && row.family == family));
    let (Some(large), Some(small)) = (best_of(Family::Large), best_of(Family::Small)) else { return };
    let (Some((large_quality, _)), Some((small_quality, small_latency))) = (large.ranked(), small.ranked()) else {
        return;
    };
    if !large_quality.clearly_better_than(small_quality) {
        return;
    }
    // The fastest large model that already clears the best small one is where the choice turns.
    let turning = rows
        .iter()
        .filter(|row| row.is_main() && row.family == Family::Large)
        .filter_map(|row| row.ranked().map(|(quality, latency)| (row, quality, latency)))
        .filter(|(_, quality, _)| quality.clearly_better_than(small_quality))
        .min_by(|a, b| a.2.p50.total_cmp(&b.2.p50));
    let Some((turning, quality, latency)) = turning else { return };
    if !small_latency.interval().below(latency.interval()) {
        return;
    }
    let unit = figures::time_ns(latency.p50 * 1e6);
    found.push(Finding {
topic: Topic::Crossover,
        text: format!(
            "{task}: large pays from {unit} per prediction: there {} reaches {}; under that, the best small model, {}, gives {} in {}.",
            turning.label(),
            figures::quality(quality),
            small.label(),
            figures::quality(small_quality),
            figures::time_ns(small_latency.p50 * 1e6),
        ),
        evidence: vec![turning.id.clone(), small.id.clone()],
        task: Some(task.into()),
    });
}

/// The row with the best point value among those that may be ranked.
fn best<'a>(rows: impl Iterator<Item = &'a ModelRow>) -> Option<&'a ModelRow> {
    rows.filter_map(|row| row.ranked().map(|(quality, _)| (row, quality)))
        .reduce(|a, b| if b.1.gain_over(a.1) > 0.0 { b } else { a })
        .map(|(row, _)| row)
}

/// Where more training data turns the choice between the best large and the best small model.
fn large_or_small_by_training_size(task: &str, whole: u64, rows: &[&ModelRow], found: &mut Vec<Finding>) {
    let mut by_size: BTreeMap<u64, Vec<&ModelRow>> = BTreeMap::new();
    for row in rows.iter().filter(|row| row.batch == 1) {
        by_size.entry(row.train_subset.unwrap_or(whole)).or_default().push(row);
    }
    let points: Vec<Point<'_>> = by_size
        .iter()
        .filter_map(|(size, rows)| {
            let best_of = |family| best(rows.iter().copied().filter(|row| row.family == family));
            let (large, small) = (best_of(Family::Large)?, best_of(Family::Small)?);
            let (large_quality, small_quality) = (large.quality.as_ref()?, small.quality.as_ref()?);
            let winner = if large_quality.clearly_better_than(small_quality) {
                Winner::First
            } else if small_quality.clearly_better_than(large_quality) {
                Winner::Second
            } else {
                Winner::Unclear
            };
            Some(Point { at: *size, winner, first: &large.id, second: &small.id })
        })
        .collect();
    for flip in flips(&points) {
        let (below, above) = flip.winners("the best large model", "the best small model");
        found.push(Finding {
            topic: Topic::Crossover,
            text: format!(
                "{task}: {below} is clearly better with {} training examples, {above} with {}; the choice turns between.",
                figures::grouped(flip.before.at),
                figures::grouped(flip.after.at),
            ),
            evidence: flip.evidence(),
            task: Some(task.into()),
        });
    }
}

/// Where the batch size turns the choice between f32 and a shrunk variant of the same model.
fn variants_by_batch(task: &str, rows: &[&ModelRow], found: &mut Vec<Finding>) {
    let mut series: BTreeMap<(&str, &str, &str), BTreeMap<u64, &ModelRow>> = BTreeMap::new();
    for row in rows.iter().filter(|row| row.train_subset.is_none() && row.ranked().is_some()) {
        let key = (row.model.as_str(), row.backend.as_str(), row.variant.as_str());
        series.entry(key).or_default().insert(row.batch, row);
    }
    for ((model, backend, variant), shrunk) in series.iter().filter(|(key, _)| key.2 != "f32") {
        let Some(dense) = series.get(&(*model, *backend, "f32")) else { continue };
        let points: Vec<Point<'_>> = dense
            .iter()
            .filter_map(|(batch, dense)| {
                let shrunk = shrunk.get(batch)?;
                let (dense_ms, shrunk_ms) = (dense.latency_ms?.interval(), shrunk.latency_ms?.interval());
                Some(Point { at: *batch, winner: faster(dense_ms, shrunk_ms), first: &dense.id, second: &shrunk.id })
            })
            .collect();
        for flip in flips(&points) {
            let (below, above) = flip.winners("f32", variant);
            found.push(Finding {
                topic: Topic::Crossover,
                text: format!(
                    "{task}: {model} on {backend} is faster as {below} at batch {}, as {above} at batch {}.",
                    flip.before.at, flip.after.at
                ),
                evidence: flip.evidence(),
                task: Some(task.into()),
            });
        }
    }
}

/// Everything that must agree for two kernel rows to differ in weight and one dimension only.
type KernelKey<'a> = (&'a str, &'a str, &'a str, u32, &'a str, Vec<(&'a str, u64)>);

/// Where one dimension turns the choice between dense weights and a quantized or sparse form.
fn weights_by_dimension(rows: &[KernelRow], found: &mut Vec<Finding>) {
    let mut series: BTreeMap<KernelKey<'_>, BTreeMap<&str, BTreeMap<u64, &KernelRow>>> = BTreeMap::new();
    for row in rows.iter().filter(|row| row.verdict == Verdict::Valid && !row.software) {
        for (dimension, size) in &row.shape {
            let others = row.shape.iter().filter(|(name, _)| *name != dimension);
            let others = others.map(|(name, size)| (name.as_str(), *size)).collect();
            let key = (row.op.as_str(), row.backend.as_str(), row.dtype.as_str(), row.threads, dimension.as_str(), others);
            series.entry(key).or_default().entry(row.weight.as_str()).or_default().insert(*size, row);
        }
    }
    for ((op, backend, dtype, _, dimension, _), weights) in &series {
        let Some(dense) = weights.get("dense") else { continue };
        for (weight, packed) in weights.iter().filter(|(weight, _)| **weight != "dense") {
            let points: Vec<Point<'_>> = dense
                .iter()
                .filter_map(|(size, dense)| {
                    let packed = packed.get(size)?;
                    let (dense_ns, packed_ns) = (dense.interval()?, packed.interval()?);
                    Some(Point { at: *size, winner: faster(dense_ns, packed_ns), first: &dense.id, second: &packed.id })
                })
                .collect();
            for flip in flips(&points) {
                let (below, above) = flip.winners("dense", weight);
                found.push(Finding {
topic: Topic::Crossover,
                    text: format!(
                        "{op} ({dtype}, {backend}) is faster with {below} weights at {dimension} = {}, with {above} weights at {dimension} = {}.",
                        flip.before.at, flip.after.at
                    ),
                    evidence: flip.evidence(),
                    task: None,
                });
            }
        }
    }
}

/// The pattern of a sparse weight and its zeros in percent, from its name: `csr` and 80 from `csr-80`, `csr-int8` and 80 from
/// `csr-80-int8`.
pub fn pattern_and_zeros(weight: &str) -> Option<(String, u64)> {
    let mut parts: Vec<&str> = weight.split('-').collect();
    let zeros = parts.get(1)?.parse().ok().filter(|&zeros| zeros <= 100)?;
    parts.remove(1);
    Some((parts.join("-"), zeros))
}

/// Everything that must agree for two kernel rows to differ in weight only.
type ShapeKey<'a> = (&'a str, &'a str, &'a str, u32, &'a BTreeMap<String, u64>);

/// Where the share of zeros turns the choice between dense and sparse weights.
fn weights_by_zeros(rows: &[KernelRow], found: &mut Vec<Finding>) {
    let mut dense: BTreeMap<ShapeKey<'_>, &KernelRow> = BTreeMap::new();
    let mut sparse: BTreeMap<(ShapeKey<'_>, String), BTreeMap<u64, &KernelRow>> = BTreeMap::new();
    for row in rows.iter().filter(|row| row.verdict == Verdict::Valid && !row.software) {
        let key = (row.op.as_str(), row.backend.as_str(), row.dtype.as_str(), row.threads, &row.shape);
        if row.weight == "dense" {
            dense.insert(key, row);
        } else if let Some((pattern, zeros)) = pattern_and_zeros(&row.weight) {
            sparse.entry((key, pattern)).or_default().insert(zeros, row);
        }
    }
    for ((key, pattern), by_zeros) in &sparse {
        let Some(dense) = dense.get(key) else { continue };
        let points: Vec<Point<'_>> = by_zeros
            .iter()
            .filter_map(|(zeros, sparse)| {
                let winner = faster(dense.interval()?, sparse.interval()?);
                Some(Point { at: *zeros, winner, first: &dense.id, second: &sparse.id })
            })
            .collect();
        let (op, backend, dtype, _, shape) = key;
        for flip in flips(&points) {
            let (below, above) = flip.winners("dense", pattern);
            found.push(Finding {
                topic: Topic::Crossover,
                text: format!(
                    "{op} ({dtype}, {backend}, {}) is faster with {below} weights at {} % zeros, with {above} weights at {} %.",
                    markdown::dimensions(shape),
                    flip.before.at,
                    flip.after.at
                ),
                evidence: flip.evidence(),
                task: None,
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture;

    fn kernel(m: u64, weight: &str, low_ns: f64, high_ns: f64) -> KernelRow {
        let mut row = KernelRow::new("linear", "cpu", "f32", weight, &[("m", m), ("n", 512), ("k", 512)], 2);
        (row.p10_ns, row.median_ns, row.p90_ns) = (Some(low_ns), Some((low_ns + high_ns) / 2.0), Some(high_ns));
        (row.verdict, row.reason) = (Verdict::Valid, String::new());
        row
    }

    fn found(rows: &[KernelRow]) -> Vec<Finding> {
        let mut found = Vec::new();
        weights_by_dimension(rows, &mut found);
        weights_by_zeros(rows, &mut found);
        found
    }

    #[test]
    fn a_flip_is_found_between_the_clear_points() {
        let rows = [
            kernel(1, "dense", 100.0, 110.0),
            kernel(1, "int8", 50.0, 60.0),
            kernel(8, "dense", 200.0, 300.0),
            kernel(8, "int8", 250.0, 310.0),
            kernel(64, "dense", 800.0, 810.0),
            kernel(64, "int8", 900.0, 950.0),
        ];
        let [finding] = found(&rows).try_into().expect("one flip");
        assert_eq!(finding.text, "linear (f32, cpu) is faster with int8 weights at m = 1, with dense weights at m = 64.");
        assert_eq!(finding.evidence, [&rows[0].id, &rows[1].id, &rows[4].id, &rows[5].id].map(String::clone));
    }

    #[test]
    fn zeros_turn_the_choice_between_dense_and_sparse() {
        let rows = [
            kernel(64, "dense", 100.0, 110.0),
            kernel(64, "csr-50", 150.0, 160.0),
            kernel(64, "csr-65", 105.0, 115.0),
            kernel(64, "csr-80", 50.0, 60.0),
            kernel(64, "csr-50-int8", 50.0, 60.0),
            kernel(64, "block16x1-50", 90.0, 95.0),
            kernel(64, "int8", 150.0, 160.0),
            kernel(1, "csr-90", 500.0, 510.0),
        ];
        let [finding] = found(&rows).try_into().expect("one flip");
        let text = "linear (f32, cpu, m=64 n=512 k=512) is faster with dense weights at 50 % zeros, with csr weights at 80 %.";
        assert_eq!(finding.text, text);
        assert_eq!(finding.evidence, [&rows[0].id, &rows[1].id, &rows[0].id, &rows[3].id].map(String::clone));
    }

    #[test]
    fn names_of_sparse_weights_tell_pattern_and_zeros() {
        for (name, want) in [("csr-80", Some(("csr", 80))), ("block16x1-95-int8", Some(("block16x1-int8", 95)))] {
            assert_eq!(pattern_and_zeros(name), want.map(|(pattern, zeros): (&str, _)| (pattern.to_owned(), zeros)), "{name}");
        }
        assert!(
            ["dense", "2:4", "int4-g32", "int8-channel", "q4_k-dynamic", "csr-101"]
                .iter()
                .all(|name| pattern_and_zeros(name).is_none())
        );
    }

    #[test]
    fn one_winner_throughout_is_no_crossover() {
        let rows = [
            kernel(1, "dense", 100.0, 110.0),
            kernel(1, "int8", 50.0, 60.0),
            kernel(64, "dense", 800.0, 810.0),
            kernel(64, "int8", 300.0, 350.0),
        ];
        assert_eq!(found(&rows), []);
    }

    #[test]
    fn noise_and_invalid_rows_make_no_crossover() {
        let mut rows = [
            kernel(1, "dense", 100.0, 110.0),
            kernel(1, "int8", 50.0, 60.0),
            kernel(64, "dense", 800.0, 930.0),
            kernel(64, "int8", 900.0, 950.0),
        ];
        assert_eq!(found(&rows), [], "overlap at m = 64");
        (rows[2].p90_ns, rows[2].verdict) = (Some(810.0), Verdict::Noisy);
        assert_eq!(found(&rows), [], "a NOISY row");
        rows[2].verdict = Verdict::Valid;
        assert_eq!(found(&rows).len(), 1);
    }

    #[test]
    fn every_crossover_of_a_run_cites_rows_that_are_valid() {
        let report = fixture::report();
        let found = find(&report);
        assert!(found.iter().any(|finding| finding.text.contains("batch")), "{found:#?}");
        assert!(found.iter().any(|finding| finding.text.contains("training examples")), "{found:#?}");
        for id in found.iter().flat_map(|finding| &finding.evidence) {
            let models = report.models.iter().map(|row| (&row.id, row.verdict));
            let mut rows = models.chain(report.kernels.iter().map(|row| (&row.id, row.verdict)));
            assert!(rows.any(|(row, verdict)| row == id && verdict == Verdict::Valid), "{id}");
        }
    }
}
