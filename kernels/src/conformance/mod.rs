//! The conformance suite: what proves a backend, inside or outside this workspace.
//!
//! # One line for a backend
//! In the backend's `Cargo.toml`:
//! ```toml
//! [dev-dependencies]
//! kernels = { path = "…", features = ["conformance"] }
//!
//! [[test]]
//! name = "conformance"
//! harness = false
//! ```
//! and in `tests/conformance.rs`:
//! ```ignore
//! fn main() {
//!     kernels::conformance::main(|| Ok(Box::new(MyBackend::open()?)))
//! }
//! ```
//! `cargo test --test conformance` then runs one test per op and dtype (and weight format); `cargo test --test conformance
//! attention/bf16` runs those whose name contains the text. [`main_with`] takes a [`Filter`] with fewer cases, smaller sizes or
//! WGSL's arithmetic, for emulated GPUs; [`run`] gives a [`Report`] instead of tests; [`same_bits`] compares two backends.
//!
//! # What a case is
//! A `Recipe`: sizes around the edges of tiles, layouts (contiguous, unaligned, transposed, padded, broadcast), a
//! spread of values (exact integers, normal, cancelling, huge beside tiny, subnormal, NaN and infinities, …), parameters and a seed.
//! proptest draws recipes from a fixed seed and shrinks what fails; the failure prints one line that replays it. Per case:
//! 1. Inputs and outputs lie in larger buffers full of sentinels (NaN), around and between the elements of the window; outputs that
//!    are overwritten start full of NaN, so that a stale read or an unwritten tail shows.
//! 2. The op runs through the public door. No element outside the windows may change, nor any input.
//! 3. Every element is compared with the f64 [reference](crate::reference) under the bound of [`bounds`]; in exact-integer mode and
//!    for integers, copies and casts, to the bit. NaN and infinities must be where IEEE 754 and the op's documentation put them.
//! 4. The same call on fresh operands must give the same bits.
//! 5. A result that is mostly zero or constant proves little and does not count.
//!
//! Ops the support table answers `No` for must return `Unsupported` and write nothing. For every rule of every op's `check` a case
//! breaks it and expects the error it names.
//!
//! # Environment
//! | variable | meaning |
//! |---|---|
//! | `SIZEWISE_CASES` | factor of the number of generated cases, default 1 |
//! | `SIZEWISE_SEED` | seed of the generated cases, default 42; the same seed draws the same cases |
//! | `SIZEWISE_REPEATS` | how many times each case runs again and must give the same bits, default 1 |
//! | `SIZEWISE_REPLAY` | one failing case, as printed: only it runs |

pub mod bounds;
mod case;
mod cases;
mod draw;
mod guard;
mod host;
mod parameters;
pub mod recipe;
mod runner;
mod steady;
mod twins;

use crate::{Backend, DType, Result, Support};
use bounds::Arithmetic;
use cases::Suite;
use draw::Limits;
use libtest_mimic::{Arguments, Failed, Trial};
use recipe::Recipe;

pub use runner::Tally;
use std::sync::{Arc, Mutex, PoisonError};
pub use steady::steady;

/// Any backend.
pub type Device = dyn Backend;

/// Which cases run, and how many.
#[derive(Clone, Debug)]
pub struct Filter {
    /// Only suites whose name (`op/dtype`, `op/dtype/format`) contains this text.
    pub name: String,
    /// Factor of the number of generated cases; the full suite has 1,024 per family and 256 per other op.
    pub scale: f64,
    /// Largest size of a dimension.
    pub max_dim: usize,
    /// Arithmetic the device promises.
    pub arithmetic: Arithmetic,
    /// Seed of the generated cases.
    pub seed: u64,
    /// How many times each case runs again and must give the same bits.
    pub repeats: u32,
}

impl Default for Filter {
    fn default() -> Self {
        Filter { name: String::new(), scale: 1.0, max_dim: 1024, arithmetic: Arithmetic::Ieee, seed: 42, repeats: 1 }
    }
}

impl Filter {
    /// For software GPUs: a quarter of the cases, sizes up to 256, WGSL's arithmetic.
    pub fn quarter() -> Self {
        Filter { scale: 0.25, max_dim: 256, arithmetic: Arithmetic::Wgsl, ..Filter::default() }
    }

    /// With `SIZEWISE_CASES`, `SIZEWISE_SEED` and `SIZEWISE_REPEATS` of the environment applied.
    pub fn from_environment(mut self) -> Self {
        let number = |name| std::env::var(name).ok().and_then(|text| text.parse::<f64>().ok());
        self.scale *= number("SIZEWISE_CASES").unwrap_or(1.0);
        self.seed = number("SIZEWISE_SEED").map_or(self.seed, |seed| seed as u64);
        self.repeats = number("SIZEWISE_REPEATS").map_or(self.repeats, |repeats| repeats as u32);
        self
    }

    fn limits(&self) -> Limits {
        Limits { max_dim: self.max_dim, arithmetic: self.arithmetic }
    }

    fn suites(&self) -> Vec<Suite> {
        cases::suites().into_iter().filter(|suite| suite.name().contains(&self.name)).collect()
    }
}

/// What became of one suite.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// Every case was right.
    Passed(Tally),
    /// The backend declares that it does not do this, and refuses it properly.
    Unsupported,
    /// What went wrong, with the line that replays it.
    Failed(String),
}

/// One row of a report.
#[derive(Clone, Debug)]
pub struct Row {
    /// Op.
    pub op: &'static str,
    /// Dtype, or dtype and weight format.
    pub group: String,
    /// Dtype the support table is looked up by.
    pub dtype: DType,
    /// How the backend runs it.
    pub support: Support,
    /// Result.
    pub outcome: Outcome,
}

/// Result of [`run`].
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// One row per suite.
    pub rows: Vec<Row>,
}

impl Report {
    /// Whether nothing failed.
    pub fn passed(&self) -> bool {
        !self.rows.iter().any(|row| matches!(row.outcome, Outcome::Failed(_)))
    }

    /// Largest share of the error bound that any element of an op used, by op and dtype, in the order of the rows.
    pub fn error_budget_used(&self) -> Vec<(&'static str, DType, f64)> {
        let mut shares: Vec<(&'static str, DType, f64)> = Vec::new();
        for row in &self.rows {
            if let Outcome::Passed(tally) = &row.outcome {
                match shares.iter_mut().find(|(op, dtype, _)| (*op, *dtype) == (row.op, row.dtype)) {
                    Some((.., share)) => *share = share.max(tally.error_budget_used),
                    None => shares.push((row.op, row.dtype, tally.error_budget_used)),
                }
            }
        }
        shares
    }
}

fn regressions(suite: &Suite) -> Vec<Recipe> {
    let name = suite.name();
    let lines = include_str!("regressions.txt").lines().filter(|line| !line.starts_with('#'));
    let of_suite = lines.filter_map(|line| line.split_once(' ')).filter(|(of, _)| *of == name);
    of_suite.map(|(_, recipe)| recipe.parse().unwrap_or_else(|e| panic!("regressions.txt: {e}"))).collect()
}

fn run_suite(on: &Device, suite: &Suite, filter: &Filter) -> Outcome {
    let limits = filter.limits();
    if matches!(runner::support(on, suite), Support::No(_)) || runner::declines(on, suite, limits) {
        return match runner::refuses(on, suite, limits) {
            Ok(()) => Outcome::Unsupported,
            Err(why) => Outcome::Failed(format!("{}: {why}", suite.name())),
        };
    }
    let refused = twins::operands(on, suite, limits).and_then(|()| match suite.leads {
        true => parameters::parameters(on, suite.op),
        false => Ok(()),
    });
    if let Err(why) = refused {
        return Outcome::Failed(format!("{}: {why}", suite.name()));
    }
    match runner::run(on, suite, filter, &regressions(suite)) {
        Ok(tally) => Outcome::Passed(tally),
        Err(why) => Outcome::Failed(why),
    }
}

/// Runs the suite on a backend, one op after the other.
pub fn run(on: &Device, filter: &Filter) -> Report {
    let row = |suite: Suite| {
        let (support, outcome) = (runner::support(on, &suite), run_suite(on, &suite, filter));
        Row { op: suite.op, group: suite.group, dtype: suite.dtype, support, outcome }
    };
    Report { rows: filter.suites().into_iter().map(row).collect() }
}

/// Checks that two backends give the same bits: `draws` generated cases of every suite the filter selects and both support.
///
/// Meant for two instances of one backend, e.g. with different numbers of threads.
///
/// # Errors
/// The first case that differs, with the line that replays it.
pub fn same_bits(a: &Device, b: &Device, filter: &Filter, draws: u32) -> std::result::Result<(), String> {
    for suite in filter.suites() {
        let limits = filter.limits();
        let skip = |on| matches!(runner::support(on, &suite), Support::No(_)) || runner::declines(on, &suite, limits);
        if !skip(a) && !skip(b) {
            runner::same_bits(a, b, &suite, limits, draws, filter.seed)?;
        }
    }
    Ok(())
}

/// Backends waiting for the next test; each test has one to itself, so that a fault or a late error reaches the test it belongs to.
struct Pool<F> {
    open: F,
    idle: Mutex<Vec<Box<Device>>>,
}

impl<F: Fn() -> Result<Box<Device>>> Pool<F> {
    fn with<T>(&self, test: impl FnOnce(&Device) -> T) -> Result<T> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let device = match idle {
            Some(device) => device,
            None => (self.open)()?,
        };
        let result = test(&*device);
        // Not reached when the test panics: a backend that did is not used again. Nor is one with a sticky fault.
        if device.sync().is_ok() {
            self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(device);
        }
        Ok(result)
    }
}

/// One test per suite the filter selects.
pub fn tests<F>(filter: &Filter, open: F) -> Vec<Trial>
where
    F: Fn() -> Result<Box<Device>> + Send + Sync + 'static,
{
    let pool = Arc::new(Pool { open, idle: Mutex::new(Vec::new()) });
    let trial = |suite: Suite| {
        let (pool, filter) = (pool.clone(), filter.clone());
        Trial::test(suite.name(), move || {
            let outcome = pool.with(|on| run_suite(on, &suite, &filter)).map_err(|e| Failed::from(e.to_string()))?;
            match outcome {
                Outcome::Failed(why) => Err(Failed::from(why)),
                Outcome::Passed(_) | Outcome::Unsupported => Ok(()),
            }
        })
    };
    filter.suites().into_iter().map(trial).collect()
}

/// The whole of a backend's `tests/conformance.rs`: runs the suite with libtest's command line, then exits.
pub fn main<F>(open: F) -> !
where
    F: Fn() -> Result<Box<Device>> + Send + Sync + 'static,
{
    main_with(Filter::default(), open)
}

/// As [`main`], with fewer cases or other limits.
pub fn main_with<F>(filter: Filter, open: F) -> !
where
    F: Fn() -> Result<Box<Device>> + Send + Sync + 'static,
{
    let filter = filter.from_environment();
    if let Ok(case) = std::env::var("SIZEWISE_REPLAY") {
        let replayed = open().map_err(|e| e.to_string()).and_then(|on| replay(&*on, &filter, &case));
        match &replayed {
            Ok(()) => println!("{case}: right"),
            Err(why) => println!("{why}"),
        }
        std::process::exit(i32::from(replayed.is_err()));
    }
    libtest_mimic::run(&Arguments::from_args(), tests(&filter, open)).exit()
}

/// Runs one case, given as `op/group recipe`.
///
/// # Errors
/// What is wrong with the case or the line.
pub fn replay(on: &Device, filter: &Filter, case: &str) -> std::result::Result<(), String> {
    let (name, recipe) = case.split_once(' ').ok_or("a case is `op/group recipe`")?;
    let suites = cases::suites();
    let suite = suites.iter().find(|suite| suite.name() == name).ok_or_else(|| format!("no suite is named {name}"))?;
    runner::run(on, suite, &Filter { scale: 0.0, ..filter.clone() }, &[recipe.parse()?]).map(drop)
}
