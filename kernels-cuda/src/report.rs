//! Indices out of range: what only the data can tell, found by kernels and told by the next call that waits.

use crate::driver::Driver;
use kernels::ops::{CrossEntropy, CrossEntropyBackward, Forest, Gather, ScatterAdd};
use kernels::{Error, Op, Result};

/// Ops that report, and the argument that holds the indices. Their places are the codes of `cu/report.cuh`.
const OPS: [(&str, &str); 6] = [
    (Gather::NAME, "index"),
    (ScatterAdd::NAME, "index"),
    (CrossEntropy::NAME, "target"),
    (CrossEntropyBackward::NAME, "target"),
    (Forest::NAME, "roots"),
    (Forest::NAME, "nodes"),
];

/// The report since the last time, after a wait.
///
/// # Errors
/// `Index`.
pub(crate) fn take(driver: &dyn Driver) -> Result<()> {
    let at = driver.report();
    // SAFETY: valid as long as the driver is, and nobody writes it: everything queued has run.
    let report = unsafe { at.read_volatile() };
    if report.state == 0 {
        return Ok(());
    }
    // SAFETY: as above.
    unsafe { at.write_volatile(crate::params::Report::default()) };
    let (op, arg) = OPS.get(report.state as usize / 256).copied().unwrap_or(("", "index"));
    Err(Error::Index { op, arg, at: report.at as usize, limit: report.limit as usize, got: report.got.into() })
}
