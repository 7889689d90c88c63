//! `cargo xtask bindgen`: the Rust mirror of the CUDA kernels' parameters.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};

use crate::cargo;

const HEADER: &str = "kernels-cuda/src/cu/params.h";
const MIRROR: &str = "kernels-cuda/src/params.rs";

/// Write kernels-cuda/src/params.rs from cu/params.h, after a change of the kernels' parameters
///
/// Needs the program `bindgen` (`cargo install bindgen-cli`) and libclang (Debian, Ubuntu: `apt-get install libclang-dev`). Only
/// who changes parameters needs them: the mirror is committed, and `cargo xtask tidy` sees when it is stale.
#[derive(clap::Args)]
pub struct Args {}

/// Writes the mirror.
///
/// # Errors
/// No bindgen, or it failed.
pub fn run(_: &Args) -> Result<ExitCode> {
    let root = cargo::root();
    let first_line = format!(
        "//! The mirror of `cu/params.h`, written by `cargo xtask bindgen`: change that file, not this one.\n{}",
        stamp()?
    );
    let mut bindgen = Command::new("bindgen");
    bindgen.arg(root.join(HEADER)).args(["--use-core", "--with-derive-default", "--no-derive-debug"]);
    bindgen.args(["--with-derive-custom-struct", ".*=Debug,PartialEq,bytemuck::Pod,bytemuck::Zeroable"]);
    bindgen.args(["--raw-line", &first_line, "-o"]).arg(root.join(MIRROR)).args(["--", "-x", "c"]);
    crate::test::run(&mut bindgen).context("bindgen is missing or failed: `cargo install bindgen-cli`, and libclang for it")?;
    // bindgen's assertions of sizes and offsets silence lints without saying why.
    let text = fs::read_to_string(root.join(MIRROR))?;
    let lints = "clippy::unnecessary_operation, clippy::identity_op";
    let text = text.replace(lints, &format!("{lints}, reason = \"an assertion at compile time\""));
    fs::write(root.join(MIRROR), text)?;
    crate::test::run(Command::new("rustfmt").args(["--edition", "2024"]).arg(root.join(MIRROR)).current_dir(root))?;
    Ok(ExitCode::SUCCESS)
}

/// The line of the mirror that says which text it mirrors.
fn stamp() -> Result<String> {
    let text = fs::read_to_string(cargo::root().join(HEADER)).with_context(|| format!("cannot read {HEADER}"))?;
    // FNV-1a: told apart are versions of one file, not forgeries.
    let hash = text
        .replace('\r', "")
        .bytes()
        .fold(0xCBF2_9CE4_8422_2325u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3));
    Ok(format!("//! FNV-1a of that file: {hash:016x}."))
}

/// The mirror, where it is of another text than the header's today.
///
/// # Errors
/// A file cannot be read.
pub fn stale() -> Result<Option<&'static str>> {
    let path: PathBuf = cargo::root().join(MIRROR);
    let mirror = fs::read_to_string(&path).with_context(|| format!("cannot read {MIRROR}"))?;
    let stamp = stamp()?;
    Ok((!mirror.lines().any(|line| line == stamp)).then_some(MIRROR))
}
