//! Kernel rows.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Limits, NOT_REACHED, Verdict};
use crate::measure::Measurement;
use crate::stats::Interval;

/// What a kernel multiplies in, whatever it stores: it decides which measured peak bounds the row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arithmetic {
    /// 32-bit float, also for weights decoded to f32 on the way.
    F32,
    /// bf16 products.
    Bf16,
    /// int8 × int8 products.
    Int8,
}

/// Arithmetic and memory traffic of one call, from the op's cost.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Work {
    /// What it multiplies in.
    pub arithmetic: Arithmetic,
    /// Arithmetic operations.
    pub flop: f64,
    /// Bytes read and written at least once.
    pub bytes: f64,
}

/// One op, shape and backend. Make it with [`KernelRow::new`], then [`KernelRow::record`] or set verdict and reason.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KernelRow {
    /// Stable name of the work.
    pub id: String,
    /// Op name.
    pub op: String,
    /// Backend name.
    pub backend: String,
    /// Whether the backend emulates a GPU on the CPU: shown and marked, but never ranked, as its speed says nothing of a GPU.
    #[serde(default)]
    pub software: bool,
    /// Activation dtype, e.g. `f32`.
    pub dtype: String,
    /// Weight storage, e.g. `dense`, `int8`, `int4-g64`, `csr-90`, `2:4`.
    pub weight: String,
    /// Dimensions by name.
    pub shape: BTreeMap<String, u64>,
    /// Threads used.
    pub threads: u32,
    /// Median time of one call.
    pub median_ns: Option<f64>,
    /// 10th percentile.
    pub p10_ns: Option<f64>,
    /// 90th percentile.
    pub p90_ns: Option<f64>,
    /// Lower end of the 95 % interval of the median; null in reports of older programs.
    #[serde(default)]
    pub median_low_ns: Option<f64>,
    /// Upper end of the same.
    #[serde(default)]
    pub median_high_ns: Option<f64>,
    /// Number of samples.
    pub samples: u64,
    /// Operations over median time, 10⁹/s.
    pub gflop_per_s: Option<f64>,
    /// Bytes over median time, 10⁹/s.
    pub gb_per_s: Option<f64>,
    /// Roofline time over median time: 1 is the measured limit of this machine.
    pub share_of_limit: Option<f64>,
    /// Largest error seen over its derived bound; null when not checked in this run.
    pub error_budget_used: Option<f64>,
    /// Whether the row may be ranked.
    pub verdict: Verdict,
    /// Why not VALID; empty when VALID.
    pub reason: String,
}

impl KernelRow {
    /// A row nothing has been measured for: SKIP, "not reached".
    pub fn new(op: &str, backend: &str, dtype: &str, weight: &str, shape: &[(&str, u64)], threads: u32) -> Self {
        let dims: Vec<String> = shape.iter().map(|(name, size)| format!("{name}={size}")).collect();
        Self {
            id: format!("{op}/{backend}/{dtype}/{weight}/{}/threads={threads}", dims.join(",")),
            op: op.into(),
            backend: backend.into(),
            software: false,
            dtype: dtype.into(),
            weight: weight.into(),
            shape: shape.iter().map(|(name, size)| ((*name).into(), *size)).collect(),
            threads,
            median_ns: None,
            p10_ns: None,
            p90_ns: None,
            median_low_ns: None,
            median_high_ns: None,
            samples: 0,
            gflop_per_s: None,
            gb_per_s: None,
            share_of_limit: None,
            error_budget_used: None,
            verdict: Verdict::Skip,
            reason: NOT_REACHED.into(),
        }
    }

    /// Takes in a measurement: times, rates, share of the roofline `max(flop / peak, bytes / bandwidth)`, verdict.
    pub fn record(&mut self, measurement: &Measurement, work: Work, limits: Option<&Limits>) {
        (self.verdict, self.reason) = measurement.verdict();
        let Some(summary) = measurement.summary() else {
            return;
        };
        self.median_ns = Some(summary.median);
        self.p10_ns = Some(summary.p10);
        self.p90_ns = Some(summary.p90);
        self.median_low_ns = Some(summary.median_interval.low);
        self.median_high_ns = Some(summary.median_interval.high);
        self.samples = summary.samples as u64;
        if summary.median <= 0.0 {
            return;
        }
        self.gflop_per_s = Some(work.flop / summary.median);
        self.gb_per_s = Some(work.bytes / summary.median);
        self.share_of_limit = limits.and_then(|limits| {
            let arithmetic_ns = work.flop / limits.peak_gflop_per_s(work.arithmetic)?;
            let traffic_ns = work.bytes / limits.bandwidth_gb_per_s?;
            Some(arithmetic_ns.max(traffic_ns) / summary.median)
        });
    }

    /// How well the median is known, for ranking: its 95 % interval, or p10 to p90 in a report without.
    pub fn interval(&self) -> Option<Interval> {
        let (low, high) = match (self.median_low_ns, self.median_high_ns) {
            (Some(low), Some(high)) => (low, high),
            _ => (self.p10_ns?, self.p90_ns?),
        };
        Some(Interval { low, high })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_row_takes_in_its_measurement() {
        let measurement = Measurement {
            id: "x".into(),
            samples_ns: vec![1000.0; 20],
            calls_per_sample: 200,
            settled: true,
            min_samples: 8,
            outcome: crate::measure::Outcome::Done,
        };
        let limits = Limits { peak_f32_gflop_per_s: Some(100.0), bandwidth_gb_per_s: Some(10.0), ..Limits::default() };
        let mut row = KernelRow::new("matmul", "cpu", "f32", "dense", &[("m", 8)], 1);
        assert_eq!((row.verdict, row.reason.as_str()), (Verdict::Skip, NOT_REACHED));
        let mut work = Work { arithmetic: Arithmetic::F32, flop: 50_000.0, bytes: 1000.0 };
        row.record(&measurement, work, Some(&limits));
        assert_eq!(row.verdict, Verdict::Valid);
        assert_eq!((row.gflop_per_s, row.gb_per_s, row.share_of_limit), (Some(50.0), Some(1.0), Some(0.5)));
        work.bytes = 8000.0;
        row.record(&measurement, work, Some(&limits));
        assert_eq!(row.share_of_limit, Some(0.8), "bound by bandwidth");
        work.arithmetic = Arithmetic::Int8;
        row.record(&measurement, work, Some(&limits));
        assert_eq!(row.share_of_limit, None, "an int8 peak was not measured");
    }
}
