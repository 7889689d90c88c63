//! `cargo xtask import-results`: takes in what a package's `run.sh` has left on a GPU machine.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;

use crate::{cargo, test};

const DOCUMENT: &str = "docs/gpu-results.md";

/// Take in results.tgz of a package: a section of docs/gpu-results.md, and the run among those here
///
/// The run is put below target/sizewise, where `cargo xtask compare` and `--baseline` find it.
#[derive(clap::Args)]
pub struct Args {
    /// results.tgz, or the folder that it holds
    #[arg(value_name = "RESULTS")]
    results: PathBuf,
}

/// Takes the results in.
///
/// # Errors
/// A file that cannot be read or lacks a part; a document that cannot be written.
pub fn run(args: &Args) -> Result<ExitCode> {
    let folder = if args.results.is_dir() { args.results.clone() } else { unpack(&args.results)? };
    let section = section(&folder)?;
    let document = cargo::root().join(DOCUMENT);
    let text = fs::read_to_string(&document).with_context(|| format!("cannot read {DOCUMENT}"))?;
    fs::write(&document, insert(&text, &section)).with_context(|| format!("cannot write {DOCUMENT}"))?;
    println!("{DOCUMENT}: a section more; read it before you commit it");
    let run = run_of(&folder)?;
    let name = run.file_name().context("a run without a name")?;
    let to = cargo::root().join("target/sizewise").join(name);
    ensure!(!to.exists(), "{} is here already", to.display());
    fs::create_dir_all(&to)?;
    for entry in fs::read_dir(&run)?.flatten().filter(|entry| entry.path().is_file()) {
        fs::copy(entry.path(), to.join(entry.file_name()))?;
    }
    println!("{}: the run", to.display());
    Ok(ExitCode::SUCCESS)
}

fn unpack(archive: &Path) -> Result<PathBuf> {
    let to = cargo::root().join("target/imported");
    if to.exists() {
        fs::remove_dir_all(&to)?;
    }
    fs::create_dir_all(&to)?;
    test::run(Command::new("tar").arg("xzf").arg(archive).arg("-C").arg(&to)).context("cannot unpack the results")?;
    Ok(to.join("results"))
}

/// The one run's folder.
fn run_of(folder: &Path) -> Result<PathBuf> {
    let runs = folder.join("runs");
    let entries = fs::read_dir(&runs).with_context(|| format!("{}: nothing was measured", runs.display()))?;
    let mut found: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    found.retain(|path| !path.is_symlink() && path.join("report.json").is_file());
    match &found[..] {
        [run] => Ok(run.clone()),
        _ => bail!("{}: one run with a report.json is wanted, {} are there", runs.display(), found.len()),
    }
}

/// `key=value` lines.
fn about(text: &str) -> BTreeMap<&str, &str> {
    text.lines().filter_map(|line| line.split_once('=')).collect()
}

/// The line of libtest that closes a run.
fn verdict(text: &str) -> &str {
    text.lines().rev().find(|line| line.starts_with("test result:")).unwrap_or("it did not end")
}

fn section(folder: &Path) -> Result<String> {
    let read = |name: &str| fs::read_to_string(folder.join(name)).with_context(|| format!("{}/{name}", folder.display()));
    let text = read("about.txt")?;
    let about = about(&text);
    let get = |key| about.get(key).copied().unwrap_or("unknown");
    let mut out = format!("## kernels-cuda on an {}, {}\n\n", get("device"), get("date"));
    writeln!(out, "{}, driver {}; host {}. Kernels of commit `{}`.\n", get("device"), get("driver"), get("host"), get("commit"))?;
    writeln!(
        out,
        "**Right?** The contract's suite with `SIZEWISE_CASES={}` (`./run.sh` of `cargo xtask package`): {}",
        get("cases"),
        read("conformance.txt").map_or("not run".to_owned(), |text| verdict(&text).to_owned())
    )?;
    for (file, what) in [
        ("product_bits", "Products by every kind of kernels, to the same bits"),
        ("small-matmul", "Products by tiles of 64 alone"),
        ("small-linear", "Layers by tiles of 64 alone"),
        ("large-matmul", "Products by tiles of 128 alone"),
        ("large-linear", "Layers by tiles of 128 alone"),
        ("hopper-matmul", "Products by Hopper's own tensor cores wherever they take them"),
        ("hopper-linear", "Layers by Hopper's own tensor cores wherever they take them"),
        ("repeats", "Calls a thousand times each, to the same bits"),
        ("graphs", "Every launch by way of a graph"),
    ] {
        if let Ok(text) = fs::read_to_string(folder.join(format!("{file}.txt"))) {
            writeln!(out, "\n{what}: {}", verdict(&text))?;
        }
    }
    out.push('\n');
    for tool in ["memcheck", "racecheck", "synccheck"] {
        match fs::read_to_string(folder.join(format!("{tool}.txt"))) {
            Ok(text) => writeln!(out, "compute-sanitizer {tool}: {}", text.lines().next_back().unwrap_or("it did not end"))?,
            Err(_) => writeln!(out, "compute-sanitizer {tool}: not run.")?,
        }
    }
    writeln!(out, "\n**Fast?** `sizewise-bench kernels --full --backend cuda`, medians:\n")?;
    let summary = fs::read_to_string(run_of(folder)?.join("summary.md")).context("the run has no summary.md")?;
    let rows: Vec<&str> = summary.lines().filter(|line| line.starts_with('|')).collect();
    ensure!(!rows.is_empty(), "the run's summary.md has no table");
    out.push_str(&rows.join("\n"));
    out.push('\n');
    let said = [("launches", "What launches cost", "launches"), ("gpt", "A decoder of GPT-2's size", "gpt_speed --backend cuda")];
    for (file, what, command) in said {
        if let Ok(text) = fs::read_to_string(folder.join(format!("{file}.txt"))) {
            writeln!(out, "\n**{what}?** `{command}`:\n\n```\n{}\n```", text.trim_end())?;
        }
    }
    match fs::read(folder.join("torch.json")) {
        Ok(torch) => beside_torch(&mut out, &torch, &fs::read(run_of(folder)?.join("report.json"))?)?,
        Err(_) => writeln!(out, "\n**Beside PyTorch?** Not measured.")?,
    }
    Ok(out)
}

/// What `torch_peers.py` leaves.
#[derive(Deserialize)]
struct Torch {
    torch: String,
    cuda: Option<String>,
    rows: Vec<TorchRow>,
}

#[derive(Deserialize)]
struct TorchRow {
    id: String,
    call: String,
    median_ns: f64,
}

/// What is read of a report here.
#[derive(Deserialize)]
struct Report {
    kernels: Vec<KernelRow>,
}

#[derive(Deserialize)]
struct KernelRow {
    id: String,
    median_ns: Option<f64>,
    gflop_per_s: Option<f64>,
    gb_per_s: Option<f64>,
}

/// A table of the rows that PyTorch was measured on as well.
fn beside_torch(out: &mut String, torch: &[u8], report: &[u8]) -> Result<()> {
    let torch: Torch = serde_json::from_slice(torch).context("torch.json")?;
    let report: Report = serde_json::from_slice(report).context("report.json")?;
    writeln!(
        out,
        "\n**Beside PyTorch {}, CUDA {}?** The same work in the same package, one after the other; above 1 we are faster. Weights that \
         PyTorch has no form of are compared with their dense product:\n",
        torch.torch,
        torch.cuda.as_deref().unwrap_or("none")
    )?;
    out.push_str("| row | ours | TFLOP/s | GB/s | PyTorch | its call | ratio |\n|---|---|---|---|---|---|---|\n");
    for theirs in &torch.rows {
        let Some(ours) = report.kernels.iter().find(|row| row.id == theirs.id) else {
            bail!("torch.json: the run has no row {}", theirs.id)
        };
        let Some(median) = ours.median_ns else { continue };
        let rate = |rate: Option<f64>, unit: f64| rate.map_or("–".to_owned(), |rate| format!("{:.4}", rate / unit));
        writeln!(
            out,
            "| {} | {:.1} µs | {} | {} | {:.1} µs | {} | {:.2}× |",
            theirs.id,
            median / 1e3,
            rate(ours.gflop_per_s, 1e3),
            rate(ours.gb_per_s, 1.0),
            theirs.median_ns / 1e3,
            theirs.call,
            theirs.median_ns / median
        )?;
    }
    Ok(())
}

/// The document with a section before the first.
fn insert(document: &str, section: &str) -> String {
    match document.find("\n## ") {
        Some(at) => format!("{}{section}{}", &document[..=at], &document[at..]),
        None => format!("{}\n\n{section}", document.trim_end()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_become_a_section() {
        let folder = std::env::temp_dir().join(format!("sizewise-results-{}", std::process::id()));
        let run = folder.join("runs").join("2026-01-02T03-04-05");
        fs::create_dir_all(&run).unwrap();
        assert!(section(&folder).is_err());
        fs::write(folder.join("about.txt"), "commit=abc\ndevice=NVIDIA H200\ndriver=580\ndate=2026-01-02\ncases=32\n").unwrap();
        fs::write(folder.join("conformance.txt"), "running 2 tests\n\ntest result: ok. 2 passed; 0 failed\n\n").unwrap();
        fs::write(folder.join("repeats.txt"), "test result: ok. 3 passed; 0 failed\n").unwrap();
        fs::write(folder.join("graphs.txt"), "test result: ok. 4 passed; 0 failed\n").unwrap();
        fs::write(folder.join("launches.txt"), "graphs on: 1.50 us a kernel to queue\n").unwrap();
        fs::write(folder.join("gpt.txt"), "decode: 4500 tokens/s\n").unwrap();
        fs::write(run.join("summary.md"), "# Run\n\n| op | median |\n|---|---|\n| matmul | 1 µs |\n").unwrap();
        assert!(section(&folder).is_err(), "a run without report.json is none");
        fs::write(run.join("report.json"), "{}").unwrap();
        assert!(section(&folder).unwrap().contains("Beside PyTorch?** Not measured"));
        let rows = r#"[{"id": "matmul/a", "median_ns": 2000.0, "gflop_per_s": 3000.0, "gb_per_s": null}, {"id": "cold", "median_ns": null}]"#;
        fs::write(run.join("report.json"), format!(r#"{{"schema": 1, "kernels": {rows}}}"#)).unwrap();
        let torch = |id: &str| {
            format!(r#"{{"torch": "2.9", "cuda": "13.0", "rows": [{{"id": "{id}", "call": "matmul", "median_ns": 3000.0}}]}}"#)
        };
        fs::write(folder.join("torch.json"), torch("of another run")).unwrap();
        assert!(section(&folder).unwrap_err().to_string().contains("of another run"));
        fs::write(folder.join("torch.json"), torch("matmul/a")).unwrap();
        let section = section(&folder).unwrap();
        fs::remove_dir_all(&folder).unwrap();
        assert!(section.starts_with("## kernels-cuda on an NVIDIA H200, 2026-01-02\n"));
        for part in [
            "same bits: test result: ok. 3 passed",
            "PyTorch 2.9, CUDA 13.0",
            "| matmul/a | 2.0 µs | 3.0000 | – | 3.0 µs | matmul | 1.50× |",
            "commit `abc`",
            "test result: ok. 2 passed",
            "racecheck: not run",
            "| matmul | 1 µs |",
        ] {
            assert!(section.contains(part), "{part} in {section}");
        }
        let document = insert("# Results\n\ntext\n\n## old\n\nx\n", &section);
        assert!(document.starts_with("# Results\n\ntext\n\n## kernels-cuda") && document.ends_with("\n\n## old\n\nx\n"));
    }

    #[test]
    fn a_run_that_broke_off_is_not_a_result() {
        assert_eq!(verdict("running 2 tests\ntest a ... ok\n"), "it did not end");
    }
}
