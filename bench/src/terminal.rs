//! The summary at the end of a run: plain markdown that pastes into an issue.

use std::path::Path;

use crate::markdown::{self, Detail};
use crate::report::{Report, Verdict};
use crate::table::inline;

/// What was measured on what, the answer, and where the rest is.
pub fn summary(report: &Report, folder: &Path) -> String {
    let mut text = markdown::machine_lines(report);
    if report.interrupted {
        text += "\nInterrupted: what was measured until then stands.\n";
    }
    if !report.kernels.is_empty() {
        text += &format!("\nkernels\n{}", markdown::kernels(&report.kernels, Detail::Brief));
    }
    for task in &report.tasks {
        text += &format!("\n{}\n{}", inline(&task.name), markdown::models(report, task, Detail::Brief));
    }
    for (title, findings) in [("advice", &report.advice), ("crossovers", &report.crossovers)] {
        if !findings.is_empty() {
            text += &format!("\n{title}\n");
            text.extend(findings.iter().map(|finding| format!("- {}\n", inline(&finding.text))));
        }
    }
    let reasons = markdown::reasons(report);
    if !reasons.is_empty() {
        text += &format!("\nnot VALID\n{reasons}");
    }
    text + &format!("\n{}\n{}\n", counts(report), folder.join("report.html").display())
}

/// `41 rows: 36 VALID, 2 NOISY, 2 SKIP, 1 FAIL`.
fn counts(report: &Report) -> String {
    let kernels = report.kernels.iter().map(|row| row.verdict);
    let verdicts: Vec<Verdict> = kernels.chain(report.models.iter().map(|row| row.verdict)).collect();
    let count = |verdict: Verdict| {
        let count = verdicts.iter().filter(|other| **other == verdict).count();
        format!("{count} {}", verdict.as_str())
    };
    let each = [Verdict::Valid, Verdict::Noisy, Verdict::Skip, Verdict::Fail].map(count);
    format!("{} rows: {}", verdicts.len(), each.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{fixture, recommend};

    #[test]
    fn the_summary_has_the_answer_the_counts_and_the_place() {
        let mut report = fixture::report();
        recommend::conclude(&mut report);
        let text = summary(&report, Path::new("runs/x"));
        assert!(text.contains("digits: use ") && text.contains("runs/x/report.html"), "{text}");
        let valid = report.models.iter().filter(|row| row.verdict == Verdict::Valid).count()
            + report.kernels.iter().filter(|row| row.verdict == Verdict::Valid).count();
        assert!(text.contains(&format!("{valid} VALID")), "{text}");
    }

    #[test]
    fn an_empty_interrupted_run_still_has_a_summary() {
        let run = Report::new("bench", "2026-11-24T03:08:27Z", fixture::report().machine);
        let text = summary(&run, Path::new("."));
        assert!(text.contains("Interrupted") && text.contains("0 rows: 0 VALID"), "{text}");
    }
}
