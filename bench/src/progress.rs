//! What a person sees while a run goes on: one line with the step, the share done and the time left.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::IsTerminal;
use std::time::{Duration, Instant};

/// A bar on a terminal; elsewhere a plain line for each step, so that logs stay readable.
pub struct Progress {
    bar: ProgressBar,
    lines: bool,
    start: Instant,
    /// None where nobody knows.
    expected: Option<Duration>,
}

impl Progress {
    /// Starts a run that is expected to last so long, if that can be said.
    pub fn start(expected: Option<Duration>) -> Self {
        let lines = !std::io::stderr().is_terminal();
        let target = if lines { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
        let bar = ProgressBar::with_draw_target(expected.map(|expected| expected.as_millis().max(1) as u64), target);
        let template = if expected.is_some() { "{bar:24.cyan} {elapsed} {prefix}  {wide_msg}" } else { "{elapsed}  {wide_msg}" };
        // The templates are constants; a bar without them is still a bar.
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("━╸ "));
        }
        bar.set_prefix(prefix(Duration::ZERO, expected));
        bar.enable_steady_tick(Duration::from_millis(200));
        Progress { bar, lines, start: Instant::now(), expected }
    }

    /// One that shows nothing.
    pub fn silent() -> Self {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden());
        Progress { bar, lines: false, start: Instant::now(), expected: None }
    }

    /// A new step begins.
    pub fn step(&self, what: &str) {
        if self.lines {
            eprintln!("[{:5.1} s] {what}", self.start.elapsed().as_secs_f64());
        }
        self.detail(what);
    }

    /// More about the step; shown on terminals only.
    pub fn detail(&self, what: &str) {
        let elapsed = self.start.elapsed();
        if let Some(expected) = self.expected {
            self.bar.set_position(elapsed.min(expected.mul_f64(0.99)).as_millis() as u64);
            self.bar.set_prefix(prefix(elapsed, self.expected));
        }
        self.bar.set_message(what.to_string());
    }

    /// A line that stays, above the bar.
    pub fn note(&self, line: &str) {
        if self.lines {
            eprintln!("{line}");
        } else {
            self.bar.println(line);
        }
    }

    /// The run is over.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

/// What is said of the time a run takes in all.
fn prefix(elapsed: Duration, expected: Option<Duration>) -> String {
    match expected {
        None => String::new(),
        Some(expected) if elapsed <= expected => format!("/ ~{} s", expected.as_secs()),
        Some(expected) => format!("/ longer than the {} s expected", expected.as_secs()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_that_lasts_longer_than_expected_says_so() {
        let of = |elapsed: u64, expected: Option<u64>| prefix(Duration::from_secs(elapsed), expected.map(Duration::from_secs));
        assert_eq!((of(3, None), of(3, Some(30))), (String::new(), "/ ~30 s".into()));
        assert_eq!(of(31, Some(30)), "/ longer than the 30 s expected");
    }
}
