//! The short form of the conformance suite: is what we are about to time also right, and how close to its bound?

use kernels::conformance::bounds::Arithmetic;
use kernels::conformance::{Filter, Outcome, Report, run};
use kernels::{Backend, DType};
use std::collections::BTreeSet;

/// Share of the full suite's cases: seconds, not minutes.
const SHARE: f64 = 0.02;

/// Runs a few cases of every op the backend supports.
pub fn self_test(on: &(dyn Backend + 'static)) -> Report {
    run(on, &filter(on))
}

/// Runs a few cases of the ops and dtypes named, each once: a software GPU compiles for seconds what it runs for milliseconds.
pub fn self_test_of(on: &(dyn Backend + 'static), ops: impl IntoIterator<Item = (&'static str, DType)>) -> Report {
    let names: BTreeSet<String> = ops.into_iter().map(|(op, dtype)| format!("{op}/{dtype}")).collect();
    let rows = names.into_iter().flat_map(|name| run(on, &Filter { name, ..filter(on) }).rows).collect();
    Report { rows }
}

fn filter(on: &dyn Backend) -> Filter {
    let filter = match (on.name(), on.info().software) {
        ("cpu", _) => Filter { max_dim: 256, ..Filter::default() },
        ("cuda", true) => Filter { arithmetic: Arithmetic::Ieee, ..Filter::quarter() },
        ("cuda", false) => Filter { arithmetic: Arithmetic::TensorCores, ..Filter::quarter() },
        _ => Filter::quarter(),
    };
    Filter { scale: SHARE * filter.scale, ..filter }
}

/// What the check says of an op and dtype.
#[derive(Debug, PartialEq)]
pub enum Checked<'r> {
    /// All cases within their bounds.
    Right {
        /// Largest error over bound; nothing if the bounds are exact.
        budget_used: Option<f64>,
    },
    /// What went wrong.
    Wrong(&'r str),
    /// No case ran.
    Not,
}

/// What `report` says of `op` on `dtype`.
pub fn checked<'r>(report: &'r Report, op: &str, dtype: DType) -> Checked<'r> {
    let mut rows = report.rows.iter().filter(|row| row.op == op && row.dtype == dtype).peekable();
    if rows.peek().is_none() {
        return Checked::Not;
    }
    let wrong = rows.find_map(|row| match &row.outcome {
        Outcome::Failed(what) => Some(what.as_str()),
        _ => None,
    });
    let budget = || report.error_budget_used().into_iter().find(|(of, on, _)| *of == op && *on == dtype);
    wrong.map_or_else(|| Checked::Right { budget_used: budget().map(|(.., used)| used) }, Checked::Wrong)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cases::{cases, gpu_cases};

    #[test]
    fn every_op_that_is_timed_is_checked() {
        let timed = || cases(true).into_iter().chain(gpu_cases()).map(|case| (case.op(), case.op_dtype()));
        let report = self_test_of(&kernels_cpu::CpuBackend::builder().build().unwrap(), timed());
        assert!(report.rows.iter().all(|row| timed().any(|(op, dtype)| (op, dtype) == (row.op, row.dtype))));
        for case in cases(true).into_iter().chain(gpu_cases()) {
            let found = checked(&report, case.op(), case.op_dtype());
            assert!(matches!(found, Checked::Right { .. }), "{} on {}: {found:?}", case.op(), case.op_dtype());
        }
        assert_eq!(checked(&report, "no such op", DType::F32), Checked::Not);
    }
}
