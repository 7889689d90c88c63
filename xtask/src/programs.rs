//! The programs that a cargo build leaves, read from cargo's JSON messages.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::cargo;
use crate::test::cuda;

/// The program behind `cargo xtask bench`.
const BENCH: &str = "sizewise-bench";

/// What one build left.
#[derive(Debug, Default)]
pub struct Programs(Vec<Program>);

#[derive(Debug)]
struct Program {
    manifest: PathBuf,
    name: String,
    is_test: bool,
    path: PathBuf,
}

impl Programs {
    /// Runs a `cargo build` or `cargo test --no-run`.
    ///
    /// # Errors
    /// It failed; what the compiler said stands on stderr.
    pub fn build(command: &mut Command) -> Result<Self> {
        let output = command
            .arg("--message-format=json-render-diagnostics")
            .stderr(Stdio::inherit())
            .output()
            .context("cannot start cargo")?;
        ensure!(output.status.success(), "it does not build");
        Ok(Self(String::from_utf8(output.stdout)?.lines().filter_map(Program::from_message).collect()))
    }

    /// The test programs of a package.
    pub fn tests_of(&self, package: &str) -> Vec<&Path> {
        let manifest = cargo::root().join(package).join("Cargo.toml");
        self.0.iter().filter(|program| program.is_test && program.manifest == manifest).map(|program| &*program.path).collect()
    }

    /// The benchmark program. `cargo test` builds it because a test of its command line runs it.
    ///
    /// # Errors
    /// The build did not include it.
    pub fn bench(&self) -> Result<&Path> {
        let bench = self.0.iter().find(|program| !program.is_test && program.name == BENCH);
        bench.map(|program| &*program.path).with_context(|| format!("the build left no {BENCH}"))
    }
}

impl Program {
    fn from_message(line: &str) -> Option<Self> {
        let message: Value = serde_json::from_str(line).ok()?;
        Some(Self {
            manifest: message["manifest_path"].as_str()?.into(),
            name: message["target"]["name"].as_str()?.into(),
            is_test: message["profile"]["test"].as_bool()?,
            path: message["executable"].as_str()?.into(),
        })
    }
}

/// The benchmark program with every backend, out of the build that the tests share: what one of them has compiled, the other
/// finds.
///
/// # Errors
/// It does not build.
pub fn build_bench() -> Result<PathBuf> {
    let mut build = cargo::cargo_in_root();
    build.arg("test").args(cargo::selection(cargo::Without { wgpu: false, emulation: !cuda::EMULATES })).args([
        "--test",
        "command_line",
        "--no-run",
    ]);
    Programs::build(&mut build)?.bench().map(Path::to_path_buf)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_told_apart() {
        let message = |package: &str, name: &str, test: bool| {
            let manifest = cargo::root().join(package).join("Cargo.toml");
            let text = serde_json::json!({
                "reason": "compiler-artifact", "manifest_path": manifest, "target": { "name": name },
                "profile": { "test": test }, "executable": format!("/t/{name}")
            });
            Program::from_message(&text.to_string())
        };
        let built = [message("kernels-cpu", "a", true), message("bench", BENCH, true), message("bench", BENCH, false)];
        let programs = Programs(built.into_iter().flatten().collect());
        assert_eq!(programs.tests_of("kernels-cpu"), [Path::new("/t/a")]);
        assert_eq!(programs.bench().unwrap(), Path::new("/t/sizewise-bench"));
        assert!(Programs::default().bench().is_err() && Program::from_message("not json").is_none());
    }
}
