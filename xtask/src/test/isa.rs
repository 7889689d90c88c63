//! The kernels of every instruction set this processor has, not only of the best one.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::counts::{Counts, Runner};
use super::steps;
use crate::cargo;

/// Values of `SIZEWISE_ISA` that run here; the processor features are those of `kernels_cpu::Isa`.
pub fn available() -> Vec<&'static str> {
    let mut names = vec!["scalar"];
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::is_x86_feature_detected as has;
        let avx2 = has!("avx2") && has!("fma") && has!("f16c");
        if avx2 {
            names.push("avx2");
        }
        if avx2 && has!("avx512f") && has!("avx512bw") && has!("avx512dq") && has!("avx512vl") {
            names.push("avx512");
        }
    }
    names
}

/// Runs the test programs of `kernels-cpu` with its kernels held to `isa`.
pub fn run(isa: &str, programs: &[PathBuf], filter: Option<&str>, counts: &mut Counts) -> Result<()> {
    ensure!(!programs.is_empty(), "kernels-cpu has no test programs");
    for program in programs {
        let mut command = Command::new(program);
        command.env("SIZEWISE_ISA", isa).current_dir(cargo::root().join("kernels-cpu")).args(filter);
        steps::run_tests(&mut command, Runner::Libtest, counts)?;
    }
    Ok(())
}

/// Builds every test that `cargo_test` selects and returns the test programs of `package`.
pub fn build(cargo_test: &mut Command, package: &str) -> Result<Vec<PathBuf>> {
    cargo_test.args(["--no-run", "--message-format=json-render-diagnostics"]).stderr(std::process::Stdio::inherit());
    let output = cargo_test.output().context("cannot start cargo")?;
    ensure!(output.status.success(), "the tests do not build");
    let manifest = cargo::root().join(package).join("Cargo.toml");
    Ok(String::from_utf8(output.stdout)?.lines().filter_map(|line| test_program(line, &manifest)).collect())
}

/// The program that one line of cargo's JSON messages tells of, if it is a test of the package with this manifest.
fn test_program(line: &str, manifest: &Path) -> Option<PathBuf> {
    let message: Value = serde_json::from_str(line).ok()?;
    let of_package = message["manifest_path"].as_str().is_some_and(|path| Path::new(path) == manifest);
    let is_test = message["profile"]["test"].as_bool().unwrap_or(false);
    (of_package && is_test).then(|| message["executable"].as_str().map(PathBuf::from)).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_test_programs_of_the_package_are_taken() {
        let line = |manifest: &str, test: bool| {
            format!(
                r#"{{"reason":"compiler-artifact","manifest_path":"{manifest}","profile":{{"test":{test}}},"executable":"/t/a"}}"#
            )
        };
        let ours = Path::new("/w/kernels-cpu/Cargo.toml");
        assert_eq!(test_program(&line("/w/kernels-cpu/Cargo.toml", true), ours), Some("/t/a".into()));
        assert_eq!(test_program(&line("/w/kernels-cpu/Cargo.toml", false), ours), None);
        assert_eq!(test_program(&line("/w/kernels/Cargo.toml", true), ours), None);
        assert_eq!(test_program("not json", ours), None);
    }
}
