//! `docs/ops.md` is what the support tables say today.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use super::{Docs, Violation};
use crate::cargo;

const PATH: &str = "docs/ops.md";

/// Compares the file with what the program prints, or rewrites it.
pub fn check(docs: Docs, bench: impl FnOnce() -> Result<PathBuf>) -> Option<Violation> {
    if docs == Docs::Leave {
        return None;
    }
    let path = cargo::root().join(PATH);
    let result = bench().and_then(|bench| generate(&bench)).and_then(|fresh| match docs {
        Docs::Write => write(&path, &fresh).map(|()| None),
        Docs::Compare | Docs::Leave => Ok(compare(fs::read_to_string(&path).ok().as_deref(), &fresh)),
    });
    result.unwrap_or_else(|error| Some(Violation::new(PATH, format!("{error:#}"))))
}

fn write(path: &Path, fresh: &str) -> Result<()> {
    fs::create_dir_all(path.parent().context("docs/ops.md has no folder")?)?;
    fs::write(path, fresh).with_context(|| format!("cannot write {PATH}"))
}

fn generate(bench: &Path) -> Result<String> {
    let output = Command::new(bench).arg("ops").stderr(Stdio::inherit()).output().context("cannot run the benchmark program")?;
    ensure!(output.status.success(), "`sizewise-bench ops`: {}", output.status);
    Ok(String::from_utf8(output.stdout)?)
}

fn compare(committed: Option<&str>, fresh: &str) -> Option<Violation> {
    let what = match committed {
        Some(text) if text.lines().eq(fresh.lines()) => return None,
        Some(_) => "is stale",
        None => "is missing",
    };
    Some(Violation::new(PATH, format!("{what}; write it with `cargo xtask tidy --bless`")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stale_or_missing_table_is_found() {
        assert_eq!(compare(Some("a\nb\n"), "a\nb\n"), None);
        assert_eq!(compare(Some("a\r\nb\r\n"), "a\nb\n"), None, "line ends are git's business");
        assert!(compare(Some("a\n"), "a\nb\n").is_some());
        assert!(compare(None, "a\n").is_some());
    }
}
