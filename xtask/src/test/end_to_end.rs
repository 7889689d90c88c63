//! One small benchmark from the command line to the report.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::steps;
use crate::cargo;

/// Runs a small benchmark into `out` and checks the report it leaves.
///
/// # Errors
/// The run failed, a file is missing, or the report breaks its schema.
pub fn run(out: &Path) -> Result<()> {
    if out.exists() {
        std::fs::remove_dir_all(out)?;
    }
    let mut bench = cargo::cargo_in_root();
    bench.args(["run", "--locked", "--package", "bench", "--all-features", "--bin", "sizewise-bench", "--"]);
    bench.args(["--quick", "--task", "digits", "--ops", "^(matmul|attention)$", "--out"]).arg(out);
    steps::run(&mut bench)?;
    let latest = out.join("latest");
    for name in ["report.json", "report.md", "report.html", "samples.jsonl"] {
        let size_bytes = latest.join(name).metadata().with_context(|| format!("{name} is missing"))?.len();
        ensure!(size_bytes > 0, "{name} is empty");
    }
    check_report(&serde_json::from_str(&std::fs::read_to_string(latest.join("report.json"))?)?)
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
