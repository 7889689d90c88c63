//! What a person sees while a run goes on: one line with the step, the share done and the time left.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::IsTerminal;
use std::time::{Duration, Instant};

/// A bar on a terminal; elsewhere a plain line for each step, so that logs stay readable.
pub struct Progress {
    bar: ProgressBar,
    lines: bool,
    start: Instant,
    expected: Duration,
}

impl Progress {
    /// Starts a run that is expected to last so long.
    pub fn start(expected: Duration) -> Self {
        let lines = !std::io::stderr().is_terminal();
        let target = if lines { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
        let bar = ProgressBar::with_draw_target(Some(expected.as_millis().max(1) as u64), target);
        // The template is a constant; a bar without it is still a bar.
        if let Ok(style) = ProgressStyle::with_template("{bar:24.cyan} {elapsed} / ~{prefix}  {wide_msg}") {
            bar.set_style(style.progress_chars("━╸ "));
        }
        bar.set_prefix(format!("{} s", expected.as_secs()));
        bar.enable_steady_tick(Duration::from_millis(200));
        Progress { bar, lines, start: Instant::now(), expected }
    }

    /// One that shows nothing.
    pub fn silent() -> Self {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden());
        Progress { bar, lines: false, start: Instant::now(), expected: Duration::ZERO }
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
        let at = self.start.elapsed().min(self.expected.mul_f64(0.99));
        self.bar.set_position(at.as_millis() as u64);
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
