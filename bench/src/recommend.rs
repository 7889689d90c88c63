//! Advice: which model to use for each task, what it rests on, and what the run cannot tell.
//!
//! Only VALID main rows are ranked, and rows whose intervals overlap are not put in order: a statement says then
//! that the run does not tell them apart.

use crate::figures;
use crate::report::{Family, Finding, Latency, Metric, ModelRow, Quality, Report, Task, Topic, Verdict};
use crate::{crossover, pareto};

/// Fills in what follows from the rows: Pareto marks, crossovers, advice. Call it before saving.
pub fn conclude(report: &mut Report) {
    pareto::mark(report);
    report.crossovers = crossover::find(report);
    report.advice = advice(report);
}

/// A row that may be ranked, with the figures that rank it.
#[derive(Clone, Copy, Debug)]
pub struct Ranked<'a> {
    /// The row.
    pub row: &'a ModelRow,
    /// Its quality.
    pub quality: &'a Quality,
    /// Its latency.
    pub latency: &'a Latency,
}

/// How the models of one task stand.
#[derive(Debug)]
pub struct Standing<'a> {
    /// The fastest, then smallest, of the rows that are not clearly worse than `best`.
    pub recommended: Ranked<'a>,
    /// The best quality value.
    pub best: Ranked<'a>,
    /// The fastest row whose value is within [`close_enough`] of the best.
    pub cheapest_close: Ranked<'a>,
    /// All that were ranked, best value first.
    pub ranked: Vec<Ranked<'a>>,
}

/// What counts as close to the best value: one point of accuracy, 0.05 bits per byte.
pub fn close_enough(metric: Metric) -> f64 {
    match metric {
        Metric::Accuracy => 0.01,
        Metric::BitsPerByte => 0.05,
    }
}

impl<'a> Standing<'a> {
    /// How the models of `task` stand; `None` without a row that may be ranked, or if a row whose time is too noisy to rank is
    /// clearly better than all that may.
    pub fn of(report: &'a Report, task: &str) -> Option<Self> {
        let mut ranked: Vec<Ranked<'a>> = report
            .models
            .iter()
            .filter(|row| row.task == task && row.is_main())
            .filter_map(|row| row.ranked().map(|(quality, latency)| Ranked { row, quality, latency }))
            .collect();
        ranked.sort_by(|a, b| b.quality.upward().total_cmp(&a.quality.upward()).then_with(|| a.row.id.cmp(&b.row.id)));
        let best = *ranked.first()?;
        if outdone(report, task, best.quality).is_some() {
            return None;
        }
        let recommended = cheapest(ranked.iter().filter(|other| !best.quality.clearly_better_than(other.quality)))?;
        let near = close_enough(best.quality.metric) + 1e-9;
        let cheapest_close = cheapest(ranked.iter().filter(|other| best.quality.gain_over(other.quality) <= near))?;
        Some(Self { recommended, best, cheapest_close, ranked })
    }

    /// Why the recommended row and not another, in a sentence.
    pub fn grounds(&self) -> String {
        let (pick, best) = (self.recommended, self.best);
        if pick.row.id == best.row.id {
            let faster = self.ranked.iter().any(|other| other.latency.p50 < pick.latency.p50);
            return match faster {
                true => "It has the highest value, and every row that is clearly faster is clearly worse.".into(),
                false => "No ranked row is better or faster.".into(),
            };
        }
        let units = match best.quality.metric {
            Metric::Accuracy => "examples",
            Metric::BitsPerByte => "windows",
        };
        let price = match slowdown(pick, best) {
            Some(ratio) => format!("takes {} as long", figures::times(ratio)),
            None => "takes as long within noise".into(),
        };
        let gain = best.quality.gain_over(pick.quality);
        if gain == 0.0 {
            return format!("No row has a higher value; {} has the same, and it {price}.", best.row.label());
        }
        format!(
            "The highest value, {} of {}, is {} better, which {} held-out {units} cannot tell from chance, and it {price}.",
            figures::quality_value(best.quality.metric, best.quality.value),
            best.row.label(),
            figures::quality_difference(best.quality.metric, gain),
            figures::grouped(best.quality.n),
        )
    }
}

/// Rows of a task with a measured quality, best value first. Noise in their times does not touch it.
fn by_quality<'a>(report: &'a Report, task: &str) -> Vec<(&'a ModelRow, &'a Quality)> {
    let measured = |row: &&ModelRow| matches!(row.verdict, Verdict::Valid | Verdict::Noisy) && row.task == task && row.is_main();
    let mut rows: Vec<_> =
        report.models.iter().filter(measured).filter_map(|row| row.quality.as_ref().map(|quality| (row, quality))).collect();
    rows.sort_by(|a, b| b.1.upward().total_cmp(&a.1.upward()).then_with(|| a.0.id.cmp(&b.0.id)));
    rows
}

/// The best NOISY row, if it is clearly better than `best`, the best that may be ranked.
fn outdone<'a>(report: &'a Report, task: &str, best: &Quality) -> Option<(&'a ModelRow, &'a Quality)> {
    by_quality(report, task).into_iter().find(|(row, quality)| row.verdict == Verdict::Noisy && quality.clearly_better_than(best))
}

/// Files that differ by less are as good as equal in size.
const SAME_SIZE: f64 = 1.1;

/// The fastest by median; among rows as fast within noise, those with the smallest files; among these the highest value, and a
/// model trained as it is before one made from another.
fn cheapest<'r, 'a: 'r>(rows: impl Iterator<Item = &'r Ranked<'a>> + Clone) -> Option<Ranked<'a>> {
    let fastest = rows.clone().min_by(|a, b| a.latency.p50.total_cmp(&b.latency.p50))?;
    let tied = rows.filter(|row| row.latency.interval().overlaps(fastest.latency.interval()));
    let bytes = |row: &Ranked<'_>| row.row.file_bytes.map_or(f64::INFINITY, |bytes| bytes as f64);
    let smallest = tied.clone().map(bytes).fold(f64::INFINITY, f64::min);
    tied.filter(|row| bytes(row) <= smallest * SAME_SIZE)
        .max_by(|a, b| {
            let trained_itself = |row: &Ranked<'_>| row.row.made_from.is_none();
            let by_value = a.quality.upward().total_cmp(&b.quality.upward());
            by_value.then_with(|| trained_itself(a).cmp(&trained_itself(b))).then_with(|| b.row.id.cmp(&a.row.id))
        })
        .copied()
}

/// Statements about every task and about the run.
pub fn advice(report: &Report) -> Vec<Finding> {
    let mut found = Vec::new();
    for task in &report.tasks {
        match Standing::of(report, &task.name) {
            Some(standing) => {
                found.push(recommendation(task, &standing));
                found.extend(best_quality(task, &standing));
                found.extend(cheapest_close(task, &standing));
            }
            None => found.push(no_recommendation(report, task)),
        }
        found.extend(no_better_than_the_commonest_class(report, task));
        found.extend(large_against_small(report, task));
        found.extend(shrinking(report, task));
    }
    found.extend(doubts(report));
    found
}

fn finding(task: &Task, topic: Topic, text: String, evidence: &[&ModelRow]) -> Finding {
    Finding {
        topic,
        text: format!("{}: {text}", task.name),
        evidence: evidence.iter().map(|row| row.id.clone()).collect(),
        task: Some(task.name.clone()),
    }
}

/// `97.2 % (95.0–98.4) accuracy`.
fn quality_words(quality: &Quality) -> String {
    format!("{} {}", figures::quality(quality), quality.metric.label())
}

fn recommendation(task: &Task, standing: &Standing<'_>) -> Finding {
    let (pick, best) = (standing.recommended, standing.best);
    let mut text = format!(
        "use {} ({}, {}): {} in {} per {}",
        pick.row.label(),
        pick.row.family.as_str(),
        pick.row.backend,
        quality_words(pick.quality),
        figures::time_ns(pick.latency.p50 * 1e6),
        task.kind.unit(),
    );
    if let Some(bytes) = pick.row.file_bytes {
        text += &format!(", {} on disk", figures::bytes(bytes));
    }
    text += &format!(". {}", standing.grounds());
    let evidence: &[&ModelRow] = if pick.row.id == best.row.id { &[pick.row] } else { &[pick.row, best.row] };
    finding(task, Topic::Use, text, evidence)
}

/// How many times as long `b` takes as `a`, unless that is within noise.
fn slowdown(a: Ranked<'_>, b: Ranked<'_>) -> Option<f64> {
    let apart = !a.latency.interval().overlaps(b.latency.interval()) && a.latency.p50 > 0.0;
    apart.then(|| b.latency.p50 / a.latency.p50)
}

fn best_quality(task: &Task, standing: &Standing<'_>) -> Option<Finding> {
    let best = standing.best;
    let others = standing.ranked.iter().filter(|other| other.row.id != best.row.id);
    let (worse, tied): (Vec<&Ranked<'_>>, Vec<&Ranked<'_>>) =
        others.partition(|other| best.quality.clearly_better_than(other.quality));
    if worse.is_empty() && tied.is_empty() {
        return None;
    }
    let others = worse.len() + tied.len();
    let reach = match (worse.len(), tied.len()) {
        (0, _) => format!("but not clearly better than any of the {others} other rows"),
        (_, 0) => format!("clearly better than all {others} other rows"),
        (clear, _) => format!("clearly better than {clear} of {others} other rows"),
    };
    let (name, value) = (best.row.label(), quality_words(best.quality));
    let mut text = format!("the highest quality measured is {name}, {value}, {reach}");
    if !tied.is_empty() && !worse.is_empty() {
        let names: Vec<String> = tied.iter().take(4).map(|other| other.row.label()).collect();
        let more = match tied.len() - names.len() {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        text += &format!(", not told apart from {}{more}", names.join(", "));
    }
    let rows: Vec<&ModelRow> = std::iter::once(best.row).chain(tied.iter().map(|other| other.row)).collect();
    Some(finding(task, Topic::BestQuality, text + ".", &rows))
}

/// The fastest row close to the best value, when that is not what is recommended anyway.
fn cheapest_close(task: &Task, standing: &Standing<'_>) -> Option<Finding> {
    let (close, best) = (standing.cheapest_close, standing.best);
    if close.row.id == standing.recommended.row.id || close.row.id == best.row.id {
        return None;
    }
    let text = format!(
        "to stay within {} of the highest value, the fastest is {}: {} in {} per {}.",
        figures::quality_difference(best.quality.metric, close_enough(best.quality.metric)),
        close.row.label(),
        quality_words(close.quality),
        figures::time_ns(close.latency.p50 * 1e6),
        task.kind.unit(),
    );
    Some(finding(task, Topic::CloseToBest, text, &[close.row, best.row]))
}

fn no_recommendation(report: &Report, task: &Task) -> Finding {
    let valid = |row: &&ModelRow| row.task == task.name && row.ranked().is_some();
    match by_quality(report, &task.name).first().filter(|_| report.models.iter().any(|row| valid(&row))) {
        Some((row, quality)) => {
            let text = format!(
                "no recommendation: {}, {}, is clearly better than every row whose time can be ranked, but its own time is NOISY; \
                 run again on a quieter machine or with --full.",
                row.label(),
                quality_words(quality),
            );
            finding(task, Topic::Use, text, &[row])
        }
        None => {
            let rows: Vec<&ModelRow> = report.models.iter().filter(|row| row.task == task.name).collect();
            finding(task, Topic::Use, "no advice, because no model row is VALID.".into(), &rows)
        }
    }
}

/// Says so if even the best row does not clearly beat a model that always answers the commonest class.
fn no_better_than_the_commonest_class(report: &Report, task: &Task) -> Option<Finding> {
    let (row, quality) = *by_quality(report, &task.name).first()?;
    let share = task.majority.filter(|share| quality.metric == Metric::Accuracy && quality.ci_low <= *share)?;
    let text = format!(
        "no model clearly beats answering always with the commonest class, which is right in {} of the held-out examples: the best, \
         {}, reaches {}. Accuracy says little here.",
        figures::percent(share),
        row.label(),
        figures::quality(quality),
    );
    Some(finding(task, Topic::Doubt, text, &[row]))
}

fn large_against_small(report: &Report, task: &Task) -> Option<Finding> {
    let rows = by_quality(report, &task.name);
    let best_of = |family| rows.iter().find(|(row, _)| row.family == family).copied();
    let only = |missing: &str, row| {
        let text = format!("large and small are not compared: no {missing} row was measured.");
        Some(finding(task, Topic::LargeOrSmall, text, &[row]))
    };
    let ((large, large_quality), (small, small_quality)) = match (best_of(Family::Large), best_of(Family::Small)) {
        (Some(large), Some(small)) => (large, small),
        (Some((row, _)), None) => return only("small", row),
        (None, Some((row, _))) => return only("large", row),
        (None, None) => return None,
    };
    let (large_name, small_name) = (large.label(), small.label());
    let metric = large_quality.metric;
    let ranked = |row| ModelRow::ranked(row).map(|(quality, latency)| Ranked { row, quality, latency });
    let text = if large_quality.clearly_better_than(small_quality) {
        let price = match ranked(small).zip(ranked(large)).map(|(small, large)| slowdown(small, large)) {
            Some(Some(ratio)) if ratio >= 1.0 => format!("at {} the time", figures::times(ratio)),
            Some(Some(_)) => "in less time".into(),
            Some(None) => "in the same time within noise".into(),
            None => "at a price in time that is too noisy to tell".into(),
        };
        format!(
            "large beats small: {large_name} is {} better than {small_name}, {} against {}, {price}.",
            figures::quality_difference(metric, large_quality.gain_over(small_quality)),
            figures::quality(large_quality),
            figures::quality(small_quality),
        )
    } else {
        let (clearly, end) = match small_quality.clearly_better_than(large_quality) {
            true => ("", ", which is clearly better"),
            false => ("clearly ", ", and the intervals overlap"),
        };
        format!(
            "large does not {clearly}beat small in this run: {large_name} reaches {} {}, {small_name} {}{end}.",
            figures::quality(large_quality),
            metric.label(),
            figures::quality(small_quality),
        )
    };
    Some(finding(task, Topic::LargeOrSmall, text, &[large, small]))
}

/// A shrunk model against the row it was made from, in words.
#[derive(Clone, Debug, PartialEq)]
pub struct Shrunk<'a> {
    /// The shrunk row.
    pub row: &'a ModelRow,
    /// `3.9× smaller`.
    pub size: String,
    /// `1.4× faster`, `1.2× slower` or that noise hides which.
    pub speed: String,
    /// `0.3 points worse (within noise)`.
    pub quality: String,
}

/// Every VALID row of `task` from which others were made, with those.
pub fn shrunk<'a>(report: &'a Report, task: &str) -> Vec<(&'a ModelRow, Vec<Shrunk<'a>>)> {
    let rows: Vec<&ModelRow> = report.models.iter().filter(|row| row.task == task && row.is_main()).collect();
    let made_from = |parent: &'a ModelRow| {
        let (quality, latency) = parent.ranked()?;
        let whole = Ranked { row: parent, quality, latency };
        let children = rows.iter().filter(|row| row.made_from.as_deref() == Some(parent.id.as_str()));
        let effects: Vec<Shrunk<'a>> = children.filter_map(|child| shrink_effect(whole, child)).collect();
        (!effects.is_empty()).then_some((parent, effects))
    };
    rows.iter().filter_map(|parent| made_from(parent)).collect()
}

fn shrinking(report: &Report, task: &Task) -> Vec<Finding> {
    let sentence = |(parent, effects): (&ModelRow, Vec<Shrunk<'_>>)| {
        let clauses: Vec<String> = effects
            .iter()
            .map(|Shrunk { row, size, speed, quality }| {
                let name = if row.model == parent.model { row.variant.clone() } else { row.label() };
                format!("{name} is {size}, {speed}, {quality}")
            })
            .collect();
        let evidence: Vec<&ModelRow> = std::iter::once(parent).chain(effects.iter().map(|effect| effect.row)).collect();
        let text = format!("shrinking {}: {}.", parent.label(), clauses.join("; "));
        finding(task, Topic::Shrinking, text, &evidence)
    };
    shrunk(report, &task.name).into_iter().map(sentence).collect()
}

fn shrink_effect<'a>(parent: Ranked<'a>, row: &'a ModelRow) -> Option<Shrunk<'a>> {
    let (quality, latency) = row.ranked()?;
    let size = match (parent.row.file_bytes, row.file_bytes) {
        (Some(before), Some(after)) if after > 0 && before as f64 > after as f64 * 1.05 => {
            format!("{} smaller", figures::times(before as f64 / after as f64))
        }
        (Some(before), Some(after)) if before > 0 && after as f64 > before as f64 * 1.05 => {
            format!("{} as large", figures::times(after as f64 / before as f64))
        }
        _ => "no smaller".into(),
    };
    let speed = match slowdown(Ranked { row, quality, latency }, parent) {
        Some(ratio) if ratio >= 1.0 => format!("{} faster", figures::times(ratio)),
        Some(ratio) => format!("{} slower", figures::times(1.0 / ratio)),
        None => "no faster beyond noise".into(),
    };
    let gain = quality.gain_over(parent.quality);
    let change = figures::quality_difference(quality.metric, gain.abs());
    let direction = if gain < 0.0 { "worse" } else { "better" };
    let effect = if gain == 0.0 {
        "same quality".into()
    } else if quality.interval().overlaps(parent.quality.interval()) {
        format!("{change} {direction} (within noise)")
    } else {
        format!("{change} {direction}")
    };
    Some(Shrunk { row, size, speed, quality: effect })
}

/// What the reader must know before trusting the rest.
fn doubts(report: &Report) -> Vec<Finding> {
    let mut found = Vec::new();
    let kernels = report.kernels.iter().map(|row| (&row.id, row.verdict));
    let rows: Vec<_> = kernels.chain(report.models.iter().map(|row| (&row.id, row.verdict))).collect();
    let with = |verdict| rows.iter().filter(move |row| row.1 == verdict).map(|row| row.0.clone()).collect::<Vec<_>>();
    let failed = with(Verdict::Fail);
    if !failed.is_empty() {
        let text = format!("{} of {} rows failed; each says why.", failed.len(), rows.len());
        found.push(Finding { topic: Topic::Doubt, text, evidence: failed, task: None });
    }
    let noisy = with(Verdict::Noisy);
    if !noisy.is_empty() {
        let text = format!(
            "{} of {} rows are too noisy to rank and take no part in the advice; a quieter machine or --full may settle them.",
            noisy.len(),
            rows.len()
        );
        found.push(Finding { topic: Topic::Doubt, text, evidence: noisy, task: None });
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture;

    fn texts(report: &Report) -> String {
        advice(report).into_iter().map(|finding| finding.text + "\n").collect()
    }

    #[test]
    fn advice_recommends_the_fastest_row_not_clearly_worse() {
        let report = fixture::report();
        let standing = Standing::of(&report, "rust-lm").unwrap();
        assert_eq!(standing.recommended.row.model, "order-5 n-gram", "order 3 is faster, but clearly worse");
        let standing = Standing::of(&report, "digits").unwrap();
        for other in &standing.ranked {
            let as_good = !standing.best.quality.clearly_better_than(other.quality);
            let faster = other.latency.interval().below(standing.recommended.latency.interval());
            assert!(!(as_good && faster), "{} is as good and faster", other.row.id);
        }
        assert!(!standing.best.quality.clearly_better_than(standing.recommended.quality));
    }

    #[test]
    fn a_gpt_that_loses_is_said_to_lose() {
        let report = fixture::report();
        let text = texts(&report);
        assert!(text.contains("rust-lm: large does not beat small in this run: gpt f32 reaches 2.412"), "{text}");
    }

    #[test]
    fn emulated_gpus_are_not_ranked() {
        let mut report = fixture::report();
        let pick = Standing::of(&report, "digits").unwrap().recommended.row.id.clone();
        for row in report.models.iter_mut().filter(|row| row.id == pick) {
            row.software = true;
        }
        conclude(&mut report);
        assert_ne!(Standing::of(&report, "digits").unwrap().recommended.row.id, pick);
        let row = report.models.iter().find(|row| row.id == pick).unwrap();
        assert!(!row.pareto.latency && !row.pareto.bytes);
        assert!(report.advice.iter().chain(&report.crossovers).all(|finding| !finding.evidence.contains(&pick)));
    }

    #[test]
    fn overlapping_rows_are_not_ranked() {
        let mut report = fixture::report();
        for row in report.models.iter_mut().filter(|row| row.task == "rust-lm") {
            if let Some(quality) = &mut row.quality {
                (quality.ci_low, quality.ci_high) = (0.5, 7.9);
            }
        }
        let text = texts(&report);
        assert!(text.contains("does not clearly beat small") && text.contains("the intervals overlap"), "{text}");
    }

    #[test]
    fn rows_that_are_not_valid_take_no_part() {
        let mut report = fixture::report();
        let best = Standing::of(&report, "digits").unwrap().best.row.id.clone();
        let row = report.models.iter_mut().find(|row| row.id == best).unwrap();
        (row.verdict, row.reason) = (Verdict::Noisy, "cv 40 %".into());
        assert!(Standing::of(&report, "digits").is_none_or(|standing| standing.best.row.id != best));
        for row in &mut report.models {
            (row.verdict, row.reason) = (Verdict::Fail, "broken".into());
        }
        assert!(Standing::of(&report, "digits").is_none());
        assert!(texts(&report).contains("digits: no advice, because no model row is VALID."));
    }

    #[test]
    fn a_noisy_time_does_not_hide_the_better_quality() {
        let mut report = fixture::report();
        for row in report.models.iter_mut().filter(|row| row.task == "rust-lm" && row.family == Family::Small) {
            (row.verdict, row.reason) = (Verdict::Noisy, "cv 40 %".into());
        }
        assert!(Standing::of(&report, "rust-lm").is_none());
        let text = texts(&report);
        assert!(text.contains("rust-lm: no recommendation: order-5 n-gram"), "{text}");
        assert!(text.contains("rust-lm: large does not beat small in this run"), "{text}");
    }

    #[test]
    fn of_rows_tied_in_time_and_size_the_better_is_recommended_and_never_a_copy() {
        let mut report = fixture::report();
        let standing = Standing::of(&report, "digits").unwrap();
        let (pick, value) = (standing.recommended.row.clone(), standing.recommended.quality.value);
        let mut better = pick.clone();
        (better.id, better.variant) = ("digits/better/f32/cpu".into(), "better".into());
        better.made_from = None;
        better.file_bytes = pick.file_bytes.map(|bytes| bytes + 72);
        if let Some(quality) = &mut better.quality {
            quality.value = (value + quality.ci_high) / 2.0;
        }
        let mut copy = better.clone();
        (copy.id, copy.made_from) = ("digits/a copy/f32/cpu".into(), Some(pick.id.clone()));
        report.models.extend([better, copy]);
        let standing = Standing::of(&report, "digits").unwrap();
        assert_eq!(standing.recommended.row.id, "digits/better/f32/cpu");
    }

    #[test]
    fn an_accuracy_that_the_commonest_class_explains_is_said_to_be() {
        let mut report = fixture::report();
        assert!(!texts(&report).contains("commonest"), "{}", texts(&report));
        for task in &mut report.tasks {
            task.majority = task.majority.map(|_| 0.99);
        }
        assert!(texts(&report).contains("always with the commonest class, which is right in 99 %"), "{}", texts(&report));
    }

    #[test]
    fn shrinking_that_slows_down_is_said_to() {
        let mut report = fixture::report();
        for row in report.models.iter_mut().filter(|row| row.task == "digits" && row.variant == "int8") {
            if let Some(latency) = &mut row.latency_ms {
                (latency.p10, latency.p50, latency.p90) = (90.0, 100.0, 101.0);
                (latency.p50_low, latency.p50_high) = (Some(99.0), Some(100.5));
                latency.p99 = None;
            }
        }
        assert!(texts(&report).contains(" slower"), "{}", texts(&report));
    }

    #[test]
    fn a_concluded_report_agrees_with_itself() {
        let mut report = fixture::report();
        conclude(&mut report);
        report.check().unwrap();
        assert!(report.advice.iter().all(|finding| !finding.evidence.is_empty()));
    }
}
