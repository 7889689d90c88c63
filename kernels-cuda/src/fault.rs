//! What went wrong on the device, remembered: the first fault comes out of every later call.

use crate::NAME;
use kernels::{Error, Result};
use std::sync::{Mutex, PoisonError};

#[derive(Debug, Default)]
pub(crate) struct Faults(Mutex<Record>);

#[derive(Debug, Default)]
struct Record {
    running: &'static str,
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
                Ok(())
            }
        })
    }

    /// Remembers a fault of the op that is running, and gives back the one that counts.
    pub fn fail(&self, what: String) -> Error {
        self.with(|record| {
            let op = record.running;
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
}
