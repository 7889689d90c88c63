//! What went wrong on the device, remembered: the first fault comes out of every later call.

use crate::NAME;
use crate::self_test::Wrong;
use kernels::{Error, Result};
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
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

    /// Refuses these ops of a device from now on, and no others. Those that were before.
    pub fn quarantine(&self, device: &str, wrong: Vec<Wrong>) -> Vec<Wrong> {
        self.with(|record| {
            device.clone_into(&mut record.device);
            std::mem::replace(&mut record.quarantined, wrong)
        })
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

    /// What a call of wgpu gives that panics where the device is lost meanwhile, or where a callback of others who use the device does:
    /// then the loss, or else the panic, is the fault. What it leaves half done is of no account, as nothing is asked of a device after
    /// a fault.
    ///
    /// # Errors
    /// The first fault so far.
    pub fn caught<T>(&self, call: impl FnOnce() -> T) -> Result<T> {
        catch_unwind(AssertUnwindSafe(call)).map_err(|panic| self.fail(said(panic.as_ref())))
    }
}

/// The words of a panic.
fn said(panic: &(dyn Any + Send)) -> String {
    let words = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
    words.unwrap_or("a panic without words").to_owned()
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

    #[test]
    fn a_panic_is_the_fault_unless_there_is_one() {
        let fault = |what: &str| Err::<(), _>(Error::Fault { backend: NAME, op: "sync", what: what.into() });
        for (panics, what) in [(true, "an end at 3"), (false, "the device was lost")] {
            let faults = Faults::default();
            faults.enter("sync").unwrap();
            assert_eq!(faults.caught(|| 3), Ok(3));
            if !panics {
                faults.report("the device was lost".into());
            }
            assert_eq!(faults.caught(|| panic!("an end at {}", 3)), fault(what));
            assert_eq!(faults.check(), fault(what));
        }
        assert_eq!((said(&"words"), said(&3)), ("words".to_owned(), "a panic without words".to_owned()));
    }
}
