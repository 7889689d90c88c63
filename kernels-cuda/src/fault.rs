//! What went wrong on the device, remembered: the first fault comes out of every later call.

use crate::NAME;
use kernels::{Error, Result};
use std::sync::{Mutex, PoisonError};

#[derive(Debug, Default)]
pub(crate) struct Faults(Mutex<Record>);

#[derive(Debug, Default)]
struct Record {
    running: &'static str,
    /// Ops since the last wait, each once, with the number of its last call: a device tells of a kernel's fault when it is waited for,
    /// and not whose kernel it was.
    since: Vec<(&'static str, u64)>,
    /// Calls so far.
    calls: u64,
    first: Option<Error>,
}

impl Faults {
    fn with<T>(&self, see: impl FnOnce(&mut Record) -> T) -> T {
        see(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Starts a call on behalf of `op`.
    ///
    /// # Errors
    /// The fault of an earlier call.
    pub fn enter(&self, op: &'static str) -> Result<()> {
        self.with(|record| match &record.first {
            Some(first) => Err(first.clone()),
            None => {
                record.running = op;
                record.calls += 1;
                let call = record.calls;
                match record.since.iter_mut().find(|(other, _)| *other == op) {
                    Some((_, last)) => *last = call,
                    None => record.since.push((op, call)),
                }
                Ok(())
            }
        })
    }

    /// Calls so far, for [`Faults::waited`].
    pub fn calls(&self) -> u64 {
        self.with(|record| record.calls)
    }

    /// A wait has succeeded that began after so many calls: none of them has a fault. Other threads may have called since.
    pub fn waited(&self, calls: u64) {
        self.with(|record| record.since.retain(|&(_, last)| last > calls));
    }

    /// Remembers a fault of the op that is running, or of one before it, and gives back the one that counts.
    pub fn fail(&self, mut what: String) -> Error {
        self.with(|record| {
            let op = record.running;
            let others: Vec<_> = record.since.iter().map(|&(other, _)| other).filter(|&other| other != op).collect();
            if !others.is_empty() {
                what += &format!("; since the last wait: {}", others.join(", "));
            }
            record.first.get_or_insert(Error::Fault { backend: NAME, op, what }).clone()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_fault_stays() {
        let faults = Faults::default();
        faults.enter("matmul").unwrap();
        let sticky = Error::Fault { backend: NAME, op: "matmul", what: "lost".into() };
        assert_eq!(faults.fail("lost".into()), sticky);
        assert_eq!(faults.enter("copy"), Err(sticky.clone()));
        assert_eq!(faults.fail("once more".into()), sticky);
    }

    #[test]
    fn ops_that_may_be_to_blame_are_named() {
        let faults = Faults::default();
        for op in ["upload", "matmul", "gather", "matmul"] {
            faults.enter(op).unwrap();
            if op == "upload" {
                faults.waited(faults.calls());
            }
        }
        // A wait that began before matmul's second call, and ended now.
        faults.waited(2);
        faults.enter("sync").unwrap();
        let what = "lost; since the last wait: matmul, gather".into();
        assert_eq!(faults.fail("lost".into()), Error::Fault { backend: NAME, op: "sync", what });
    }
}
