//! Whether a report agrees with itself: asked before it is written and after it is read.

use std::collections::{BTreeMap, BTreeSet};

use super::{KernelRow, Metric, ModelRow, PeerRun, Report, Timing, Verdict};

impl Report {
    /// Whether the report agrees with itself: ids unique, evidence present, figures finite and in order, a reason
    /// wherever a row is not VALID, figures wherever it is.
    ///
    /// # Errors
    /// A sentence naming the row and what is wrong with it.
    pub fn check(&self) -> Result<(), String> {
        let mut ids = BTreeSet::new();
        for id in self.kernels.iter().map(|row| &row.id).chain(self.models.iter().map(|row| &row.id)) {
            if !ids.insert(id.as_str()) {
                return Err(format!("row id {id:?} occurs twice"));
            }
        }
        for finding in self.crossovers.iter().chain(&self.advice) {
            if let Some(missing) = finding.evidence.iter().find(|id| !ids.contains(id.as_str())) {
                return Err(format!("{:?} cites {missing:?}, which is no row", finding.text));
            }
        }
        finite("run", "wall_s", Some(self.wall_s))?;
        finite("run", "noise_floor", self.noise_floor.map(|floor| floor.share))?;
        for (backend, limits) in &self.limits {
            finite(backend, "peak_f32_gflop_per_s", limits.peak_f32_gflop_per_s)?;
            finite(backend, "peak_bf16_gflop_per_s", limits.peak_bf16_gflop_per_s)?;
            finite(backend, "peak_int8_gflop_per_s", limits.peak_int8_gflop_per_s)?;
            finite(backend, "bandwidth_gb_per_s", limits.bandwidth_gb_per_s)?;
            finite(backend, "bandwidth_small_pages_gb_per_s", limits.bandwidth_small_pages_gb_per_s)?;
        }
        self.peers.as_ref().map_or(Ok(()), PeerRun::check)?;
        self.kernels.iter().try_for_each(check_kernel)?;
        let mut metrics: BTreeMap<&str, Metric> = BTreeMap::new();
        self.models.iter().try_for_each(|row| {
            if !self.tasks.iter().any(|task| task.name == row.task) {
                return Err(format!("row {:?}: task {:?} is not among the tasks", row.id, row.task));
            }
            if let Some(quality) = &row.quality
                && *metrics.entry(&row.task).or_insert(quality.metric) != quality.metric
            {
                return Err(format!("row {:?}: its metric differs from other rows of {:?}", row.id, row.task));
            }
            check_model(row)
        })
    }
}

impl PeerRun {
    /// Whether the run agrees with itself, as [`Report::check`] asks of its rows.
    ///
    /// # Errors
    /// A sentence naming the cell and what is wrong with it.
    pub fn check(&self) -> Result<(), String> {
        let mut ids = BTreeSet::new();
        self.cells.iter().try_for_each(|cell| {
            if !ids.insert(cell.id.as_str()) {
                return Err(format!("cell {:?} occurs twice", cell.id));
            }
            check_timing(&cell.id, &cell.ours)?;
            cell.rivals.iter().chain(&cell.reading).try_for_each(|rival| {
                let id = format!("{} against {}", cell.id, rival.peer);
                check_timing(&id, &rival.timing)?;
                let ratios = [rival.ratio_low, rival.ratio, rival.ratio_high];
                ratios.iter().try_for_each(|&ratio| finite(&id, "ratio", ratio))?;
                match ratios.iter().all(|ratio| ratio.is_some()) && ratios.is_sorted() || ratios == [None; 3] {
                    true => Ok(()),
                    false => Err(format!("{id}: the ratio lies outside of its interval")),
                }
            })
        })
    }
}

fn check_timing(id: &str, timing: &Timing) -> Result<(), String> {
    check_verdict(id, timing.verdict, &timing.reason, timing.median_ns.is_some())?;
    finite(id, "gflop_per_s", timing.gflop_per_s)?;
    finite(id, "gb_per_s", timing.gb_per_s)?;
    finite(id, "share_of_limit", timing.share_of_limit)?;
    if let (Some(p10), Some(median), Some(p90)) = (timing.p10_ns, timing.median_ns, timing.p90_ns) {
        ordered(id, "p10 ≤ median ≤ p90", &[0.0, p10, median, p90])?;
    }
    Ok(())
}

fn check_kernel(row: &KernelRow) -> Result<(), String> {
    check_verdict(&row.id, row.verdict, &row.reason, row.median_ns.is_some() && row.interval().is_some())?;
    finite(&row.id, "gflop_per_s", row.gflop_per_s)?;
    finite(&row.id, "gb_per_s", row.gb_per_s)?;
    finite(&row.id, "share_of_limit", row.share_of_limit)?;
    finite(&row.id, "error_budget_used", row.error_budget_used)?;
    if let (Some(p10), Some(median), Some(p90)) = (row.p10_ns, row.median_ns, row.p90_ns) {
        ordered(&row.id, "p10 ≤ median ≤ p90", &[0.0, p10, median, p90])?;
    }
    if let (Some(low), Some(median), Some(high)) = (row.median_low_ns, row.median_ns, row.median_high_ns) {
        ordered(&row.id, "interval of the median holds it", &[0.0, low, median, high])?;
    }
    Ok(())
}

fn check_model(row: &ModelRow) -> Result<(), String> {
    let measured = row.latency_ms.is_some() && row.quality.is_some() && row.file_bytes.is_some();
    check_verdict(&row.id, row.verdict, &row.reason, measured)?;
    finite(&row.id, "train_s", row.train_s)?;
    finite(&row.id, "rows_or_tokens_per_s", row.rows_or_tokens_per_s)?;
    finite(&row.id, "energy_j", row.energy_j)?;
    finite(&row.id, "cost_per_million", row.cost_per_million)?;
    if let Some(quality) = &row.quality {
        ordered(&row.id, "0 ≤ ci_low ≤ quality ≤ ci_high", &[0.0, quality.ci_low, quality.value, quality.ci_high])?;
    }
    if let Some(latency) = &row.latency_ms {
        let p99 = latency.p99.unwrap_or(latency.p90);
        ordered(&row.id, "p10 ≤ p50 ≤ p90 ≤ p99", &[0.0, latency.p10, latency.p50, latency.p90, p99])?;
        let interval = latency.interval();
        ordered(&row.id, "interval of the median holds it", &[0.0, interval.low, latency.p50, interval.high])?;
    }
    Ok(())
}

fn check_verdict(id: &str, verdict: Verdict, reason: &str, measured: bool) -> Result<(), String> {
    match (verdict, reason.is_empty(), measured) {
        (Verdict::Valid, false, _) => Err(format!("row {id:?}: VALID with a reason: {reason:?}")),
        (Verdict::Valid, true, false) => Err(format!("row {id:?}: VALID without figures")),
        (Verdict::Valid, true, true) | (_, false, _) => Ok(()),
        (_, true, _) => Err(format!("row {id:?}: {} without a reason", verdict.as_str())),
    }
}

fn finite(id: &str, field: &str, value: Option<f64>) -> Result<(), String> {
    match value {
        Some(value) if !value.is_finite() || value < 0.0 => {
            Err(format!("{id:?}: {field} is {value}, not a finite number from 0"))
        }
        _ => Ok(()),
    }
}

fn ordered(id: &str, rule: &str, values: &[f64]) -> Result<(), String> {
    // Means of equal samples may differ in the last digit, hence the hair of slack.
    let sorted = values.iter().zip(values.iter().skip(1)).all(|(a, b)| *a <= b * (1.0 + 1e-12));
    match sorted && values.iter().all(|value| value.is_finite()) {
        true => Ok(()),
        false => Err(format!("row {id:?}: {rule} does not hold")),
    }
}
