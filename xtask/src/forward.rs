//! Builds the benchmark program and becomes it.

use std::ffi::OsString;
use std::process::{Command, ExitCode};

use anyhow::Result;
use clap::ValueEnum;

use crate::cargo;

/// A backend as the command line names it; also the name of its cargo feature in `bench`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Backend {
    /// This machine's processor; always compiled in.
    Cpu,
    /// Any GPU with Vulkan, Metal or DX12.
    Wgpu,
    /// NVIDIA GPUs.
    Cuda,
}

impl Backend {
    /// The name on the command line and in `bench/Cargo.toml`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Wgpu => "wgpu",
            Self::Cuda => "cuda",
        }
    }
}

/// `cpu,wgpu`: the list as `--backend` takes it.
pub fn comma_list(backends: &[Backend]) -> String {
    backends.iter().map(|b| b.name()).collect::<Vec<_>>().join(",")
}

/// Builds `sizewise-bench` (release) with the features `backends` need and runs it with `args`.
///
/// On Unix this process is replaced, first by cargo and then by the program: its exit status is ours and a Ctrl-C
/// reaches it exactly once. Elsewhere we ignore Ctrl-C and wait, so that it can save what it has measured.
pub fn run(backends: &[Backend], args: Vec<OsString>) -> Result<ExitCode> {
    eprintln!("building sizewise-bench (release; a first build takes a few minutes)");
    become_process(command(backends, args))
}

fn command(backends: &[Backend], args: Vec<OsString>) -> Command {
    let mut command = cargo::cargo();
    command.args(["run", "--release", "--package", "bench", "--bin", "sizewise-bench"]);
    // The working directory stays the caller's: paths in `args` are relative to it.
    command.arg("--manifest-path").arg(cargo::root().join("Cargo.toml"));
    let beyond_default: Vec<Backend> = backends.iter().copied().filter(|b| *b != Backend::Cpu).collect();
    if !beyond_default.is_empty() {
        command.arg("--features").arg(comma_list(&beyond_default));
    }
    command.arg("--").args(args);
    command
}

#[cfg(unix)]
fn become_process(mut command: Command) -> Result<ExitCode> {
    use std::os::unix::process::CommandExt;
    Err(anyhow::Error::new(command.exec()).context("cannot start cargo"))
}

#[cfg(not(unix))]
fn become_process(mut command: Command) -> Result<ExitCode> {
    ctrlc::set_handler(|| {})?;
    let status = command.status()?;
    Ok(status.code().and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, ExitCode::from))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn argv(backends: &[Backend], args: &[&str]) -> Vec<String> {
        let command = command(backends, args.iter().map(OsString::from).collect());
        let all: Vec<String> = command.get_args().map(|a| a.to_string_lossy().into_owned()).collect();
        assert_eq!(all[6], "--manifest-path");
        [&all[..6], &all[8..]].concat()
    }

    #[test]
    fn the_cpu_alone_needs_no_feature() {
        let expected = ["run", "--release", "--package", "bench", "--bin", "sizewise-bench", "--", "doctor"];
        assert_eq!(argv(&[Backend::Cpu], &["doctor"]), expected);
        assert_eq!(argv(&[], &["doctor"]), expected);
    }

    #[test]
    fn other_backends_become_features() {
        let argv = argv(&[Backend::Cpu, Backend::Wgpu, Backend::Cuda], &["--null"]);
        assert_eq!(argv[6..], ["--features", "wgpu,cuda", "--", "--null"]);
    }
}
