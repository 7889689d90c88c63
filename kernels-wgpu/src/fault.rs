//! What went wrong on the device, remembered: the first fault comes out of every later call.

use crate::NAME;
use crate::self_test::Wrong;
use kernels::{Error, Result};
use std::sync::{Arc, Mutex, PoisonError};

/// Filled by the device's callbacks, read by every call.
#[derive(Clone, Debug, Default)]
pub(crate) struct Faults(Arc<Mutex<Record>>);

#[derive(Debug, Default)]
struct Record {
    running: &'static str,
    first: Option<Error>,
    device: String,
    quarantined: Vec<Wrong>,
}

impl Faults {
    fn with<T>(&self, see: impl FnOnce(&mut Record) -> T) -> T {
        see(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Starts a call on behalf of `op`.
    ///
    /// # Errors
    /// The fault of an earlier call; `Quarantined`.
    pub fn enter(&self, op: &'static str) -> Result<()> {
        self.check()?;
        self.with(|record| {
            record.running = op;
            let Some(Wrong { what, .. }) = record.quarantined.iter().find(|wrong| wrong.op == op) else { return Ok(()) };
            Err(Error::Quarantined { op, backend: NAME, device: record.device.clone(), what: what.clone() })
        })
    }

    /// Refuses these ops of a device from now on, and no others.
    pub fn quarantine(&self, device: &str, wrong: &[Wrong]) {
        self.with(|record| (record.device, record.quarantined) = (device.to_owned(), wrong.to_vec()));
    }

    /// # Errors
    /// The first fault so far.
    pub fn check(&self) -> Result<()> {
        self.with(|record| record.first.clone().map_or(Ok(()), Err))
    }

    /// Remembers a fault of the op that is running, unless there has been one before.
    pub fn report(&self, what: String) {
        self.with(|record| {
            let op = record.running;
            record.first.get_or_insert(Error::Fault { backend: NAME, op, what });
        });
    }

    /// Reports, and gives back the fault that counts.
    pub fn fail(&self, what: String) -> Error {
        self.report(what.clone());
        self.check().err().unwrap_or(Error::Fault { backend: NAME, op: "", what })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_fault_stays() {
        let faults = Faults::default();
        faults.enter("matmul").unwrap();
        faults.report("lost".into());
        faults.report("lost again".into());
        let sticky = Error::Fault { backend: NAME, op: "matmul", what: "lost".into() };
        assert_eq!(faults.enter("copy"), Err(sticky.clone()));
        assert_eq!(faults.fail("once more".into()), sticky);
    }
}
