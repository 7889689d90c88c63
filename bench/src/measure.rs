//! The measuring loop.
//!
//! All subjects of a set are measured together, in rounds: each round visits every subject, in a seeded random
//! order and then in the reverse of it (ABBA), so that a slow minute of the machine falls on all alike. A sample
//! times enough calls to last [`Settings::min_sample_ns`], or where calls are queued [`Settings::min_queued_sample_ns`] with one
//! wait at the end. Every sample is kept and shown to the observer at once.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use crate::report::{NOT_REACHED, Verdict};
use crate::stats::{Random, Summary, mann_whitney, quantile, sorted};

/// Monotonic time, injected so that tests can tell it.
pub trait Clock {
    /// Nanoseconds since some fixed moment.
    fn now_ns(&self) -> u64;
}

/// The machine's clock.
#[derive(Debug)]
pub struct WallClock {
    start: Instant,
}

impl WallClock {
    /// A clock that starts now.
    pub fn start() -> Self {
        Self { start: Instant::now() }
    }
}

impl Clock for WallClock {
    fn now_ns(&self) -> u64 {
        self.start.elapsed().as_nanos() as u64
    }
}

/// How long and how carefully to measure.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Longest warm-up of one subject.
    pub warmup_ns: u64,
    /// Time for the rounds of the whole set; exceeded only to reach `min_samples`, and at most twofold.
    pub budget_ns: u64,
    /// Samples below which a row is NOISY.
    pub min_samples: usize,
    /// Samples after which a subject leaves the rounds.
    pub max_samples: usize,
    /// Shortest sample: shorter calls are timed in batches.
    pub min_sample_ns: u64,
    /// The same where calls are queued: long beside the one wait that ends a sample.
    pub min_queued_sample_ns: u64,
    /// Shortest visit to a subject in a round: fast ones take several samples.
    pub visit_ns: u64,
    /// Seed of the order.
    pub seed: u64,
    /// What comes before each visit, and one untimed call after it: for subjects that bring threads of their own, which look for
    /// work a while before they sleep.
    pub rest: Option<fn()>,
}

impl Settings {
    /// The settings of `--quick`, with this time for the whole set.
    pub fn quick(budget_ns: u64, seed: u64) -> Self {
        Self {
            warmup_ns: 200_000_000,
            budget_ns,
            min_samples: 12,
            max_samples: 400,
            min_sample_ns: 200_000,
            min_queued_sample_ns: 4_000_000,
            visit_ns: 2_000_000,
            seed,
            rest: None,
        }
    }
}

/// One thing to time.
pub struct Subject<'a> {
    /// Row id, for the observer.
    pub id: String,
    /// One call; an error ends the subject with verdict FAIL.
    pub call: Step<'a>,
    /// What waits for calls that were only queued, once at the end of a sample; without it a call is finished when it returns.
    pub wait: Option<Step<'a>>,
}

/// Something a subject does.
pub type Step<'a> = Box<dyn FnMut() -> Result<(), String> + 'a>;

/// One timed batch of calls, as it goes into `samples.jsonl`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample<'a> {
    /// Row id.
    pub id: &'a str,
    /// Round it was taken in, from 0.
    pub round: u64,
    /// Calls in the batch.
    pub calls: u64,
    /// Time of the whole batch.
    pub ns: u64,
}

/// How measuring a subject ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// It ran to the end of the budget.
    Done,
    /// The stop flag was raised; the samples taken before stand.
    Interrupted,
    /// A call returned this error.
    Failed(String),
}

/// All that was measured of one subject.
#[derive(Clone, Debug, PartialEq)]
pub struct Measurement {
    /// Row id.
    pub id: String,
    /// Time per call of each sample, in the order taken.
    pub samples_ns: Vec<f64>,
    /// Calls in a sample.
    pub calls_per_sample: u64,
    /// Whether warm-up ended because times had settled, not because its time was up.
    pub settled: bool,
    /// Samples below which the figures are NOISY.
    pub min_samples: usize,
    /// How it ended.
    pub outcome: Outcome,
}

/// A row is NOISY when the 95 % interval of its median reaches further than this share to either side.
pub const MAX_MEDIAN_REACH: f64 = 0.05;

/// A row is NOISY when its first and second half differ by more than this share of the median, significantly.
pub const MAX_DRIFT: f64 = 0.10;

impl Measurement {
    /// Figures of the samples; `None` when none was taken or a call failed.
    pub fn summary(&self) -> Option<Summary> {
        match self.outcome {
            Outcome::Failed(_) => None,
            Outcome::Done | Outcome::Interrupted => Summary::of(&self.samples_ns),
        }
    }

    /// The verdict and, unless VALID, its reason.
    ///
    /// FAIL: a call failed. SKIP: interrupted before the first sample. NOISY: fewer than `min_samples` samples; or
    /// the 95 % interval of the median is wider than ±[`MAX_MEDIAN_REACH`]; or the halves of the run differ by more
    /// than [`MAX_DRIFT`] with p < 0.01 in the rank test.
    pub fn verdict(&self) -> (Verdict, String) {
        if let Outcome::Failed(error) = &self.outcome {
            return (Verdict::Fail, error.clone());
        }
        let Some(summary) = self.summary() else {
            return (Verdict::Skip, NOT_REACHED.into());
        };
        let (interval, median) = (summary.median_interval, summary.median);
        let reach = (interval.high - median).max(median - interval.low) / median;
        let drift = drift(&self.samples_ns);
        let mut reasons = Vec::new();
        if summary.samples < self.min_samples {
            reasons.push(format!("{} of at least {} samples", summary.samples, self.min_samples));
        } else if reach.is_nan() || reach > MAX_MEDIAN_REACH {
            reasons.push(format!(
                "median known to ±{:.0} % only (cv {:.0} %, {} samples)",
                reach * 100.0,
                summary.cv * 100.0,
                summary.samples
            ));
        }
        if let Some(drift) = drift.filter(|drift| drift.abs() > MAX_DRIFT) {
            let settled = if self.settled { "" } else { ", not settled after warm-up" };
            reasons.push(format!("drifted by {:+.0} % while measured{settled}", drift * 100.0));
        }
        match reasons.is_empty() {
            true => (Verdict::Valid, String::new()),
            false => (Verdict::Noisy, reasons.join("; ")),
        }
    }
}

/// Relative change of the median from the first to the second half of the samples, if the rank test sees one.
fn drift(samples: &[f64]) -> Option<f64> {
    let (first, second) = samples.split_at_checked(samples.len() / 2)?;
    if mann_whitney(first, second) >= 0.01 {
        return None;
    }
    let (before, after) = (quantile(&sorted(first)?, 0.5)?, quantile(&sorted(second)?, 0.5)?);
    Some(after / before - 1.0)
}

/// Measures a set of subjects against each other. Returns one measurement per subject, in the order given; raising
/// `stop` (from a signal handler, say) ends it after the sample under way and keeps what was measured.
pub fn measure(
    subjects: &mut [Subject<'_>],
    settings: &Settings,
    clock: &dyn Clock,
    stop: &AtomicBool,
    observe: &mut dyn FnMut(Sample<'_>),
) -> Vec<Measurement> {
    let stopped = || stop.load(Ordering::Relaxed);
    let mut measurements: Vec<Measurement> = subjects
        .iter_mut()
        .map(|subject| if stopped() { blank(subject, settings, Outcome::Interrupted) } else { warm_up(subject, settings, clock) })
        .collect();

    let start_ns = clock.now_ns();
    let mut random = Random::new(settings.seed);
    let mut order: Vec<usize> = (0..subjects.len()).collect();
    for round in 0.. {
        let spent_ns = clock.now_ns().saturating_sub(start_ns);
        let in_budget = spent_ns < settings.budget_ns;
        let in_grace = spent_ns < settings.budget_ns.saturating_mul(2);
        let wanted = if in_budget { settings.max_samples } else { settings.min_samples };
        let mut visited = false;
        if round % 2 == 0 {
            random.shuffle(&mut order);
        } else {
            order.reverse();
        }
        for &index in &order {
            let (Some(subject), Some(measurement)) = (subjects.get_mut(index), measurements.get_mut(index)) else {
                continue;
            };
            let open = measurement.outcome == Outcome::Done && measurement.samples_ns.len() < wanted;
            if !open || !in_grace || stopped() {
                continue;
            }
            visit(subject, measurement, round, settings, clock, observe);
            visited = true;
        }
        if !visited {
            break;
        }
    }
    if stopped() {
        for measurement in &mut measurements {
            if measurement.outcome == Outcome::Done && measurement.samples_ns.len() < settings.max_samples {
                measurement.outcome = Outcome::Interrupted;
            }
        }
    }
    measurements
}

/// Samples of one subject until its visit has lasted [`Settings::visit_ns`].
fn visit(
    subject: &mut Subject<'_>,
    measurement: &mut Measurement,
    round: u64,
    settings: &Settings,
    clock: &dyn Clock,
    observe: &mut dyn FnMut(Sample<'_>),
) {
    if let Some(rest) = settings.rest {
        rest();
        if let Err(error) = timed(subject, 1, clock) {
            measurement.outcome = Outcome::Failed(error);
            return;
        }
    }
    let mut visited_ns = 0;
    while visited_ns < settings.visit_ns.max(1) && measurement.samples_ns.len() < settings.max_samples {
        let calls = measurement.calls_per_sample;
        match timed(subject, calls, clock) {
            Ok(ns) => {
                measurement.samples_ns.push(ns as f64 / calls as f64);
                observe(Sample { id: &subject.id, round, calls, ns });
                // A clock that does not move must not keep the visit going for ever.
                visited_ns += ns.max(1);
            }
            Err(error) => {
                measurement.outcome = Outcome::Failed(error);
                return;
            }
        }
    }
}

/// Samples compared at each end when warm-up asks whether times have settled.
const WINDOW: usize = 4;

/// Runs the subject until two windows of samples in a row agree within 5 %, and finds how many calls fill a sample.
fn warm_up(subject: &mut Subject<'_>, settings: &Settings, clock: &dyn Clock) -> Measurement {
    let mut measurement = blank(subject, settings, Outcome::Done);
    let least_ns = if subject.wait.is_some() { settings.min_queued_sample_ns } else { settings.min_sample_ns };
    let start_ns = clock.now_ns();
    let mut times: Vec<f64> = Vec::new();
    loop {
        let calls = measurement.calls_per_sample;
        match timed(subject, calls, clock) {
            Ok(ns) if ns < least_ns && calls < MAX_CALLS => {
                let short_of = least_ns as f64 / ns.max(1) as f64;
                // At most tenfold a step: the first call is cold and tells little.
                measurement.calls_per_sample = ((calls as f64 * short_of.min(10.0)).ceil() as u64).min(MAX_CALLS);
                times.clear();
            }
            Ok(ns) => times.push(ns as f64),
            Err(error) => {
                measurement.outcome = Outcome::Failed(error);
                return measurement;
            }
        }
        if let Some([older, newer]) = times.len().checked_sub(2 * WINDOW).and_then(|from| {
            let (older, newer) = times.get(from..)?.split_at_checked(WINDOW)?;
            Some([quantile(&sorted(older)?, 0.5)?, quantile(&sorted(newer)?, 0.5)?])
        }) && (newer / older - 1.0).abs() <= 0.05
        {
            measurement.settled = true;
            return measurement;
        }
        if clock.now_ns().saturating_sub(start_ns) >= settings.warmup_ns || times.len() >= settings.max_samples.max(1) {
            return measurement;
        }
    }
}

/// Most calls in a sample, for a subject that takes no time at all.
const MAX_CALLS: u64 = 1 << 20;

/// Time of `calls` calls, until the last is done.
fn timed(subject: &mut Subject<'_>, calls: u64, clock: &dyn Clock) -> Result<u64, String> {
    let start_ns = clock.now_ns();
    for _ in 0..calls {
        (subject.call)()?;
    }
    if let Some(wait) = &mut subject.wait {
        wait()?;
    }
    Ok(clock.now_ns().saturating_sub(start_ns))
}

fn blank(subject: &Subject<'_>, settings: &Settings, outcome: Outcome) -> Measurement {
    Measurement {
        id: subject.id.clone(),
        samples_ns: Vec::new(),
        calls_per_sample: 1,
        settled: false,
        min_samples: settings.min_samples,
        outcome,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::{Cell, RefCell};

    /// A clock that only its subjects move.
    #[derive(Default)]
    struct FakeClock(Cell<u64>);

    impl Clock for FakeClock {
        fn now_ns(&self) -> u64 {
            self.0.get()
        }
    }

    fn subject<'a>(clock: &'a FakeClock, id: &str, mut cost_ns: impl FnMut() -> u64 + 'a) -> Subject<'a> {
        let call = move || {
            clock.0.set(clock.0.get() + cost_ns());
            Ok(())
        };
        Subject { id: id.into(), call: Box::new(call), wait: None }
    }

    fn settings() -> Settings {
        Settings { visit_ns: 1, ..Settings::quick(100_000_000, 42) }
    }

    fn run(clock: &FakeClock, subjects: &mut [Subject<'_>], settings: &Settings) -> (Vec<Measurement>, Vec<String>) {
        let mut order = Vec::new();
        let measurements = measure(subjects, settings, clock, &AtomicBool::new(false), &mut |sample| {
            order.push(sample.id.to_string());
        });
        (measurements, order)
    }

    #[test]
    fn a_steady_subject_is_valid_and_timed_in_batches() {
        let clock = FakeClock::default();
        let (measurements, _) = run(&clock, &mut [subject(&clock, "a", || 1_000)], &settings());
        let [a] = measurements.as_slice() else { panic!("one measurement") };
        assert_eq!(a.verdict(), (Verdict::Valid, String::new()));
        assert_eq!((a.calls_per_sample, a.settled, a.samples_ns.len()), (200, true, 400));
        assert_eq!(a.summary().unwrap().median, 1_000.0);
    }

    #[test]
    fn queued_calls_share_one_wait() {
        let clock = FakeClock::default();
        let queued = subject(&clock, "queued", || 1_000);
        let wait = Box::new(|| {
            clock.0.set(clock.0.get() + 80_000);
            Ok(())
        });
        let (measurements, _) = run(&clock, &mut [Subject { wait: Some(wait), ..queued }], &settings());
        let calls = measurements[0].calls_per_sample;
        assert!(calls as f64 * 1_000.0 + 80_000.0 >= 4e6, "{calls} calls");
        assert_eq!(measurements[0].summary().unwrap().median, 1_000.0 + 80_000.0 / calls as f64);
    }

    #[test]
    fn a_wait_that_fails_fails_the_subject() {
        let clock = FakeClock::default();
        let queued = subject(&clock, "queued", || 1_000);
        let wait = Box::new(|| Err("the device is lost".to_owned()));
        let (measurements, _) = run(&clock, &mut [Subject { wait: Some(wait), ..queued }], &settings());
        assert_eq!(measurements[0].verdict(), (Verdict::Fail, "the device is lost".into()));
    }

    #[test]
    fn rounds_mirror_each_other() {
        let clock = FakeClock::default();
        let mut subjects: Vec<_> = ["a", "b", "c", "d"].map(|id| subject(&clock, id, || 1_000_000)).into();
        let (_, order) = run(&clock, &mut subjects, &settings());
        for pair in order.chunks_exact(8) {
            let (there, back) = pair.split_at(4);
            assert!(there.iter().eq(back.iter().rev()), "{pair:?}");
        }
        assert!(order.chunks_exact(8).any(|pair| pair[..4] != order[..4]), "the order never changes");
    }

    #[test]
    fn the_budget_holds_but_for_the_minimum() {
        let clock = FakeClock::default();
        let settings = Settings { warmup_ns: 1, ..settings() };
        let (measurements, _) = run(&clock, &mut [subject(&clock, "slow", || 15_000_000)], &settings);
        assert_eq!(measurements[0].samples_ns.len(), 12, "100 ms hold 7 samples; the rest are the minimum");
        let (measurements, _) = run(&clock, &mut [subject(&clock, "slower", || 60_000_000)], &settings);
        assert_eq!(measurements[0].samples_ns.len(), 4, "twice the budget is the end");
        assert_eq!(measurements[0].verdict().0, Verdict::Noisy);
        assert!(measurements[0].verdict().1.contains("4 of at least 12 samples"));
    }

    #[test]
    fn spread_and_drift_are_noisy() {
        let clock = FakeClock::default();
        let mut flip = false;
        let jumpy = move || {
            flip = !flip;
            if flip { 1_000_000 } else { 3_000_000 }
        };
        let mut cost = 1_000_000;
        let slowing = move || {
            cost += 10_000;
            cost
        };
        let mut subjects = [subject(&clock, "jumpy", jumpy), subject(&clock, "slowing", slowing)];
        let (measurements, _) = run(&clock, &mut subjects, &settings());
        assert!(measurements[0].verdict().1.contains("median known to"), "{:?}", measurements[0].verdict());
        assert!(measurements[1].verdict().1.contains("drifted by +"), "{:?}", measurements[1].verdict());
    }

    #[test]
    fn the_call_after_a_rest_is_not_counted() {
        let clock = FakeClock::default();
        let mut calls = 0u64;
        // One warm-up call, then in every visit a slow one after the rest and a timed one.
        let waking = move || {
            calls += 1;
            if calls.is_multiple_of(2) { 9_000_000 } else { 1_000_000 }
        };
        let settings = Settings { warmup_ns: 1, max_samples: 8, rest: Some(|| ()), ..settings() };
        let (measurements, _) = run(&clock, &mut [subject(&clock, "a", waking)], &settings);
        assert_eq!(measurements[0].samples_ns, [1_000_000.0; 8]);
    }

    #[test]
    fn warm_up_waits_for_steady_times() {
        let clock = FakeClock::default();
        let mut calls = 0u64;
        let cooling = move || {
            calls += 1;
            1_000_000 + 9_000_000 / calls.pow(2)
        };
        let (measurements, _) = run(&clock, &mut [subject(&clock, "a", cooling)], &settings());
        assert!(measurements[0].settled);
        assert!(measurements[0].samples_ns.iter().all(|ns| *ns < 1_100_000.0), "the first sample is cold");
    }

    #[test]
    fn a_failing_subject_fails_alone() {
        let clock = FakeClock::default();
        let broken = Subject { id: "broken".into(), call: Box::new(|| Err("no such op".into())), wait: None };
        let (measurements, _) = run(&clock, &mut [broken, subject(&clock, "a", || 1_000_000)], &settings());
        assert_eq!(measurements[0].verdict(), (Verdict::Fail, "no such op".into()));
        assert_eq!(measurements[0].summary(), None);
        assert_eq!(measurements[1].verdict().0, Verdict::Valid);
    }

    #[test]
    fn interruption_keeps_what_was_measured() {
        let clock = FakeClock::default();
        let stop = AtomicBool::new(false);
        let taken = RefCell::new(0);
        let mut subjects = [subject(&clock, "a", || 1_000_000), subject(&clock, "b", || 1_000_000)];
        let measurements = measure(&mut subjects, &settings(), &clock, &stop, &mut |_| {
            *taken.borrow_mut() += 1;
            stop.store(*taken.borrow() == 5, Ordering::Relaxed);
        });
        assert_eq!(measurements.iter().map(|m| m.samples_ns.len()).sum::<usize>(), 5);
        assert!(measurements.iter().all(|m| m.outcome == Outcome::Interrupted));
        let mut subjects = [subject(&clock, "a", || 1_000_000)];
        stop.store(true, Ordering::Relaxed);
        let measurements = measure(&mut subjects, &settings(), &clock, &stop, &mut |_| {});
        assert_eq!(measurements[0].verdict(), (Verdict::Skip, NOT_REACHED.into()));
    }

    #[test]
    fn a_clock_that_stands_still_ends() {
        let clock = FakeClock::default();
        let (measurements, _) = run(&clock, &mut [subject(&clock, "free", || 0)], &Settings { max_samples: 3, ..settings() });
        assert_eq!(measurements[0].samples_ns.len(), 3);
    }

    #[test]
    fn the_same_seed_takes_the_same_order() {
        let orders = [42, 42, 43].map(|seed| {
            let clock = FakeClock::default();
            let mut subjects: Vec<_> = ["a", "b", "c"].map(|id| subject(&clock, id, || 1_000_000)).into();
            run(&clock, &mut subjects, &Settings { seed, ..settings() }).1
        });
        assert_eq!(orders[0], orders[1]);
        assert_ne!(orders[0], orders[2]);
    }
}
