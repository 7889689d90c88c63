//! `cargo xtask ci`: the check of a commit, from anywhere in the workspace.

use std::process::{Command, ExitCode};

use anyhow::{Context, Result};

use crate::cargo;

/// Runs `.ci/run`: every check of `cargo xtask test`, on exactly the dependencies of Cargo.lock.
pub fn run() -> Result<ExitCode> {
    let script = cargo::root().join(".ci/run");
    let status = Command::new("bash").arg(&script).status().context("cannot run bash")?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
