//! A device that is the CPU: kernels compiled by the host's compiler, run by `emulation/runtime.cpp` before a launch is back.

use super::{Address, Driver, Launch, Trouble};
use crate::params::Report;
use std::cell::UnsafeCell;
use std::ffi::{CStr, CString, c_char, c_void};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

unsafe extern "C" {
    fn emulation_allocate(bytes: usize) -> *mut c_void;
    fn emulation_free(at: *mut c_void);
    fn emulation_launch(
        name: *const c_char,
        blocks: u32,
        threads: u32,
        params: *const c_void,
        params_bytes: usize,
        order: u32,
    ) -> *const c_char;
}

/// The CPU, as a device.
#[derive(Default)]
pub(crate) struct Emulated {
    launches: AtomicU32,
    report: Box<Slot>,
}

/// Written by kernels through its address.
#[derive(Default)]
struct Slot(UnsafeCell<Report>);

// SAFETY: kernels claim the report by an atomic exchange, and the host reads it between launches.
unsafe impl Sync for Slot {}

impl Driver for Emulated {
    fn allocate(&self, bytes: usize) -> Result<Address, Trouble> {
        // SAFETY: any size may be asked for.
        let at = unsafe { emulation_allocate(bytes) };
        if at.is_null() { Err(Trouble::OutOfMemory) } else { Ok(at as Address) }
    }

    unsafe fn free(&self, at: Address) {
        // SAFETY: an address that was not allocated is ignored.
        unsafe { emulation_free(at as *mut c_void) }
    }

    unsafe fn upload(&self, to: Address, bytes: &[u8]) -> Result<(), Trouble> {
        // SAFETY: the caller's promise; the host's own slice cannot be part of an allocation of the device.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), to as *mut u8, bytes.len()) };
        Ok(())
    }

    unsafe fn download(&self, from: Address, bytes: &mut [u8]) -> Result<(), Trouble> {
        // SAFETY: as for `upload`.
        unsafe { std::ptr::copy_nonoverlapping(from as *const u8, bytes.as_mut_ptr(), bytes.len()) };
        Ok(())
    }

    unsafe fn launch(&self, launch: &Launch<'_>) -> Result<(), Trouble> {
        let failed = |what: &dyn std::fmt::Display| Trouble::Failed(format!("{}: {what}", launch.kernel));
        let name = CString::new(launch.kernel).map_err(|error| failed(&error))?;
        let order = self.launches.fetch_add(1, Relaxed);
        let (params, bytes) = (launch.params.as_ptr().cast(), launch.params.len());
        // SAFETY: the parameters' size is compared with the kernel's; what they point at is the caller's promise. An access
        // outside allocations comes back as a message.
        let message = unsafe { emulation_launch(name.as_ptr(), launch.blocks, launch.threads, params, bytes, order) };
        if message.is_null() {
            return Ok(());
        }
        // SAFETY: a text that ends in 0 and stays until this thread's next launch.
        Err(failed(&unsafe { CStr::from_ptr(message) }.to_string_lossy()))
    }

    fn wait(&self) -> Result<(), Trouble> {
        Ok(())
    }

    fn report(&self) -> *mut Report {
        self.report.0.get()
    }

    fn report_address(&self) -> Address {
        self.report() as Address
    }
}
