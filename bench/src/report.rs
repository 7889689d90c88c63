//! `report.json`: what a run measured, in one file that reads back exactly.
//!
//! Every row has a stable `id` (the same work on another day or machine has the same id), a verdict
//! and, unless VALID, a reason. What was not measured is `null`, never a guess.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::measure::Measurement;
use crate::stats::Interval;

/// The version of the layout that this program writes and reads.
pub const SCHEMA: u32 = 1;

/// Largest `report.json` that is read back; a real one has about a hundred kilobytes.
pub const MAX_FILE_BYTES: u64 = 64 << 20;

/// One run: the root of `report.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Report {
    /// Layout version, [`SCHEMA`].
    pub schema: u32,
    /// The command line that made the run.
    pub command: String,
    /// When the run started, RFC 3339 in UTC.
    pub started_utc: String,
    /// Wall time of the run so far, in seconds.
    pub wall_s: f64,
    /// True until the run has measured everything it set out to.
    pub interrupted: bool,
    /// What the run was measured on.
    pub machine: Machine,
    /// Measured limits of each backend, by backend name.
    pub limits: BTreeMap<String, Limits>,
    /// What `--null` found; null when the run did not ask.
    pub noise_floor: Option<NoiseFloor>,
    /// The tasks, with the origin of their data.
    pub tasks: Vec<Task>,
    /// Kernel rows.
    pub kernels: Vec<KernelRow>,
    /// Model rows.
    pub models: Vec<ModelRow>,
    /// Where the better choice changes.
    pub crossovers: Vec<Finding>,
    /// What follows from the rows.
    pub advice: Vec<Finding>,
}

/// The machine, the build and the settings that decide the figures.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Machine {
    /// CPU model as the system names it.
    pub cpu: String,
    /// Instruction sets found at run time, e.g. `avx2`.
    pub isa: Vec<String>,
    /// Logical cores this process may use.
    pub cores: u32,
    /// Physical memory; null where the system does not tell.
    pub memory_bytes: Option<u64>,
    /// GPU or software adapter in use; null without one.
    pub gpu: Option<String>,
    /// Its driver.
    pub driver: Option<String>,
    /// Operating system and architecture.
    pub os: String,
    /// Compiler version.
    pub rustc: String,
    /// Commit of the working tree; null outside a checkout.
    pub commit: Option<String>,
    /// Whether the tree had uncommitted changes; null outside a checkout.
    pub dirty: Option<bool>,
    /// Seed of data splits, initial weights and measuring order.
    pub seed: u64,
    /// Threads the CPU backend used.
    pub threads: u32,
}

/// Measured, not datasheet, limits of one backend.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Peak f32 rate in GFLOP/s.
    pub peak_f32_gflop_per_s: Option<f64>,
    /// Peak bf16 rate in GFLOP/s.
    pub peak_bf16_gflop_per_s: Option<f64>,
    /// Peak int8 rate in 10⁹ operations/s.
    pub peak_int8_gflop_per_s: Option<f64>,
    /// Memory bandwidth in 10⁹ bytes/s.
    pub bandwidth_gb_per_s: Option<f64>,
}

impl Limits {
    /// The arithmetic peak that bounds such work; null when it was not measured.
    pub fn peak_gflop_per_s(&self, arithmetic: Arithmetic) -> Option<f64> {
        match arithmetic {
            Arithmetic::F32 => self.peak_f32_gflop_per_s,
            Arithmetic::Bf16 => self.peak_bf16_gflop_per_s,
            Arithmetic::Int8 => self.peak_int8_gflop_per_s,
        }
    }
}

/// How far apart two measurements of the same thing came out (`--null`).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoiseFloor {
    /// Largest relative difference of the two medians, e.g. 0.018.
    pub share: f64,
    /// How many pairs were measured.
    pub pairs: u32,
}

impl NoiseFloor {
    /// The floor of pairs of medians of identical work: max |a − b| / min(a, b). `None` without pairs.
    pub fn of_pairs(pairs: &[(f64, f64)]) -> Option<Self> {
        let share =
            pairs.iter().filter(|(a, b)| *a > 0.0 && *b > 0.0).map(|(a, b)| (a - b).abs() / a.min(*b)).reduce(f64::max)?;
        Some(Self { share, pairs: pairs.len() as u32 })
    }
}

/// What a task asks of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TaskKind {
    /// A class for a row of numbers.
    ClassifyRows,
    /// A class for a piece of text.
    ClassifyText,
    /// The next byte of a text.
    LanguageModel,
}

impl TaskKind {
    /// What one call consumes: `row`, `text` or `token`; rates and latencies are per this unit.
    pub fn unit(self) -> &'static str {
        match self {
            Self::ClassifyRows => "row",
            Self::ClassifyText => "text",
            Self::LanguageModel => "token",
        }
    }
}

/// One task and where its data comes from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Task {
    /// Name, as in `--task`; a file name for a user's own data.
    pub name: String,
    /// What is asked.
    pub kind: TaskKind,
    /// Where the data comes from.
    pub source: String,
    /// Licence and credit, as the licence asks for; empty when none is owed.
    pub attribution: String,
    /// Crates whose text was used, as `name version`.
    pub crates: Vec<String>,
    /// Digest of the data after splitting, as `algorithm:hex`.
    pub digest: String,
    /// Training examples (bytes for a language model).
    pub train: u64,
    /// Held-out examples (bytes for a language model).
    pub test: u64,
    /// Number of classes; null for a language model.
    pub classes: Option<u32>,
}

/// Whether a row may be ranked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Verdict {
    /// Measured; may be ranked.
    Valid,
    /// Measured, but the figures move too much to be ranked.
    Noisy,
    /// Not measured, and rightly so: unsupported, not compiled in, no device, no time left.
    Skip,
    /// Should have worked and did not.
    Fail,
}

impl Verdict {
    /// The word in the report.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Valid => "VALID",
            Self::Noisy => "NOISY",
            Self::Skip => "SKIP",
            Self::Fail => "FAIL",
        }
    }
}

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
            dtype: dtype.into(),
            weight: weight.into(),
            shape: shape.iter().map(|(name, size)| ((*name).into(), *size)).collect(),
            threads,
            median_ns: None,
            p10_ns: None,
            p90_ns: None,
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

    /// Times of the row as an interval, p10 to p90, for ranking.
    pub fn spread(&self) -> Option<Interval> {
        Some(Interval { low: self.p10_ns?, high: self.p90_ns? })
    }
}

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
    /// 99th percentile; null under 100 samples, where it would be a guess.
    pub p99: Option<f64>,
    /// Number of samples.
    pub samples: u64,
    /// Calls timed together in one sample; above 1 the percentiles are those of such means.
    pub calls_per_sample: u64,
}

impl Latency {
    /// Times of the row as an interval, p10 to p90, for ranking.
    pub fn spread(&self) -> Interval {
        Interval { low: self.p10, high: self.p90 }
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
            Verdict::Valid => Some((self.quality.as_ref()?, self.latency_ms.as_ref()?)),
            Verdict::Noisy | Verdict::Skip | Verdict::Fail => None,
        }
    }

    /// Whether the row is the model as one would use it: the whole training split, one example a call. The others
    /// are points of batch and learning curves; they feed crossovers, not fronts and advice.
    pub fn is_main(&self) -> bool {
        self.batch == 1 && self.train_subset.is_none()
    }
}

/// What a statement is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Topic {
    /// Which model to use.
    Use,
    /// Which model has the highest quality.
    BestQuality,
    /// Which model is the cheapest close to that.
    CloseToBest,
    /// Large against small.
    LargeOrSmall,
    /// What shrinking cost and gained.
    Shrinking,
    /// Where the better choice changes.
    Crossover,
    /// What to know before trusting the rest.
    Doubt,
}

/// A statement and the rows it rests on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Finding {
    /// What it is about.
    pub topic: Topic,
    /// One or two plain sentences; every figure in them stands in an evidence row.
    pub text: String,
    /// Row ids.
    pub evidence: Vec<String>,
    /// The task it is about; null for the whole run.
    pub task: Option<String>,
}

/// The reason of a row until it is measured: what an interrupted run leaves behind.
pub const NOT_REACHED: &str = "not reached: the run ended before this row";

/// Why a report could not be read or must not be written.
#[derive(Debug, Error)]
pub enum ReportError {
    /// The file cannot be opened or read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is larger than any report.
    #[error("{}: larger than {limit} bytes, not a report of ours", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// [`MAX_FILE_BYTES`].
        limit: u64,
    },
    /// Not JSON, cut short, or a field missing, unknown or of the wrong type.
    #[error("{}: not a report of schema {SCHEMA}: {source}", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// What and where, with line and column.
        source: serde_json::Error,
    },
    /// A report of another layout version.
    #[error("{}: schema {found}, this program reads schema {SCHEMA}", path.display())]
    Schema {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u32,
    },
    /// Well-formed, but contradicts itself.
    #[error("report {}: {what}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// The contradiction, naming the row.
        what: String,
    },
}

impl Report {
    /// An empty report of a run that has just started: `interrupted` until the caller says otherwise.
    pub fn new(command: &str, started_utc: &str, machine: Machine) -> Self {
        Self {
            schema: SCHEMA,
            command: command.into(),
            started_utc: started_utc.into(),
            wall_s: 0.0,
            interrupted: true,
            machine,
            limits: BTreeMap::new(),
            noise_floor: None,
            tasks: Vec::new(),
            kernels: Vec::new(),
            models: Vec::new(),
            crossovers: Vec::new(),
            advice: Vec::new(),
        }
    }

    /// Reads and checks `path`, or `path/report.json` if `path` is a run folder.
    ///
    /// # Errors
    /// [`ReportError`], always with the path: unreadable, too large, truncated or ill-typed JSON (with line and
    /// column), another schema, or a report that contradicts itself.
    pub fn read(path: &Path) -> Result<Self, ReportError> {
        let path = if path.is_dir() { path.join("report.json") } else { path.to_path_buf() };
        let read = |source| ReportError::Read { path: path.clone(), source };
        let mut text = Vec::new();
        File::open(&path).map_err(read)?.take(MAX_FILE_BYTES + 1).read_to_end(&mut text).map_err(read)?;
        if text.len() as u64 > MAX_FILE_BYTES {
            return Err(ReportError::TooLarge { path, limit: MAX_FILE_BYTES });
        }
        Self::parse(&text, &path)
    }

    /// [`Report::read`] of bytes already in memory; `path` is for the error.
    ///
    /// # Errors
    /// As [`Report::read`].
    pub fn parse(text: &[u8], path: &Path) -> Result<Self, ReportError> {
        #[derive(Deserialize)]
        struct Version {
            schema: u32,
        }
        let json = |source| ReportError::Json { path: path.to_path_buf(), source };
        // The version comes first: a later layout should be named, not reported as an unknown field.
        let Version { schema } = serde_json::from_slice(text).map_err(json)?;
        if schema != SCHEMA {
            return Err(ReportError::Schema { path: path.to_path_buf(), found: schema });
        }
        let report: Self = serde_json::from_slice(text).map_err(json)?;
        report.check().map_err(|what| ReportError::Invalid { path: path.to_path_buf(), what })?;
        Ok(report)
    }

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
        }
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

fn check_kernel(row: &KernelRow) -> Result<(), String> {
    check_verdict(&row.id, row.verdict, &row.reason, row.median_ns.is_some() && row.spread().is_some())?;
    finite(&row.id, "gflop_per_s", row.gflop_per_s)?;
    finite(&row.id, "gb_per_s", row.gb_per_s)?;
    finite(&row.id, "share_of_limit", row.share_of_limit)?;
    finite(&row.id, "error_budget_used", row.error_budget_used)?;
    if let (Some(p10), Some(median), Some(p90)) = (row.p10_ns, row.median_ns, row.p90_ns) {
        ordered(&row.id, "p10 ≤ median ≤ p90", &[0.0, p10, median, p90])?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture;

    fn parse(text: &[u8]) -> Result<Report, ReportError> {
        Report::parse(text, Path::new("runs/report.json"))
    }

    fn edited(edit: impl FnOnce(&mut serde_json::Value)) -> Result<Report, ReportError> {
        let mut value = serde_json::to_value(fixture::report()).unwrap();
        edit(&mut value);
        parse(value.to_string().as_bytes())
    }

    #[test]
    fn a_report_reads_back_as_it_was() {
        let report = fixture::report();
        assert!(parse(&serde_json::to_vec(&report).unwrap()).unwrap() == report);
    }

    #[test]
    fn the_layout_is_that_of_schema_1() {
        let value = serde_json::to_value(fixture::report()).unwrap();
        assert_eq!(value["schema"], 1);
        assert_eq!(value["models"][0]["family"], "small");
        assert_eq!(value["models"][0]["verdict"], "VALID");
        assert_eq!(value["models"][0]["quality"]["metric"], "accuracy");
        assert_eq!(value["models"][0]["energy_j"], serde_json::Value::Null);
        assert_eq!(value["kernels"][0]["shape"]["m"], 512);
    }

    #[test]
    fn every_truncation_is_an_error_with_the_path() {
        let text = serde_json::to_vec(&fixture::report()).unwrap();
        for length in (0..text.len()).step_by(97) {
            let error = parse(&text[..length]).unwrap_err();
            assert!(matches!(error, ReportError::Json { .. }) && error.to_string().contains("runs/report.json"));
        }
    }

    #[test]
    fn hostile_files_get_errors_that_name_the_fault() {
        let says = |result: Result<Report, ReportError>, wanted: &str| {
            let error = result.unwrap_err().to_string();
            assert!(error.contains(wanted) && error.contains("runs/report.json"), "{error}");
        };
        says(parse(&b"[".repeat(100_000)), "not a report");
        says(parse(b"\xff\xfe{}"), "not a report");
        says(edited(|v| v["schema"] = 2.into()), "schema 2, this program reads schema 1");
        says(edited(|v| v["surprise"] = 1.into()), "surprise");
        says(edited(|v| v["models"][0]["verdict"] = "GOOD".into()), "GOOD");
        says(edited(|v| drop(v["models"][0].as_object_mut().unwrap().remove("family"))), "family");
        says(edited(|v| v["models"][1]["id"] = v["models"][0]["id"].clone()), "occurs twice");
        says(edited(|v| v["models"][0]["quality"]["ci_low"] = 0.99.into()), "ci_low");
        says(edited(|v| v["models"][0]["latency_ms"]["p50"] = (-1.0).into()), "p50");
        says(edited(|v| v["models"][0]["quality"] = serde_json::Value::Null), "VALID without figures");
        says(edited(|v| v["models"][0]["verdict"] = "FAIL".into()), "FAIL without a reason");
        says(edited(|v| v["models"][0]["task"] = "nowhere".into()), "not among the tasks");
        says(edited(|v| v["models"][0]["quality"]["metric"] = "bits_per_byte".into()), "metric differs");
        says(edited(|v| v["kernels"][0]["gb_per_s"] = (-3.0).into()), "gb_per_s");
        let finding = serde_json::json!({"topic": "use", "text": "x", "evidence": ["no such row"], "task": null});
        says(edited(|v| v["advice"] = vec![finding].into()), "no such row");
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = Report::read(Path::new("/nowhere/report.json")).unwrap_err();
        assert!(error.to_string().starts_with("cannot read /nowhere/report.json"), "{error}");
    }

    #[test]
    fn not_a_number_is_never_written() {
        let mut report = fixture::report();
        report.kernels[0].gflop_per_s = Some(f64::NAN);
        assert!(report.check().unwrap_err().contains("gflop_per_s is NaN"));
    }

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

    #[test]
    fn the_null_test_gives_the_largest_difference() {
        let floor = NoiseFloor::of_pairs(&[(100.0, 101.0), (100.0, 95.0)]).unwrap();
        assert!((floor.share - 5.0 / 95.0).abs() < 1e-12 && floor.pairs == 2);
        assert_eq!(NoiseFloor::of_pairs(&[]), None);
    }
}
