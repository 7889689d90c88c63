//! No device: what a backend is asked about when only its support table is wanted.

use super::recorded::LaunchCounts;
use super::{Address, Boxes, Driver, Launch, Trouble};
use crate::params::Report;

pub(crate) struct Absent;

fn refuse<T>() -> Result<T, Trouble> {
    Err(Trouble::Failed("there is no device".to_owned()))
}

impl Driver for Absent {
    fn allocate(&self, _: usize) -> Result<Address, Trouble> {
        refuse()
    }
    unsafe fn free(&self, _: Address) {}
    unsafe fn zero(&self, _: Address, _: usize) -> Result<(), Trouble> {
        refuse()
    }
    unsafe fn upload(&self, _: Address, _: &[u8]) -> Result<(), Trouble> {
        refuse()
    }
    unsafe fn download(&self, _: Address, _: &mut [u8]) -> Result<(), Trouble> {
        refuse()
    }
    unsafe fn launch(&self, _: &Launch<'_>) -> Result<(), Trouble> {
        refuse()
    }
    fn boxes(&self, _: &Boxes) -> Result<[u64; 16], Trouble> {
        refuse()
    }
    fn wait(&self) -> Result<(), Trouble> {
        refuse()
    }
    fn report(&self) -> *mut Report {
        std::ptr::null_mut()
    }
    fn report_address(&self) -> Address {
        0
    }
    fn launch_counts(&self) -> LaunchCounts {
        LaunchCounts::default()
    }
}
