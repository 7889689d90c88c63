//! Results of `cargo bench -p bench`, taken into the report as rows `criterion/…`.
//!
//! Only results of the same commit count: a stamp beside them says which one they were measured at.

use crate::cases::cases;
use crate::machine;
use crate::report::{KernelRow, Machine, Verdict};
use serde::{Deserialize, Serialize};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

const FOLDER: &str = "target/criterion";

#[derive(Serialize, Deserialize, PartialEq)]
struct Stamp {
    commit: Option<String>,
    dirty: Option<bool>,
    cpu: String,
}

impl Stamp {
    fn of(machine: &Machine) -> Self {
        Stamp { commit: machine.commit.clone(), dirty: machine.dirty, cpu: machine.cpu.clone() }
    }
}

/// Times of one benchmark, as criterion leaves them in `sample.json`.
#[derive(Deserialize)]
struct Sample {
    iters: Vec<f64>,
    times: Vec<f64>,
}

#[derive(Deserialize)]
struct Benchmark {
    function_id: Option<String>,
}

/// Notes which commit and machine the results under `target/criterion` belong to. Run from anywhere in the workspace.
///
/// # Errors
/// If the file cannot be written.
pub fn stamp() -> io::Result<()> {
    // `cargo bench` runs in the package's folder, the program in the workspace's.
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let machine = machine::describe(machine::Setup { gpu: None, driver: None, seed: 0, threads: 0 }, &workspace);
    let folder = workspace.join(FOLDER);
    fs::create_dir_all(&folder)?;
    fs::write(folder.join("sizewise.json"), serde_json::to_vec_pretty(&Stamp::of(&machine))?)
}

/// Rows of criterion's results for this commit and machine; none if there are none, or if they are of another commit or a tree
/// with changes of its own.
pub fn rows(machine: &Machine) -> Vec<KernelRow> {
    let folder = Path::new(FOLDER);
    let stamp = fs::read(folder.join("sizewise.json")).ok().and_then(|text| serde_json::from_slice::<Stamp>(&text).ok());
    if stamp != Some(Stamp::of(machine)) || machine.dirty != Some(false) {
        return Vec::new();
    }
    let mut rows = Vec::new();
    for result in results(folder) {
        rows.extend(row(&result));
    }
    rows.sort_by(|a, b| a.id.cmp(&b.id));
    rows
}

/// Folders `new` two levels down: group / benchmark / new.
fn results(folder: &Path) -> Vec<PathBuf> {
    let inside = |path: &Path| -> Vec<PathBuf> {
        fs::read_dir(path)
            .into_iter()
            .flatten()
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| path.is_dir())
            .collect()
    };
    inside(folder).iter().flat_map(|group| inside(group)).map(|bench| bench.join("new")).filter(|new| new.is_dir()).collect()
}

fn row(result: &Path) -> Option<KernelRow> {
    let read = |name: &str| fs::read(result.join(name)).ok();
    let benchmark: Benchmark = serde_json::from_slice(&read("benchmark.json")?).ok()?;
    let sample: Sample = serde_json::from_slice(&read("sample.json")?).ok()?;
    let id = benchmark.function_id?;
    let (op, backend) = (id.split('/').next()?, id.split('/').nth(1)?);
    let threads = id.rsplit_once("threads=")?.1.parse().ok()?;
    let mut row =
        cases(true).into_iter().filter(|case| case.op() == op).map(|case| case.row(backend, threads)).find(|row| row.id == id)?;
    let mut calls_ns: Vec<f64> = sample.times.iter().zip(&sample.iters).map(|(time, calls)| time / calls).collect();
    calls_ns.sort_by(f64::total_cmp);
    let at = |share: f64| calls_ns.get(((calls_ns.len().checked_sub(1)?) as f64 * share).round() as usize).copied();
    row.id = format!("criterion/{id}");
    (row.median_ns, row.p10_ns, row.p90_ns) = (at(0.5), at(0.1), at(0.9));
    row.samples = calls_ns.len() as u64;
    row.verdict = Verdict::Valid;
    row.reason = String::new();
    Some(row)
}
