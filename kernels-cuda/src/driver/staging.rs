//! Host memory that the device copies from, so that an upload need not wait for its own copy.

use super::Address;
use cudarc::driver::{DriverError, result, sys};

/// Bytes of a stage, and how many there are: an upload waits when it comes around to a stage that is still being read.
const STAGE_BYTES: usize = 4 << 20;
const STAGES: usize = 4;

/// Page-locked memory, and the event after the last copy from it.
struct Stage {
    host: *mut u8,
    copied: sys::CUevent,
}

// SAFETY: memory and a handle that any thread may use; the owner has exclusive access.
unsafe impl Send for Stage {}

impl Stage {
    /// # Safety
    /// The context is current.
    unsafe fn new() -> Result<Self, DriverError> {
        let copied = result::event::create(sys::CUevent_flags::CU_EVENT_DISABLE_TIMING)?;
        // SAFETY: the caller's promise.
        let host = unsafe { result::malloc_host(STAGE_BYTES, 0) }?.cast();
        Ok(Stage { host, copied })
    }
}

/// A ring of stages, made at its first use.
#[derive(Default)]
pub(super) struct Staging {
    stages: Vec<Stage>,
    at: usize,
    used: usize,
}

impl Staging {
    /// Queues the copy of bytes to the device; they may change once the call is back.
    ///
    /// # Safety
    /// The context is current; `to` is followed by as many bytes of one allocation.
    pub unsafe fn copy(&mut self, mut to: Address, mut bytes: &[u8], stream: sys::CUstream) -> Result<(), DriverError> {
        while self.stages.len() < STAGES {
            // SAFETY: the caller's promise.
            self.stages.push(unsafe { Stage::new() }?);
        }
        while !bytes.is_empty() {
            if self.used == STAGE_BYTES {
                // SAFETY: events of this ring, in the context that is current. One never recorded is over.
                unsafe {
                    result::event::record(self.stages[self.at].copied, stream)?;
                    self.at = (self.at + 1) % STAGES;
                    result::event::synchronize(self.stages[self.at].copied)?;
                }
                self.used = 0;
            }
            let (now, rest) = bytes.split_at(bytes.len().min(STAGE_BYTES - self.used));
            // SAFETY: `used + now` is within the stage, which nobody reads from `used` on: the copies that did are over. The
            // device's memory is the caller's promise.
            unsafe {
                let from = self.stages[self.at].host.add(self.used);
                std::ptr::copy_nonoverlapping(now.as_ptr(), from, now.len());
                result::memcpy_htod_async(to, std::slice::from_raw_parts(from, now.len()), stream)?;
            }
            self.used += now.len();
            to += now.len() as u64;
            bytes = rest;
        }
        Ok(())
    }

    /// Gives the memory back.
    ///
    /// # Safety
    /// The context is current and everything queued is over.
    pub unsafe fn free(&mut self) {
        for stage in self.stages.drain(..) {
            // SAFETY: made in `Stage::new`, and not used any more. An error leaves them to the process.
            let _ = unsafe { (result::free_host(stage.host.cast()), result::event::destroy(stage.copied)) };
        }
    }
}
