//! A device that is the CPU: kernels compiled by the host's compiler, run by `emulation/runtime.cpp` before a launch is back.

use super::{Address, Device, Launched, Trouble};
use crate::params::Report;
use crate::source::Source;
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

// SAFETY: kernels claim the report by an atomic exchange, and the host reads what one of them has finished.
unsafe impl Sync for Slot {}

/// A launch of a graph, with parameters of its own.
pub(crate) struct Kept {
    kernel: &'static str,
    blocks: u32,
    threads: u32,
    params: Vec<u64>,
    bytes: usize,
}

impl Kept {
    fn new(launch: &Launched<'_, &'static str>) -> Self {
        let &Launched { kernel, blocks, threads, params } = launch;
        let mut own = vec![0; params.len().div_ceil(8)];
        bytemuck::cast_slice_mut(&mut own)[..params.len()].copy_from_slice(params);
        Kept { kernel, blocks, threads, params: own, bytes: params.len() }
    }
}

impl Device for Emulated {
    type Kernel = &'static str;
    type Graph = Vec<Kept>;

    fn kernel(&self, _: &'static Source, name: &'static str) -> Result<&'static str, Trouble> {
        Ok(name)
    }

    fn allocate(&self, bytes: usize) -> Result<Address, Trouble> {
        // SAFETY: any size may be asked for.
        let at = unsafe { emulation_allocate(bytes) };
        if at.is_null() { Err(Trouble::OutOfMemory) } else { Ok(at as Address) }
    }

    unsafe fn free(&self, at: Address) {
        // SAFETY: an address that was not allocated is ignored.
        unsafe { emulation_free(at as *mut c_void) }
    }

    unsafe fn zero(&self, at: Address, bytes: usize) -> Result<(), Trouble> {
        // SAFETY: the caller's promise.
        unsafe { std::ptr::write_bytes(at as *mut u8, 0, bytes) };
        Ok(())
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

    unsafe fn launch(&self, launch: &Launched<'_, &'static str>) -> Result<(), Trouble> {
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

    unsafe fn graph(&self, launches: &[Launched<'_, &'static str>]) -> Result<Vec<Kept>, Trouble> {
        Ok(launches.iter().map(Kept::new).collect())
    }

    unsafe fn update(&self, graph: &mut Vec<Kept>, index: usize, launch: &Launched<'_, &'static str>) -> Result<(), Trouble> {
        graph[index] = Kept::new(launch);
        Ok(())
    }

    unsafe fn start(&self, graph: &Vec<Kept>) -> Result<(), Trouble> {
        graph.iter().try_for_each(|kept| {
            let &Kept { kernel, blocks, threads, ref params, bytes } = kept;
            let params = &bytemuck::cast_slice(params)[..bytes];
            // SAFETY: the caller's promise.
            unsafe { self.launch(&Launched { kernel, blocks, threads, params }) }
        })
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

#[cfg(test)]
mod tests {
    use super::*;
    use bytemuck::{Pod, Zeroable};

    const THREADS: u32 = 64;

    /// As in `emulation/planted.cu`.
    #[derive(Clone, Copy, Pod, Zeroable)]
    #[repr(C)]
    struct Planted {
        out: Address,
        fault: u32,
        count: u32,
    }

    /// Runs a kernel on `count` words that start as 0, 1, 2, …, three times, for the three orders of threads.
    fn run(kernel: &'static str, fault: u32, count: u32) -> [Result<Vec<f32>, Trouble>; 3] {
        let device = Emulated::default();
        [0, 1, 2].map(|_| {
            let out = device.allocate(4 * count as usize)?;
            let mut words: Vec<f32> = (0..count).map(|i| i as f32).collect();
            let params = Planted { out, fault, count };
            let launch = Launched { kernel, blocks: 2, threads: THREADS, params: bytemuck::bytes_of(&params) };
            // SAFETY: the memory is as large as the words, and the kernels' faults are what the emulation catches.
            let result = unsafe {
                device.upload(out, bytemuck::cast_slice(&words))?;
                device.launch(&launch).and_then(|()| device.download(out, bytemuck::cast_slice_mut(&mut words)))
            };
            // SAFETY: allocated above.
            unsafe { device.free(out) };
            result.map(|()| words)
        })
    }

    fn fails(kernel: &'static str, fault: u32, words: &str) {
        for result in run(kernel, fault, THREADS) {
            match result {
                Err(Trouble::Failed(what)) => assert!(what.contains(words), "{what}"),
                other => panic!("{kernel} with fault {fault}: {other:?}"),
            }
        }
    }

    #[test]
    fn a_missing_barrier_shows() {
        let right: Vec<f32> = (0..THREADS).rev().map(|i| i as f32).collect();
        assert!(run("planted_barrier", 0, THREADS).into_iter().all(|out| out.unwrap() == right));
        assert!(run("planted_barrier", 1, THREADS).into_iter().all(|out| out.unwrap() != right));
    }

    #[test]
    fn a_race_gives_different_results() {
        let left = |fault| run("planted_race", fault, THREADS).map(|out| out.unwrap()[0].to_bits());
        let [first, second, third] = left(1);
        assert!(first != second && second != third);
        let [first, second, third] = left(0);
        // Blocks race too, but by fewer: only their first threads write.
        assert!([first, second, third].iter().all(|word| word % THREADS == 0));
    }

    #[test]
    fn an_index_out_of_bounds_is_caught() {
        assert!(run("planted_index", 0, THREADS).iter().all(Result::is_ok));
        fails("planted_index", 1, "0 bytes past the end of an allocation of 256 bytes");
        fails("planted_index", 2, "memory touched");
        fails("planted_index", 3, "from the start of an object of 256");
        fails("planted_index", 4, "division of integers by zero");
    }

    #[test]
    fn threads_that_part_are_caught() {
        assert!(run("planted_divergence", 0, THREADS).iter().all(Result::is_ok));
        fails("planted_divergence", 1, "have left");
        // A whole warp that exchanges while the other does not is fine.
        assert!(run("planted_divergence", 2, THREADS).iter().all(Result::is_ok));
        fails("planted_divergence", 3, "some lanes of a warp wait for each other while others have left");
    }

    #[test]
    fn a_copy_arrives_when_it_is_waited_for() {
        let words = 4 * THREADS;
        // Both blocks do the same on the same words: the second copies what the first has left in place 1.
        for out in run("planted_copy", 0, words) {
            assert!(out.unwrap().chunks(4).enumerate().all(|(i, quad)| quad[0] == 4.0 * i as f32 + 1.0));
        }
        for out in run("planted_copy", 1, words) {
            assert!(out.unwrap().chunks(4).all(|quad| quad[0].is_nan()));
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let device = Emulated::default();
        let launch = |kernel, threads, params: &[u8]| {
            let launch = Launched { kernel, blocks: 1, threads, params };
            // SAFETY: refused before anything runs.
            unsafe { device.launch(&launch) }.is_err()
        };
        assert!(launch("no_such_kernel", THREADS, &[0; 16]));
        assert!(launch("planted_race", THREADS, &[0; 12]));
        assert!(launch("planted_race", 32, &[0; 16]));
        assert_eq!(device.allocate(usize::MAX), Err(Trouble::OutOfMemory));
    }
}
