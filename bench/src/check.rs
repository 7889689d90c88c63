//! The short form of the conformance suite: is what we are about to time also right, and how close to its bound?

use kernels::Backend;
use kernels::conformance::{Filter, Outcome, Report, run};

/// Share of the full suite's cases: seconds, not minutes.
const SHARE: f64 = 0.02;

/// Runs a few cases of every op the backend supports.
pub fn self_test(on: &(dyn Backend + 'static)) -> Report {
    let filter = if on.name() == "cpu" { Filter { max_dim: 256, ..Filter::default() } } else { Filter::quarter() };
    run(on, &Filter { scale: SHARE * filter.scale, ..filter })
}

/// What a failed check says of an op and dtype; `None` if all was right.
pub fn wrong<'r>(report: &'r Report, op: &str, dtype: &str) -> Option<&'r str> {
    report.rows.iter().find_map(|row| match &row.outcome {
        Outcome::Failed(what) if row.op == op && row.dtype.name() == dtype => Some(what.as_str()),
        _ => None,
    })
}
