//! How many tests a runner says it ran, read from its closing lines.

use std::ops::AddAssign;

/// Tests by outcome.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub passed: u64,
    pub failed: u64,
    pub ignored: u64,
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.ignored += other.ignored;
    }
}

/// Who runs the tests. Each closes in its own way, and nextest shows what a failed test printed, libtest's closing
/// line included, so a line means nothing without its runner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Runner {
    /// `test result: ok. 5 passed; 0 failed; ..`
    Libtest,
    /// `Summary [   0.1s] 6 tests run: 5 passed (1 slow), 1 failed, 0 skipped`
    Nextest,
}

impl Counts {
    /// The counts in a closing line of `runner`; `None` for any other line.
    pub fn from_line(line: &str, runner: Runner) -> Option<Self> {
        let plain = without_colours(line);
        let (start, before_counts) = match runner {
            Runner::Libtest => ("test result: ", ". "),
            Runner::Nextest => ("Summary [", " run: "),
        };
        let (_, parts) = plain.trim_start().strip_prefix(start)?.split_once(before_counts)?;
        let mut counts = Self::default();
        for part in parts.split([';', ',']) {
            let mut words = part.split_whitespace();
            let (Some(number), Some(outcome)) = (words.next(), words.next()) else { continue };
            let Ok(number) = number.parse::<u64>() else { continue };
            match outcome {
                "passed" => counts.passed += number,
                // nextest: "timed out", "exec failed".
                "failed" | "timed" | "exec" => counts.failed += number,
                "ignored" | "skipped" => counts.ignored += number,
                _ => {}
            }
        }
        Some(counts)
    }
}

/// `line` without terminal colour sequences (`ESC [ .. m`).
fn without_colours(line: &str) -> String {
    let mut pieces = line.split('\u{1b}');
    let mut plain = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        plain.push_str(piece.split_once('m').map_or("", |(_, rest)| rest));
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_runners_are_read() {
        let libtest = "test result: FAILED. 5 passed; 2 failed; 1 ignored; 0 measured; 9 filtered out; finished in 0.1s";
        assert_eq!(Counts::from_line(libtest, Runner::Libtest), Some(Counts { passed: 5, failed: 2, ignored: 1 }));
        let nextest = "\u{1b}[31;1m     Summary\u{1b}[0m [   0.004s] \u{1b}[1m7\u{1b}[0m tests run: \u{1b}[1m4\u{1b}[0m passed (1 slow), 1 failed, 1 timed out, 3 skipped";
        assert_eq!(Counts::from_line(nextest, Runner::Nextest), Some(Counts { passed: 4, failed: 2, ignored: 3 }));
    }

    #[test]
    fn other_lines_are_not_counted() {
        assert_eq!(Counts::from_line("test result: ok. 5 passed; 0 failed", Runner::Nextest), None);
        for line in ["running 5 tests", "test a::b ... ok", "5 passed", ""] {
            assert_eq!(Counts::from_line(line, Runner::Libtest), None, "{line}");
            assert_eq!(Counts::from_line(line, Runner::Nextest), None, "{line}");
        }
    }
}
