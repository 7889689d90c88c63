//! Indices out of range: what only the data can tell, found by kernels and told by the next call that waits.

use crate::driver::Driver;
use kernels::ops::{CrossEntropy, CrossEntropyBackward, Forest, Gather, ScatterAdd};
use kernels::{Error, Op, Result};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};

/// Ops that report, and the argument that holds the indices. Their places are the codes of `cu/report.cuh`.
const OPS: [(&str, &str); 6] = [
    (Gather::NAME, "index"),
    (ScatterAdd::NAME, "index"),
    (CrossEntropy::NAME, "target"),
    (CrossEntropyBackward::NAME, "target"),
    (Forest::NAME, "roots"),
    (Forest::NAME, "nodes"),
];

/// A report that a kernel has finished, as in `cu/report.cuh`. One that is being written is left to the next wait.
const WRITTEN: u32 = 2;

/// Reads and clears the report: one thread at a time.
#[derive(Debug, Default)]
pub(crate) struct Reader(Mutex<()>);

impl Reader {
    /// The report since the last time, after a wait.
    ///
    /// # Errors
    /// `Index`.
    pub fn take(&self, driver: &dyn Driver) -> Result<()> {
        let _alone = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let at = driver.report();
        // SAFETY: the report is as long-lived as the driver, and aligned; kernels change its state by atomic operations alone.
        let state = unsafe { AtomicU32::from_ptr(&raw mut (*at).state) };
        let code = state.load(Ordering::Acquire);
        if code % 256 != WRITTEN {
            return Ok(());
        }
        // SAFETY: no kernel writes these before it has seen a state of 0, and no other thread is here.
        let (place, limit, got) = unsafe {
            let (place, limit, got) = (&raw const (*at).at, &raw const (*at).limit, &raw const (*at).got);
            (place.read_volatile(), limit.read_volatile(), got.read_volatile())
        };
        state.store(0, Ordering::Release);
        let (op, arg) = OPS.get(code as usize / 256).copied().unwrap_or(("", "index"));
        Err(Error::Index { op, arg, at: place as usize, limit: limit as usize, got: got.into() })
    }
}
