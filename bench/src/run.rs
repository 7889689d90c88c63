//! One run: its settings, its report as it grows, and where it is written.

use crate::measure::{Measurement, Settings, Subject, WallClock, measure};
use crate::progress::Progress;
use crate::recommend;
use crate::report::Report;
use crate::run_dir::{RunDir, RunDirError};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How much is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// Done in about two minutes on two cores.
    Quick,
    /// Larger models, longer training, more samples.
    Full,
}

/// A run under way.
pub struct Run {
    /// The report so far.
    pub report: Report,
    /// How much is measured.
    pub depth: Depth,
    /// Seed of everything.
    pub seed: u64,
    /// Where people watch it.
    pub progress: Progress,
    dir: RunDir,
    stop: &'static AtomicBool,
    clock: WallClock,
    start: Instant,
}

impl Run {
    /// A run that writes into `dir` and ends early once `stop` is raised.
    pub fn new(report: Report, depth: Depth, seed: u64, progress: Progress, dir: RunDir, stop: &'static AtomicBool) -> Self {
        Run { report, depth, seed, progress, dir, stop, clock: WallClock::start(), start: Instant::now() }
    }

    /// The stop flag, for loops that run long.
    pub fn stop_flag(&self) -> &'static AtomicBool {
        self.stop
    }

    /// Whether the user has asked to stop.
    pub fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Measures subjects side by side within `budget`, keeping every sample.
    ///
    /// # Errors
    /// If a sample cannot be written.
    pub fn measure(&mut self, mut subjects: Vec<Subject<'_>>, budget: Duration) -> Result<Vec<Measurement>, RunDirError> {
        let settings = Settings::quick(budget.as_nanos() as u64, self.seed);
        let mut lost = None;
        let (dir, progress) = (&mut self.dir, &self.progress);
        let measurements = measure(&mut subjects, &settings, &self.clock, self.stop, &mut |sample| {
            progress.detail(sample.id);
            if let Err(error) = dir.append(&sample) {
                lost.get_or_insert(error);
            }
        });
        lost.map_or(Ok(measurements), Err)
    }

    /// Writes the report as it stands, with what follows from it so far.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn save(&mut self) -> Result<(), RunDirError> {
        self.report.wall_s = self.start.elapsed().as_secs_f64();
        recommend::conclude(&mut self.report);
        self.dir.save(&self.report)
    }

    /// Where the run is written.
    pub fn dir(&self) -> &RunDir {
        &self.dir
    }
}
