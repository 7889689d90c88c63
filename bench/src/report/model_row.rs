//! Model rows.

use serde::{Deserialize, Serialize};

use super::{NOT_REACHED, Verdict};
use crate::measure::Measurement;
use crate::stats::Interval;

/// Large or small, the question of the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    /// Transformers.
    Large,
    /// Everything that trains in seconds.
    Small,
}

impl Family {
    /// `large` or `small`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Large => "large",
            Self::Small => "small",
        }
    }
}

/// What quality is measured in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// Share of held-out examples classified right; higher is better.
    Accuracy,
    /// Cross-entropy per byte of held-out text, base 2; lower is better.
    BitsPerByte,
}

impl Metric {
    /// Name for people.
    pub fn label(self) -> &'static str {
        match self {
            Self::Accuracy => "accuracy",
            Self::BitsPerByte => "bits per byte",
        }
    }

    /// Whether more is better.
    pub fn higher_is_better(self) -> bool {
        self == Self::Accuracy
    }
}

/// Quality on the held-out split with its 95 % interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Quality {
    /// The measure.
    pub metric: Metric,
    /// Its value.
    pub value: f64,
    /// Lower end of the 95 % interval.
    pub ci_low: f64,
    /// Upper end of the 95 % interval.
    pub ci_high: f64,
    /// Held-out examples, or independent text windows, that the interval rests on.
    pub n: u64,
}

impl Quality {
    /// The 95 % interval.
    pub fn interval(&self) -> Interval {
        Interval { low: self.ci_low, high: self.ci_high }
    }

    /// The value, turned so that more is better.
    pub fn upward(&self) -> f64 {
        if self.metric.higher_is_better() { self.value } else { -self.value }
    }

    /// How much better `self` is than `other`, positive when better whatever the metric's direction.
    pub fn gain_over(&self, other: &Quality) -> f64 {
        self.upward() - other.upward()
    }

    /// Better than `other` with intervals that do not overlap.
    pub fn clearly_better_than(&self, other: &Quality) -> bool {
        self.metric == other.metric && self.gain_over(other) > 0.0 && !self.interval().overlaps(other.interval())
    }
}

/// Time of one prediction (one row, text or token), in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Latency {
    /// 10th percentile.
    pub p10: f64,
    /// Median.
    pub p50: f64,
    /// 90th percentile.
    pub p90: f64,
    /// Lower end of the 95 % interval of the median; null in reports of older programs.
    #[serde(default)]
    pub p50_low: Option<f64>,
    /// Upper end of the same.
    #[serde(default)]
    pub p50_high: Option<f64>,
    /// 99th percentile; null under 100 samples, where it would be a guess.
    pub p99: Option<f64>,
    /// Number of samples.
    pub samples: u64,
    /// Calls timed together in one sample; above 1 the percentiles are those of such means.
    pub calls_per_sample: u64,
}

impl Latency {
    /// How well the median is known, for ranking: its 95 % interval, or p10 to p90 in a report without.
    pub fn interval(&self) -> Interval {
        match (self.p50_low, self.p50_high) {
            (Some(low), Some(high)) => Interval { low, high },
            _ => Interval { low: self.p10, high: self.p90 },
        }
    }
}

/// Membership of the Pareto fronts of the row's task.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pareto {
    /// On the front of quality against p50 latency.
    pub latency: bool,
    /// On the front of quality against file bytes.
    pub bytes: bool,
}

/// One trained model on one task. Make it with [`ModelRow::new`], fill in what was measured, then [`ModelRow::record`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelRow {
    /// Stable name: task/model/variant/backend and what else tells rows apart.
    pub id: String,
    /// Large or small.
    pub family: Family,
    /// Model name, e.g. `gpt`, `logistic`, `order-5 n-gram`.
    pub model: String,
    /// `f32`, `bf16`, `int8`, `int4`, `pruned-…`, `distilled-…`.
    pub variant: String,
    /// Id of the row this model was shrunk from; null for a model trained as it is.
    pub made_from: Option<String>,
    /// Task name.
    pub task: String,
    /// Backend name.
    pub backend: String,
    /// Whether the backend emulates a GPU on the CPU: shown and marked, but never ranked, as its speed says nothing of a GPU.
    #[serde(default)]
    pub software: bool,
    /// Examples per call; latency and rate are of such calls, per example.
    pub batch: u64,
    /// Training examples used, for a point of a learning curve; null for the whole training split.
    pub train_subset: Option<u64>,
    /// Parameters.
    pub params: Option<u64>,
    /// Parameters that are not zero.
    pub nonzero_params: Option<u64>,
    /// Size of the model file.
    pub file_bytes: Option<u64>,
    /// Peak resident memory of the process while this model predicted.
    pub peak_memory_bytes: Option<u64>,
    /// Training (or shrinking) time.
    pub train_s: Option<f64>,
    /// Quality on the held-out split.
    pub quality: Option<Quality>,
    /// Time per prediction.
    pub latency_ms: Option<Latency>,
    /// Rows, texts or tokens per second.
    pub rows_or_tokens_per_s: Option<f64>,
    /// Energy of one prediction in joules; null where no counter can be read.
    pub energy_j: Option<f64>,
    /// Money for a million predictions; null unless prices were given.
    pub cost_per_million: Option<f64>,
    /// Fronts the row is on.
    pub pareto: Pareto,
    /// Whether the row may be ranked.
    pub verdict: Verdict,
    /// Why not VALID; empty when VALID.
    pub reason: String,
}

impl ModelRow {
    /// A row nothing has been measured for: SKIP, "not reached". Batch 1 and
    /// the whole training split; set `batch` and `train_subset`, then
    /// add to `id` what tells the row from its siblings.
    pub fn new(task: &str, family: Family, model: &str, variant: &str, backend: &str) -> Self {
        Self {
            id: format!("{task}/{model}/{variant}/{backend}"),
            family,
            model: model.into(),
            variant: variant.into(),
            made_from: None,
            task: task.into(),
            backend: backend.into(),
            software: false,
            batch: 1,
            train_subset: None,
            params: None,
            nonzero_params: None,
            file_bytes: None,
            peak_memory_bytes: None,
            train_s: None,
            quality: None,
            latency_ms: None,
            rows_or_tokens_per_s: None,
            energy_j: None,
            cost_per_million: None,
            pareto: Pareto::default(),
            verdict: Verdict::Skip,
            reason: NOT_REACHED.into(),
        }
    }

    /// Takes in the timing of calls that each handle `examples_per_call` rows, texts or tokens; sets the verdict.
    pub fn record(&mut self, measurement: &Measurement, examples_per_call: u64) {
        (self.verdict, self.reason) = measurement.verdict();
        let Some(summary) = measurement.summary() else {
            return;
        };
        let ms = 1e-6 / examples_per_call.max(1) as f64;
        self.latency_ms = Some(Latency {
            p10: summary.p10 * ms,
            p50: summary.median * ms,
            p90: summary.p90 * ms,
            p50_low: Some(summary.median_interval.low * ms),
            p50_high: Some(summary.median_interval.high * ms),
            p99: summary.p99.map(|p99| p99 * ms),
            samples: summary.samples as u64,
            calls_per_sample: measurement.calls_per_sample,
        });
        self.rows_or_tokens_per_s = (summary.median > 0.0).then(|| 1e3 / (summary.median * ms));
    }

    /// Model and variant, as people name the row within its task.
    pub fn label(&self) -> String {
        let mut label = format!("{} {}", self.model, self.variant);
        if self.batch > 1 {
            label += &format!(", batch {}", self.batch);
        }
        if let Some(examples) = self.train_subset {
            label += &format!(", {examples} examples");
        }
        label
    }

    /// Whether the row is VALID and has both quality and latency, so that it may be ranked.
    pub fn ranked(&self) -> Option<(&Quality, &Latency)> {
        match self.verdict {
            Verdict::Valid if !self.software => Some((self.quality.as_ref()?, self.latency_ms.as_ref()?)),
            Verdict::Valid | Verdict::Noisy | Verdict::Skip | Verdict::Fail => None,
        }
    }

    /// Whether the row is the model as one would use it: the whole training split, one example a call. The others
    /// are points of batch and learning curves; they feed crossovers, not fronts and advice.
    pub fn is_main(&self) -> bool {
        self.batch == 1 && self.train_subset.is_none()
    }
}
