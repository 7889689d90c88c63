//! `cargo xtask compare`: what changed between two runs.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;

use crate::forward;

/// Compare two runs row by row; exit 2 on a regression beyond the noise floor
#[derive(clap::Args)]
#[command(after_long_help = "\
Example:
  cargo xtask compare target/sizewise/20260101T120000Z-1a2b3c4 target/sizewise/latest

Exit status: 0 no regression, 2 a regression beyond the noise, 64 command line not understood,
anything else: an error, explained above it.")]
pub struct Args {
    /// Folder or report.json of the earlier run
    before: PathBuf,
    /// Folder or report.json of the later run
    after: PathBuf,
}

/// Builds the program and compares.
pub fn run(args: &Args) -> Result<ExitCode> {
    forward::run(&[], vec!["compare".into(), args.before.clone().into(), args.after.clone().into()])
}
