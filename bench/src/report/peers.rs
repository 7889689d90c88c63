//! Our kernels beside other people's: what `cargo bench --bench peers` leaves behind.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{KernelRow, Limits, Machine, ReportError, SCHEMA, Verdict};
use crate::stats::Summary;

/// Where the benchmark leaves its run, below the workspace, and where a report looks for it.
pub const PEERS_FILE: &str = "target/sizewise/peers.json";

/// One run beside the peers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PeerRun {
    /// Layout version, [`SCHEMA`].
    pub schema: u32,
    /// The command line that made the run.
    pub command: String,
    /// When it started, RFC 3339 in UTC.
    pub started_utc: String,
    /// What it was measured on; `threads` is the largest number used.
    pub machine: Machine,
    /// Limits of the CPU by number of threads, measured right before the cells with as many.
    pub limits: BTreeMap<u32, Limits>,
    /// Peers that could not be measured, each with the reason.
    pub absent: Vec<String>,
    /// The cells in the order measured.
    pub cells: Vec<PeerCell>,
}

/// One kernel of ours on one shape, and everybody else's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PeerCell {
    /// Id of the kernel row of the same work.
    pub id: String,
    /// Heading that it stands under.
    pub group: String,
    /// Activation dtype.
    pub dtype: String,
    /// How we store the weight.
    pub weight: String,
    /// Dimensions by name.
    pub shape: BTreeMap<String, u64>,
    /// Threads used, by us and by them.
    pub threads: u32,
    /// Our figures.
    pub ours: Timing,
    /// Theirs; none where no peer in this list computes such a thing.
    pub rivals: Vec<Rival>,
    /// Where reading binds: as many bytes of other memory, read and summed in the same rounds. Its ratio is the share of the bandwidth
    /// of that moment that we reach.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reading: Option<Rival>,
}

/// A peer's figures for a cell.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rival {
    /// Name, version, and format where it is its own, e.g. `candle 0.11.1 Q4_0`.
    pub peer: String,
    /// Median over the rounds of its time over ours in the same round: above 1 we are faster. Null unless both are measured.
    pub ratio: Option<f64>,
    /// Lower end of the 95 % interval of that median.
    pub ratio_low: Option<f64>,
    /// Its upper end.
    pub ratio_high: Option<f64>,
    /// Rounds compared.
    pub rounds: u64,
    /// Its figures.
    pub timing: Timing,
}

/// What plain reading is called among the peers.
pub const READING: &str = "reading";

/// A ratio is NOISY when its 95 % interval reaches further than this share to either side: twice that of a time, of which it has two.
pub const MAX_RATIO_REACH: f64 = 0.10;

/// How long something took.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Timing {
    /// Median time of one call.
    pub median_ns: Option<f64>,
    /// 10th percentile.
    pub p10_ns: Option<f64>,
    /// 90th percentile.
    pub p90_ns: Option<f64>,
    /// Number of samples.
    pub samples: u64,
    /// Operations over median time, 10⁹/s; of a sparse weight as if it were dense.
    pub gflop_per_s: Option<f64>,
    /// Bytes over median time, 10⁹/s.
    pub gb_per_s: Option<f64>,
    /// Roofline time over median time.
    pub share_of_limit: Option<f64>,
    /// Whether it may be ranked.
    pub verdict: Verdict,
    /// Why not VALID; empty when VALID.
    pub reason: String,
}

impl Timing {
    /// The figures of a row, to four digits: noise starts long before the fifth, and the file is committed.
    pub fn of(row: &KernelRow) -> Self {
        Self {
            median_ns: row.median_ns.map(four_digits),
            p10_ns: row.p10_ns.map(four_digits),
            p90_ns: row.p90_ns.map(four_digits),
            samples: row.samples,
            gflop_per_s: row.gflop_per_s.map(four_digits),
            gb_per_s: row.gb_per_s.map(four_digits),
            share_of_limit: row.share_of_limit.map(four_digits),
            verdict: row.verdict,
            reason: row.reason.clone(),
        }
    }
}

fn four_digits(value: f64) -> f64 {
    format!("{value:.3e}").parse().unwrap_or(value)
}

impl PeerCell {
    /// A cell of what was measured for `ours` and for the peers, [`READING`] among them: name, row, and its time over ours round by
    /// round.
    pub fn new(group: &str, ours: &KernelRow, rivals: &[(String, KernelRow, Vec<f64>)]) -> Self {
        let rival = |(peer, row, ratios): &(String, KernelRow, Vec<f64>)| {
            let both = row.median_ns.is_some() && ours.median_ns.is_some();
            let summary = Summary::of(ratios).filter(|_| both);
            let figure = |of: fn(Summary) -> f64| summary.map(|summary| four_digits(of(summary)));
            Rival {
                peer: peer.clone(),
                ratio: figure(|of| of.median),
                ratio_low: figure(|of| of.median_interval.low),
                ratio_high: figure(|of| of.median_interval.high),
                rounds: ratios.len() as u64,
                timing: Timing::of(row),
            }
        };
        Self {
            id: ours.id.clone(),
            group: group.into(),
            dtype: ours.dtype.clone(),
            weight: ours.weight.clone(),
            shape: ours.shape.clone(),
            threads: ours.threads,
            ours: Timing::of(ours),
            rivals: rivals.iter().filter(|(name, ..)| name != READING).map(rival).collect(),
            reading: rivals.iter().find(|(name, ..)| name == READING).map(rival),
        }
    }

    /// The fastest peer that was measured.
    pub fn best(&self) -> Option<&Rival> {
        let measured = self.rivals.iter().filter(|rival| rival.ratio.is_some());
        measured.min_by(|a, b| a.ratio.unwrap_or(f64::MAX).total_cmp(&b.ratio.unwrap_or(f64::MAX)))
    }

    /// Whether the ratio to this peer may be ranked: NOISY if its interval reaches further than [`MAX_RATIO_REACH`], or of fewer than
    /// five rounds. Times that move do no harm, as long as both move together.
    pub fn verdict(&self, rival: &Rival) -> Verdict {
        match (rival.ratio, rival.ratio_low, rival.ratio_high) {
            (Some(ratio), Some(low), Some(high)) => {
                let known = (high - ratio).max(ratio - low) <= MAX_RATIO_REACH * ratio;
                if known && rival.rounds >= 5 { Verdict::Valid } else { Verdict::Noisy }
            }
            _ => self.ours.verdict.max(rival.timing.verdict),
        }
    }
}

impl PeerRun {
    /// A run that has measured nothing yet.
    pub fn new(command: &str, started_utc: &str, machine: Machine) -> Self {
        Self {
            schema: SCHEMA,
            command: command.into(),
            started_utc: started_utc.into(),
            machine,
            limits: BTreeMap::new(),
            absent: Vec::new(),
            cells: Vec::new(),
        }
    }

    /// The run left behind by the benchmark, if it is of this commit, machine and instruction sets and both trees are clean.
    pub fn of_this_commit(machine: &Machine) -> Option<Self> {
        let run = Self::read(Path::new(PEERS_FILE)).ok()?;
        let same = run.machine.commit == machine.commit && run.machine.cpu == machine.cpu && run.machine.isa == machine.isa;
        let clean = run.machine.dirty == Some(false) && machine.dirty == Some(false);
        (same && clean).then_some(run)
    }

    /// Reads a run back.
    ///
    /// # Errors
    /// [`ReportError`] with the path: unreadable, ill-typed, or contradicting itself.
    pub fn read(path: &Path) -> Result<Self, ReportError> {
        let owned = || path.to_path_buf();
        let text = fs::read(path).map_err(|source| ReportError::Read { path: owned(), source })?;
        let run: Self = serde_json::from_slice(&text).map_err(|source| ReportError::Json { path: owned(), source })?;
        match run.schema {
            SCHEMA => run.check().map_err(|what| ReportError::Invalid { path: owned(), what }).map(|()| run),
            found => Err(ReportError::Schema { path: owned(), found }),
        }
    }

    /// Writes the run, a line per cell so that two runs can be compared by line: under another name first, so that no reader ever
    /// sees half of it.
    ///
    /// # Errors
    /// What the system said.
    pub fn write(&self, path: &Path) -> std::io::Result<()> {
        let lines = self.cells.iter().map(serde_json::to_string).collect::<Result<Vec<_>, _>>()?;
        let head = serde_json::to_string(&Self { cells: Vec::new(), ..self.clone() })?;
        // `cells` is the last field.
        let text = format!("{}[\n{}\n]}}\n", head.trim_end_matches("[]}"), lines.join(",\n"));
        let unfinished = PathBuf::from(format!("{}.unfinished", path.display()));
        fs::create_dir_all(path.parent().unwrap_or(Path::new(".")))?;
        fs::write(&unfinished, text)?;
        fs::rename(&unfinished, path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture;

    #[test]
    fn a_run_reads_back_as_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/peers.json");
        let run = fixture::report().peers.unwrap();
        run.write(&path).unwrap();
        assert_eq!(PeerRun::read(&path).unwrap(), run);
        assert!(fs::read_to_string(&path).unwrap().lines().count() > run.cells.len(), "a line per cell");
        let mut twice = run;
        twice.cells.push(twice.cells[0].clone());
        twice.write(&path).unwrap();
        assert!(PeerRun::read(&path).unwrap_err().to_string().contains("occurs twice"));
    }

    #[test]
    fn the_best_peer_is_the_fastest_and_its_ratio_has_a_verdict_of_its_own() {
        let run = fixture::report().peers.unwrap();
        let cell = &run.cells[0];
        let best = cell.best().unwrap();
        assert_eq!((best.peer.as_str(), best.ratio), ("gemm 0.0.0", Some(1.25)));
        assert_eq!((best.ratio_low, best.ratio_high), (Some(1.2), Some(1.3)));
        assert_eq!(cell.verdict(best), Verdict::Valid);
        assert_eq!(cell.verdict(&cell.rivals[1]), Verdict::Noisy);
        assert!(run.cells[1].best().is_none());
    }
}
