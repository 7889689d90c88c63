//! `report.json`: what a run measured, in one file that reads back exactly.
//!
//! Every row has a stable `id` (the same work on another day or machine has the same id), a verdict
//! and, unless VALID, a reason. What was not measured is `null`, never a guess.

mod check;
mod kernel_row;
mod model_row;
mod peers;
mod read;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use kernel_row::{Arithmetic, KernelRow, Work};
pub use model_row::{Family, Latency, Metric, ModelRow, Pareto, Quality};
pub use peers::{MAX_RATIO_REACH, PEERS_FILE, PeerCell, PeerRun, READING, Rival, Timing};
pub use read::{MAX_FILE_BYTES, ReportError};

/// The version of the layout that this program writes and reads.
pub const SCHEMA: u32 = 1;

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
    /// Our kernels beside other people's, from `cargo bench --bench peers` at the same commit; null without such a run.
    #[serde(default)]
    pub peers: Option<PeerRun>,
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
    /// Memory bandwidth in 10⁹ bytes/s, on the pages that give the most.
    pub bandwidth_gb_per_s: Option<f64>,
    /// The same on 4 KiB pages; null where there is no choice of pages.
    #[serde(default)]
    pub bandwidth_small_pages_gb_per_s: Option<f64>,
}

impl Limits {
    /// The arithmetic peak that bounds such work; null when it was not measured.
    pub fn peak_gflop_per_s(&self, arithmetic: Arithmetic) -> Option<f64> {
        match arithmetic {
            Arithmetic::F32 => self.peak_f32_gflop_per_s,
            // Where the instruction for bf16 is slower than f32's, products of widened values bound it.
            Arithmetic::Bf16 => self.peak_bf16_gflop_per_s.map(|peak| peak.max(self.peak_f32_gflop_per_s.unwrap_or(0.0))),
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
    /// Share of the commonest class among the held-out examples, which a model that always answers it gets right; null for a
    /// language model.
    #[serde(default)]
    pub majority: Option<f64>,
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

/// A backend's name as tables show it.
pub fn shown_backend(name: &str, software: bool) -> String {
    if software { format!("{name} (software)") } else { name.into() }
}

/// The reason of a row until it is measured: what an interrupted run leaves behind.
pub const NOT_REACHED: &str = "not reached: the run ended before this row";

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
            peers: None,
            models: Vec::new(),
            crossovers: Vec::new(),
            advice: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_null_test_gives_the_largest_difference() {
        let floor = NoiseFloor::of_pairs(&[(100.0, 101.0), (100.0, 95.0)]).unwrap();
        assert!((floor.share - 5.0 / 95.0).abs() < 1e-12 && floor.pairs == 2);
        assert_eq!(NoiseFloor::of_pairs(&[]), None);
    }
}
