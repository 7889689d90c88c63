//! Reading `report.json` back: strictly, and with errors that name the file.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use thiserror::Error;

use super::{Report, SCHEMA};

/// Largest `report.json` that is read back; a real one has about a hundred kilobytes.
pub const MAX_FILE_BYTES: u64 = 64 << 20;

/// Why a report could not be read or must not be written.
#[derive(Debug, Error)]
pub enum ReportError {
    /// The file cannot be opened or read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is larger than any report.
    #[error("{}: larger than {limit} bytes, not a report of ours", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// [`MAX_FILE_BYTES`].
        limit: u64,
    },
    /// Not JSON, cut short, or a field missing, unknown or of the wrong type.
    #[error("{}: not a report of schema {SCHEMA}: {source}", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// What and where, with line and column.
        source: serde_json::Error,
    },
    /// A report of another layout version.
    #[error("{}: schema {found}, this program reads schema {SCHEMA}", path.display())]
    Schema {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u32,
    },
    /// Well-formed, but contradicts itself.
    #[error("report {}: {what}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// The contradiction, naming the row.
        what: String,
    },
}

impl Report {
    /// Reads and checks `path`, or `path/report.json` if `path` is a run folder.
    ///
    /// # Errors
    /// [`ReportError`], always with the path: unreadable, too large, truncated or ill-typed JSON (with line and
    /// column), another schema, or a report that contradicts itself.
    pub fn read(path: &Path) -> Result<Self, ReportError> {
        let path = if path.is_dir() { path.join("report.json") } else { path.to_path_buf() };
        let read = |source| ReportError::Read { path: path.clone(), source };
        let mut text = Vec::new();
        File::open(&path).map_err(read)?.take(MAX_FILE_BYTES + 1).read_to_end(&mut text).map_err(read)?;
        if text.len() as u64 > MAX_FILE_BYTES {
            return Err(ReportError::TooLarge { path, limit: MAX_FILE_BYTES });
        }
        Self::parse(&text, &path)
    }

    /// [`Report::read`] of bytes already in memory; `path` is for the error.
    ///
    /// # Errors
    /// As [`Report::read`].
    pub fn parse(text: &[u8], path: &Path) -> Result<Self, ReportError> {
        #[derive(Deserialize)]
        struct Version {
            schema: u32,
        }
        let json = |source| ReportError::Json { path: path.to_path_buf(), source };
        // The version comes first: a later layout should be named, not reported as an unknown field.
        let Version { schema } = serde_json::from_slice(text).map_err(json)?;
        if schema != SCHEMA {
            return Err(ReportError::Schema { path: path.to_path_buf(), found: schema });
        }
        let report: Self = serde_json::from_slice(text).map_err(json)?;
        report.check().map_err(|what| ReportError::Invalid { path: path.to_path_buf(), what })?;
        Ok(report)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture;

    fn parse(text: &[u8]) -> Result<Report, ReportError> {
        Report::parse(text, Path::new("runs/report.json"))
    }

    fn edited(edit: impl FnOnce(&mut serde_json::Value)) -> Result<Report, ReportError> {
        let mut value = serde_json::to_value(fixture::report()).unwrap();
        edit(&mut value);
        parse(value.to_string().as_bytes())
    }

    #[test]
    fn a_report_reads_back_as_it_was() {
        let report = fixture::report();
        assert!(parse(&serde_json::to_vec(&report).unwrap()).unwrap() == report);
    }

    #[test]
    fn the_layout_is_that_of_schema_1() {
        let value = serde_json::to_value(fixture::report()).unwrap();
        assert_eq!(value["schema"], 1);
        assert_eq!(value["models"][0]["family"], "small");
        assert_eq!(value["models"][0]["verdict"], "VALID");
        assert_eq!(value["models"][0]["quality"]["metric"], "accuracy");
        assert_eq!(value["models"][0]["energy_j"], serde_json::Value::Null);
        assert_eq!(value["kernels"][0]["shape"]["m"], 512);
    }

    #[test]
    fn every_truncation_is_an_error_with_the_path() {
        let text = serde_json::to_vec(&fixture::report()).unwrap();
        for length in (0..text.len()).step_by(97) {
            let error = parse(&text[..length]).unwrap_err();
            assert!(matches!(error, ReportError::Json { .. }) && error.to_string().contains("runs/report.json"));
        }
    }

    #[test]
    fn hostile_files_get_errors_that_name_the_fault() {
        let says = |result: Result<Report, ReportError>, wanted: &str| {
            let error = result.unwrap_err().to_string();
            assert!(error.contains(wanted) && error.contains("runs/report.json"), "{error}");
        };
        says(parse(&b"[".repeat(100_000)), "not a report");
        says(parse(b"\xff\xfe{}"), "not a report");
        says(edited(|v| v["schema"] = 2.into()), "schema 2, this program reads schema 1");
        says(edited(|v| v["surprise"] = 1.into()), "surprise");
        says(edited(|v| v["models"][0]["verdict"] = "GOOD".into()), "GOOD");
        says(edited(|v| drop(v["models"][0].as_object_mut().unwrap().remove("family"))), "family");
        says(edited(|v| v["models"][1]["id"] = v["models"][0]["id"].clone()), "occurs twice");
        says(edited(|v| v["models"][0]["quality"]["ci_low"] = 0.99.into()), "ci_low");
        says(edited(|v| v["models"][0]["latency_ms"]["p50"] = (-1.0).into()), "p50");
        says(edited(|v| v["models"][0]["quality"] = serde_json::Value::Null), "VALID without figures");
        says(edited(|v| v["models"][0]["verdict"] = "FAIL".into()), "FAIL without a reason");
        says(edited(|v| v["models"][0]["task"] = "nowhere".into()), "not among the tasks");
        says(edited(|v| v["models"][0]["quality"]["metric"] = "bits_per_byte".into()), "metric differs");
        says(edited(|v| v["kernels"][0]["gb_per_s"] = (-3.0).into()), "gb_per_s");
        let finding = serde_json::json!({"topic": "use", "text": "x", "evidence": ["no such row"], "task": null});
        says(edited(|v| v["advice"] = vec![finding].into()), "no such row");
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = Report::read(Path::new("/nowhere/report.json")).unwrap_err();
        assert!(error.to_string().starts_with("cannot read /nowhere/report.json"), "{error}");
    }

    #[test]
    fn not_a_number_is_never_written() {
        let mut report = fixture::report();
        report.kernels[0].gflop_per_s = Some(f64::NAN);
        assert!(report.check().unwrap_err().contains("gflop_per_s is NaN"));
    }
}
