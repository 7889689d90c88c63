//! The folder of a run: `<root>/<utc>-<commit>/`, with a copy at `<root>/latest/`.
//!
//! Files are written under a temporary name, synced and renamed, so that none is ever half there. Samples are
//! appended as they are taken: a killed run loses none of them.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde_json::json;
use thiserror::Error;
use time::OffsetDateTime;
use time::macros::format_description;

use crate::measure::Sample;
use crate::report::{Report, ReportError};
use crate::{html, markdown};

/// The folder of one run, open for writing.
#[derive(Debug)]
pub struct RunDir {
    path: PathBuf,
    latest: PathBuf,
    samples: File,
}

/// Why a run folder could not be written.
#[derive(Debug, Error)]
pub enum RunDirError {
    /// The system refused.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which path.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The report contradicts itself; nothing was written.
    #[error(transparent)]
    Report(#[from] ReportError),
}

const REPORT_FILES: [&str; 4] = ["report.json", "report.md", "report.html", "samples.jsonl"];

/// `now` as RFC 3339 in UTC, to the second, e.g. `2026-11-24T03:08:27Z`.
pub fn utc_stamp(now: OffsetDateTime) -> String {
    let form = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]Z");
    // Formatting fails only for a form that asks for what the value lacks; this one cannot.
    now.to_offset(time::UtcOffset::UTC).format(form).unwrap_or_default()
}

impl RunDir {
    /// Makes the folder for a run started `now` at `commit`, and empties `latest` of an older report.
    ///
    /// # Errors
    /// [`RunDirError::Io`] when a folder or file cannot be made.
    pub fn create(root: &Path, now: OffsetDateTime, commit: Option<&str>) -> Result<Self, RunDirError> {
        let stamp = utc_stamp(now).replace(':', "");
        let name = format!("{stamp}-{}", commit.unwrap_or("no-commit"));
        fs::create_dir_all(root).map_err(failed("create", root))?;
        let path = create_unused(root, &name)?;
        let latest = root.join("latest");
        fs::create_dir_all(&latest).map_err(failed("create", &latest))?;
        for name in REPORT_FILES {
            let stale = latest.join(name);
            match fs::remove_file(&stale) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed("remove", &stale)(error)),
                Ok(()) | Err(_) => {}
            }
        }
        let samples = path.join("samples.jsonl");
        let file = OpenOptions::new().create(true).append(true).open(&samples).map_err(failed("create", &samples))?;
        Ok(Self { path, latest, samples: file })
    }

    /// Where the run is written.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where its copy is.
    pub fn latest(&self) -> &Path {
        &self.latest
    }

    /// Appends a sample to `samples.jsonl`: `{"id", "round", "calls", "ns"}`, one line each.
    ///
    /// # Errors
    /// [`RunDirError::Io`].
    pub fn append(&mut self, sample: &Sample<'_>) -> Result<(), RunDirError> {
        let line = json!({"id": sample.id, "round": sample.round, "calls": sample.calls, "ns": sample.ns});
        // One write per line, so that a kill leaves whole lines; the page cache keeps them.
        let line = format!("{line}\n");
        self.samples.write_all(line.as_bytes()).map_err(failed("append to", &self.path.join("samples.jsonl")))
    }

    /// Writes `report.json`, `report.md` and `report.html` and refreshes `latest`. Call it after every section:
    /// what is on disk is then always a whole report of what was measured so far.
    ///
    /// # Errors
    /// [`RunDirError::Report`] when the report contradicts itself (nothing is written), [`RunDirError::Io`].
    pub fn save(&self, report: &Report) -> Result<(), RunDirError> {
        let json = self.path.join("report.json");
        report.check().map_err(|what| ReportError::Invalid { path: json.clone(), what })?;
        let mut text = serde_json::to_vec_pretty(report).map_err(|source| ReportError::Json { path: json, source })?;
        text.push(b'\n');
        let files = [
            ("report.json", text),
            ("report.md", markdown::report(report).into_bytes()),
            ("report.html", html::report(report).into_bytes()),
        ];
        for directory in [&self.path, &self.latest] {
            for (name, bytes) in &files {
                replace(&directory.join(name), |file| file.write_all(bytes))?;
            }
        }
        let samples = self.path.join("samples.jsonl");
        self.samples.sync_all().map_err(failed("sync", &samples))?;
        let mut taken = File::open(&samples).map_err(failed("open", &samples))?;
        replace(&self.latest.join("samples.jsonl"), |copy| io::copy(&mut taken, copy).map(drop))
    }
}

/// Makes `root/name`, or `root/name-2` and so on when another run of the same second has it.
fn create_unused(root: &Path, name: &str) -> Result<PathBuf, RunDirError> {
    let mut path = root.join(name);
    let mut number = 2;
    loop {
        match fs::create_dir(&path) {
            Ok(()) => return Ok(path),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && number < 100 => {
                path = root.join(format!("{name}-{number}"));
                number += 1;
            }
            Err(error) => return Err(failed("create", &path)(error)),
        }
    }
}

/// Replaces `path` whole or not at all: temporary file beside it, sync, rename, sync of the folder.
fn replace(path: &Path, write: impl FnOnce(&mut File) -> io::Result<()>) -> Result<(), RunDirError> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(format!(".{}.tmp", std::process::id()));
    let temporary = PathBuf::from(temporary);
    let written = File::create(&temporary)
        .and_then(|mut file| {
            write(&mut file)?;
            file.sync_all()
        })
        .and_then(|()| fs::rename(&temporary, path))
        .and_then(|()| match path.parent() {
            // Folders can be synced on Unix only; elsewhere the rename itself must do.
            Some(parent) if cfg!(unix) => File::open(parent)?.sync_all(),
            _ => Ok(()),
        });
    written.map_err(|source| {
        // The first error is the one to report; a leftover temporary file does no harm.
        let _ = fs::remove_file(&temporary);
        RunDirError::Io { action: "write", path: path.to_path_buf(), source }
    })
}

fn failed<'a>(action: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> RunDirError + 'a {
    move |source| RunDirError::Io { action, path: path.to_path_buf(), source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture;
    use time::macros::datetime;

    const NOW: OffsetDateTime = datetime!(2026-11-24 03:08:27 UTC);

    #[test]
    fn a_saved_report_reads_back_from_both_places() {
        let root = tempfile::tempdir().unwrap();
        let report = fixture::report();
        let mut run = RunDir::create(root.path(), NOW, Some("abc1234")).unwrap();
        assert!(run.path().ends_with("2026-11-24T030827Z-abc1234"));
        run.append(&Sample { id: "a\"b", round: 0, calls: 3, ns: 700 }).unwrap();
        run.save(&report).unwrap();
        assert!(Report::read(run.path()).unwrap() == report);
        assert!(Report::read(run.latest()).unwrap() == report);
        let samples = fs::read_to_string(run.latest().join("samples.jsonl")).unwrap();
        let line: serde_json::Value = serde_json::from_str(samples.trim()).unwrap();
        assert_eq!(line, json!({"id": "a\"b", "round": 0, "calls": 3, "ns": 700}));
        let names = fs::read_dir(run.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = names.collect();
        names.sort();
        assert_eq!(names, ["report.html", "report.json", "report.md", "samples.jsonl"], "no temporary file stays");
    }

    #[test]
    fn samples_are_on_disk_before_the_report_is() {
        let root = tempfile::tempdir().unwrap();
        let mut run = RunDir::create(root.path(), NOW, None).unwrap();
        run.append(&Sample { id: "a", round: 1, calls: 1, ns: 9 }).unwrap();
        let samples = fs::read_to_string(run.path().join("samples.jsonl")).unwrap();
        assert!(samples.ends_with("}\n"), "{samples:?}");
    }

    #[test]
    fn a_new_run_clears_latest_and_takes_a_name_of_its_own() {
        let root = tempfile::tempdir().unwrap();
        let first = RunDir::create(root.path(), NOW, Some("abc")).unwrap();
        first.save(&fixture::report()).unwrap();
        let second = RunDir::create(root.path(), NOW, Some("abc")).unwrap();
        assert_ne!(first.path(), second.path());
        assert!(!second.latest().join("report.json").exists());
    }

    #[test]
    fn a_contradictory_report_is_not_written() {
        let root = tempfile::tempdir().unwrap();
        let run = RunDir::create(root.path(), NOW, None).unwrap();
        let mut report = fixture::report();
        report.models[1].id = report.models[0].id.clone();
        let error = run.save(&report).unwrap_err().to_string();
        assert!(error.contains("occurs twice") && error.contains("report.json"), "{error}");
        assert!(!run.path().join("report.json").exists());
    }
}
