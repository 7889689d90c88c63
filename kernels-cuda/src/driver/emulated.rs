//! A device that is the CPU: kernels compiled by the host's compiler, run by `emulation/runtime.cpp` before a launch is back.

use super::{Address, Boxes, Device, Launched, Trouble};
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

    /// As `emulation/runtime.cpp` has it.
    fn boxes(&self, boxes: &Boxes) -> Result<[u64; 16], Trouble> {
        let &Boxes { first, dtype, length, lines, line_bytes, box_length, box_lines } = boxes;
        let sizes = u64::from(box_length) << 32 | dtype.size_bytes() as u64;
        let mut map = [0; 16];
        map[..6].copy_from_slice(&[first, length.into(), lines.into(), line_bytes, sizes, box_lines.into()]);
        Ok(map)
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

    /// As in `emulation/planted.cu`.
    #[derive(Clone, Copy, Pod, Zeroable)]
    #[repr(C)]
    struct PlantedProduct {
        a: Address,
        b: Address,
        out: Address,
        places: Address,
        selector: u32,
        bf16: u32,
    }

    /// a[16, 16 of 32] · b[32, 8] by a sparse product, whose lanes have these words of places.
    fn sparse_product(
        a: &[f32; 256],
        b: &[f32; 256],
        places: &[u32; 32],
        selector: u32,
        bf16: bool,
    ) -> Result<[f32; 128], Trouble> {
        let device = Emulated::default();
        let bits = |values: &[f32; 256]| {
            values.map(|v| if bf16 { half::bf16::from_f32(v).to_bits() } else { half::f16::from_f32(v).to_bits() })
        };
        let upload = |bytes: &[u8]| {
            let address = device.allocate(bytes.len())?;
            // SAFETY: as large as the bytes.
            unsafe { device.upload(address, bytes) }.map(|()| address)
        };
        let mut out = [0f32; 128];
        let params = PlantedProduct {
            a: upload(bytemuck::bytes_of(&bits(a)))?,
            b: upload(bytemuck::bytes_of(&bits(b)))?,
            out: upload(bytemuck::bytes_of(&out))?,
            places: upload(bytemuck::bytes_of(places))?,
            selector,
            bf16: bf16.into(),
        };
        let launch = Launched { kernel: "planted_sparse_product", blocks: 1, threads: 32, params: bytemuck::bytes_of(&params) };
        // SAFETY: the matrices are as large as the kernel takes them to be.
        let result =
            unsafe { device.launch(&launch).and_then(|()| device.download(params.out, bytemuck::bytes_of_mut(&mut out))) };
        for address in [params.a, params.b, params.out, params.places] {
            // SAFETY: allocated above.
            unsafe { device.free(address) };
        }
        result.map(|()| out)
    }

    const PAIRS: [[usize; 2]; 6] = [[0, 1], [0, 2], [0, 3], [1, 2], [1, 3], [2, 3]];

    #[test]
    fn a_sparse_product_is_that_of_the_matrix_it_stands_for() {
        let a: [f32; 256] = std::array::from_fn(|i| (i * 7 % 23) as f32 - 11.0);
        let b: [f32; 256] = std::array::from_fn(|i| (i * 5 % 19) as f32 - 9.0);
        // In six rounds every four of every row has each pair of places.
        for (round, selector, bf16) in
            (0..6).flat_map(|round| [(round, 0, true), (round, 1, true), (round, 0, false), (round, 1, false)])
        {
            let pair = |row: usize, four: usize| PAIRS[(row + 5 * four + round) % 6];
            let mut matrix = [[0f64; 32]; 16];
            for (row, four, i) in (0..256).map(|at| (at / 16, at % 16 / 2, at % 2)) {
                matrix[row][4 * four + pair(row, four)[i]] = f64::from(a[row * 16 + 2 * four + i]);
            }
            // Lanes that are not selected have places that would fault.
            let mut places = [0u32; 32];
            for (row, four) in (0..128).map(|at| (at / 8, at % 8)) {
                let [first, second] = pair(row, four);
                let lane = 4 * (row % 8) + 2 * selector + four / 4;
                places[lane] |= ((first + 4 * second) as u32) << (16 * (row / 8) + 4 * (four % 4));
            }
            let got = sparse_product(&a, &b, &places, selector as u32, bf16).unwrap();
            for (at, &got) in got.iter().enumerate() {
                let want: f64 = (0..32).map(|l| matrix[at / 8][l] * f64::from(b[l * 8 + at % 8])).sum();
                assert_eq!(
                    f64::from(got),
                    want,
                    "round {round}, selector {selector}, bf16 {bf16}, row {}, column {}",
                    at / 8,
                    at % 8
                );
            }
        }
    }

    #[test]
    fn a_sparse_product_reads_what_it_has_places_for_and_wants_them_rising() {
        let (a, mut b) = ([1f32; 256], [f32::NAN; 256]);
        // Places 0 and 1 of every four, of which the others are no numbers.
        (0..256).filter(|i| i / 8 % 4 < 2).for_each(|i| b[i] = 1.0);
        assert_eq!(sparse_product(&a, &b, &[0x4444_4444; 32], 0, true), Ok([16.0; 128]));
        for places in [0x0, 0x1, 0x5, 0xA, 0xB, 0xF] {
            let mut words = [0x4444_4444; 32];
            words[5] = 0x4444_4440 | places;
            match sparse_product(&a, &b, &words, 0, true) {
                Err(Trouble::Failed(what)) => assert!(what.contains("do not rise"), "{what}"),
                other => panic!("{places:#x}: {other:?}"),
            }
            assert!(sparse_product(&a, &b, &words, 1, true).is_ok());
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
