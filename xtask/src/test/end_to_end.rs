//! One small benchmark from the command line to the report.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::steps;
use crate::cargo;

/// The kernels it measures.
const KERNELS: [&str; 2] = ["--ops", "^(matmul|attention)$"];

/// Runs a small benchmark into `out` and checks the report it leaves; then compares the run with itself and with a slowed copy.
///
/// # Errors
/// A run failed, a file is missing, the report breaks its schema, or the comparison says anything but what happened.
pub fn run(bench: &Path, out: &Path) -> Result<()> {
    if out.exists() {
        std::fs::remove_dir_all(out)?;
    }
    steps::run(call(bench).args(["--quick", "--task", "digits"]).args(KERNELS).arg("--out").arg(out))?;
    let latest = out.join("latest");
    for name in ["report.json", "report.md", "report.html", "samples.jsonl"] {
        let size_bytes = latest.join(name).metadata().with_context(|| format!("{name} is missing"))?.len();
        ensure!(size_bytes > 0, "{name} is empty");
    }
    check_report(&serde_json::from_str(&std::fs::read_to_string(latest.join("report.json"))?)?)?;

    compare(bench, &latest, &latest, NO_CHANGE)?;
    let (before, after) = (out.join("before"), out.join("after"));
    let report: Value = serde_json::from_str(&std::fs::read_to_string(latest.join("report.json"))?)?;
    for (folder, factor) in [(&before, 1.0), (&after, 10.0)] {
        std::fs::create_dir_all(folder)?;
        std::fs::write(folder.join("report.json"), slowed(&report, factor)?.to_string())?;
    }
    compare(bench, &before, &after, REGRESSION)
}

/// The report as if every kernel had taken `factor` times as long, and always the same time: what a comparison says of it does not
/// depend on how busy the machine was.
fn slowed(report: &Value, factor: f64) -> Result<Value> {
    let mut report = report.clone();
    for row in report["kernels"].as_array_mut().context("`kernels` is not a list")? {
        let Some(median_ns) = row["median_ns"].as_f64() else { continue };
        for time in ["median_ns", "median_low_ns", "median_high_ns", "p10_ns", "p90_ns"] {
            row[time] = (median_ns * factor).into();
        }
        row["verdict"] = "VALID".into();
        row["reason"] = "".into();
    }
    Ok(report)
}

/// Exit status of `compare`, and what it says then.
type Expected = (i32, &'static str);
const NO_CHANGE: Expected = (0, "no change beyond noise");
const REGRESSION: Expected = (2, "WORSE");

fn compare(bench: &Path, before: &Path, after: &Path, (status, words): Expected) -> Result<()> {
    let output = call(bench).arg("compare").args([before, after]).output()?;
    let said = String::from_utf8_lossy(&output.stdout);
    print!("{said}");
    ensure!(output.status.code() == Some(status), "compare ended with {}, not {status}", output.status);
    ensure!(said.contains(words), "compare does not say `{words}`");
    Ok(())
}

fn call(bench: &Path) -> Command {
    let mut command = Command::new(bench);
    command.current_dir(cargo::root());
    command
}

fn check_report(report: &Value) -> Result<()> {
    ensure!(report["schema"] == 1, "schema is {}, not 1", report["schema"]);
    for list in ["kernels", "models"] {
        let rows = report[list].as_array().with_context(|| format!("`{list}` is not a list"))?;
        ensure!(!rows.is_empty(), "`{list}` has no row");
        for row in rows {
            let verdict = row["verdict"].as_str().unwrap_or_default();
            ensure!(matches!(verdict, "VALID" | "NOISY" | "SKIP"), "`{list}` has a row with verdict `{verdict}`: {row}");
            let explained = row["reason"].as_str().is_some_and(|reason| !reason.is_empty());
            ensure!(verdict == "VALID" || explained, "`{list}` has a {verdict} row without a reason: {row}");
        }
        ensure!(rows.iter().any(|row| row["verdict"] != "SKIP"), "`{list}` has nothing but skipped rows");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_report_that_breaks_its_rules_is_refused() {
        let with = |row: Value| json!({ "schema": 1, "kernels": [{ "verdict": "VALID" }], "models": [row] });
        assert!(check_report(&with(json!({ "verdict": "NOISY", "reason": "spread 9 %" }))).is_ok());
        for bad in [
            json!({ "verdict": "FAIL", "reason": "diverged" }),
            json!({ "verdict": "NOISY", "reason": null }),
            json!({ "verdict": "SKIP", "reason": "no device" }),
            json!({}),
        ] {
            assert!(check_report(&with(bad.clone())).is_err(), "{bad}");
        }
        assert!(check_report(&json!({ "schema": 1, "kernels": [], "models": [] })).is_err());
        assert!(check_report(&json!({ "schema": 2 })).is_err());
    }
}
