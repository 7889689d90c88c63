//! The device's queue: launches, transfers, and what goes wrong in them.

use crate::NAME;
use crate::driver::{Address, Driver, Launch, Trouble};
use crate::fault::Faults;
use crate::memory::Counters;
use crate::report::Reader;
use crate::source::Source;
use kernels::{Error, Result};
use std::sync::Arc;

/// A kernel to be queued on behalf of an op. Its addresses must come from [`operand`](crate::CudaBackend::operand) or from memory
/// that outlives the call.
pub(crate) struct Dispatch<'a> {
    pub op: &'static str,
    pub source: &'static Source,
    pub kernel: &'static str,
    /// Threads of a block, as in the kernel's launch bounds.
    pub threads: u32,
    /// Blocks; none is nothing to do.
    pub blocks: u64,
    /// The kernel's struct of `params.h`.
    pub params: &'a [u8],
}

pub(crate) struct Queue {
    driver: Arc<dyn Driver>,
    faults: Faults,
    counters: Counters,
    reports: Reader,
}

impl Queue {
    pub fn new(driver: Arc<dyn Driver>) -> Self {
        Queue { driver, faults: Faults::default(), counters: Counters::default(), reports: Reader::default() }
    }

    pub fn driver(&self) -> &Arc<dyn Driver> {
        &self.driver
    }

    pub fn faults(&self) -> &Faults {
        &self.faults
    }

    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Where kernels report an index out of range.
    pub fn report_address(&self) -> Address {
        self.driver.report_address()
    }

    /// Turns a driver's trouble into the error of a call; all but exhausted memory is remembered.
    pub fn settle<T>(&self, result: std::result::Result<T, Trouble>, wanted_bytes: usize) -> Result<T> {
        result.map_err(|trouble| match trouble {
            Trouble::OutOfMemory => Error::OutOfMemory { backend: NAME, wanted_bytes: wanted_bytes as u64 },
            Trouble::Failed(what) => self.faults.fail(what),
        })
    }

    /// Queues a kernel.
    ///
    /// # Errors
    /// `Limit` beyond 2³¹ − 1 blocks; a fault.
    pub fn dispatch(&self, dispatch: &Dispatch<'_>) -> Result<()> {
        const LIMIT: u64 = i32::MAX as u64;
        let &Dispatch { op, source, kernel, threads, blocks, params } = dispatch;
        if blocks == 0 {
            return Ok(());
        }
        if blocks > LIMIT {
            return Err(Error::Limit { op, what: "blocks of a launch", limit: LIMIT, got: blocks });
        }
        let launch = Launch { source, kernel, blocks: blocks as u32, threads, params };
        // SAFETY: launchers build the struct their kernel takes from operands that `Checked` has proven to lie within their buffers.
        self.settle(unsafe { self.driver.launch(&launch) }, 0)
    }

    /// Zeroes memory that as many bytes of its allocation follow.
    pub fn zero(&self, at: Address, bytes: u64) -> Result<()> {
        // SAFETY: callers pass memory they have asked for in this size.
        self.settle(unsafe { self.driver.zero(at, bytes as usize) }, 0)
    }

    /// Copies bytes to an address within an allocation that has room for them.
    pub fn upload(&self, to: Address, bytes: &[u8]) -> Result<()> {
        // SAFETY: callers pass addresses of views as large as `bytes`.
        self.settle(unsafe { self.driver.upload(to, bytes) }, 0)
    }

    /// Waits, and copies from an address that as many bytes of its allocation follow.
    pub fn download(&self, from: Address, bytes: &mut [u8]) -> Result<()> {
        self.wait()?;
        // SAFETY: callers pass addresses of views as large as `bytes`.
        self.settle(unsafe { self.driver.download(from, bytes) }, 0)
    }

    /// Waits for everything queued.
    ///
    /// # Errors
    /// A fault; `Index` if a kernel has reported one.
    pub fn wait(&self) -> Result<()> {
        self.counters.waited();
        let calls = self.faults.calls();
        self.settle(self.driver.wait(), 0)?;
        self.faults.waited(calls);
        self.reports.take(&*self.driver)
    }
}
