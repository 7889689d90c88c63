//! `cargo xtask tidy`: the rules of the house that a machine can check.

mod arrows;
mod layers;
mod ops_table;
mod source;
mod style;
mod unsafe_rooms;

use std::fmt;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;

use crate::{bindgen, cargo, programs};
use source::SourceFile;

/// Check the rules of the house: dependency arrows, layers, unsafe, file length, names, docs/ops.md
#[derive(clap::Args)]
pub struct Args {
    /// Rewrite docs/ops.md instead of comparing it
    #[arg(long)]
    pub bless: bool,
}

/// One broken rule.
#[derive(Debug, PartialEq, Eq)]
pub struct Violation {
    /// Path from the workspace root, and the line where there is one: `a/b.rs:12`.
    place: String,
    message: String,
}

impl Violation {
    fn new(place: impl Into<String>, message: impl Into<String>) -> Self {
        Self { place: place.into(), message: message.into() }
    }

    fn at(file: &SourceFile, line: usize, message: impl Into<String>) -> Self {
        Self::new(format!("{}:{line}", file.path), message)
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.message)
    }
}

/// What becomes of generated documents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Docs {
    /// They must be as they would be written today.
    Compare,
    /// They are written.
    Write,
    /// They are not looked at.
    Leave,
}

/// Checks every rule and prints what is broken.
pub fn run(args: &Args) -> Result<ExitCode> {
    crate::test::vulkan::ensure()?;
    check(if args.bless { Docs::Write } else { Docs::Compare }, programs::build_bench)
}

/// As [`run`], with the benchmark program from elsewhere.
pub fn check(docs: Docs, bench: impl FnOnce() -> Result<PathBuf>) -> Result<ExitCode> {
    let mut found = arrows::check(&arrows::workspace_metadata()?)?;
    let files = source::read_all(cargo::root())?;
    for file in &files {
        found.extend(file.unreadable());
        found.extend(layers::check(file));
        found.extend(unsafe_rooms::check(file));
        found.extend(style::check(file));
    }
    found.extend(bindgen::stale()?.map(|mirror| Violation::new(mirror, "is stale; write it with `cargo xtask bindgen`")));
    found.extend(ops_table::check(docs, bench));
    for violation in &found {
        eprintln!("{violation}");
    }
    println!(
        "tidy: {} files, {} uses of unsafe, {} violations",
        files.len(),
        files.iter().map(unsafe_rooms::count).sum::<usize>(),
        found.len()
    );
    Ok(if found.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
