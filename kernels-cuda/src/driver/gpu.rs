//! A device behind NVIDIA's driver: one context, one stream, memory in the stream's order.

use super::{Address, Driver, Launch, Trouble};
use crate::compile::{self, Target};
use crate::params::Report;
use cudarc::driver::{CudaContext, CudaStream, DriverError, result, sys};
use std::collections::HashMap;
use std::ffi::{CString, c_void};
use std::sync::{Arc, Mutex, PoisonError};

/// One NVIDIA GPU, with one stream.
pub(crate) struct Gpu {
    stream: Arc<CudaStream>,
    target: Target,
    functions: Mutex<HashMap<&'static str, Function>>,
    report: PinnedReport,
}

/// A kernel of a module, which is never unloaded.
#[derive(Clone, Copy)]
struct Function(sys::CUfunction);

// SAFETY: a handle the driver takes from any thread.
unsafe impl Send for Function {}

/// Host memory that kernels write.
struct PinnedReport {
    host: *mut Report,
    device: Address,
}

// SAFETY: read and written by volatile accesses while the device is idle.
unsafe impl Send for PinnedReport {}
// SAFETY: as above.
unsafe impl Sync for PinnedReport {}

impl From<DriverError> for Trouble {
    fn from(error: DriverError) -> Self {
        match error.0 {
            sys::CUresult::CUDA_ERROR_OUT_OF_MEMORY => Trouble::OutOfMemory,
            _ => Trouble::Failed(error.to_string()),
        }
    }
}

impl Gpu {
    /// Takes the device over.
    ///
    /// # Errors
    /// What the driver says.
    pub fn new(context: &Arc<CudaContext>) -> Result<Self, DriverError> {
        let (major, minor) = context.compute_capability()?;
        let stream = context.new_stream()?;
        keep_freed_memory(context)?;
        // SAFETY: the context is current on this thread; the memory is written before anything reads it.
        let (host, device) = unsafe {
            let flags = sys::CU_MEMHOSTALLOC_DEVICEMAP;
            let host = result::malloc_host(size_of::<Report>(), flags)?.cast::<Report>();
            host.write(Report::default());
            let mut device = 0;
            sys::cuMemHostGetDevicePointer_v2(&mut device, host.cast(), 0).result()?;
            (host, device)
        };
        let target = Target::of_device(major as u32, minor as u32);
        Ok(Gpu { stream, target, functions: Mutex::default(), report: PinnedReport { host, device } })
    }

    /// Makes the device's context that of the calling thread.
    fn bind(&self) -> Result<(), Trouble> {
        Ok(self.stream.context().bind_to_thread()?)
    }

    fn function(&self, launch: &Launch<'_>) -> Result<Function, Trouble> {
        let mut functions = self.functions.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(&function) = functions.get(launch.kernel) {
            return Ok(function);
        }
        let cubin = compile::machine_code(launch.source, self.target).map_err(Trouble::Failed)?;
        let name = CString::new(launch.kernel).map_err(|error| Trouble::Failed(error.to_string()))?;
        // SAFETY: the context is current; the image is what NVRTC made for this device and is copied by the call; the module is
        // never unloaded, so that its functions stay.
        let function = unsafe {
            let module = result::module::load_data(cubin.as_ptr().cast())?;
            Function(result::module::get_function(module, name)?)
        };
        functions.insert(launch.kernel, function);
        Ok(function)
    }
}

/// Lets the pool of the device keep what is freed for the next allocation, instead of giving it back at every wait.
fn keep_freed_memory(context: &CudaContext) -> Result<(), DriverError> {
    let mut threshold = u64::MAX;
    let attribute = sys::CUmemPool_attribute::CU_MEMPOOL_ATTR_RELEASE_THRESHOLD;
    // SAFETY: the pool of an open device; the attribute is a number of 64 bits.
    unsafe {
        let pool = result::device::get_default_mem_pool(context.cu_device())?;
        result::mem_pool::set_attribute(pool, attribute, (&raw mut threshold).cast())
    }
}

impl Drop for PinnedReport {
    fn drop(&mut self) {
        // SAFETY: allocated in `Gpu::new`. The driver waits for the device before it frees; an error leaves the memory to the process.
        let _ = unsafe { result::free_host(self.host.cast()) };
    }
}

impl Driver for Gpu {
    fn allocate(&self, bytes: usize) -> Result<Address, Trouble> {
        self.bind()?;
        let (stream, bytes) = (self.stream.cu_stream(), bytes.max(1));
        // SAFETY: the memory is zeroed in the stream's order before anyone has its address; all uses are on this stream.
        unsafe {
            let at = result::malloc_async(stream, bytes)?;
            result::memset_d8_async(at, 0, bytes, stream)?;
            Ok(at)
        }
    }

    unsafe fn free(&self, at: Address) {
        if self.bind().is_ok() {
            // SAFETY: the caller's promise. An error means that the device is lost, and its memory with it.
            let _ = unsafe { result::free_async(at, self.stream.cu_stream()) };
        }
    }

    unsafe fn zero(&self, at: Address, bytes: usize) -> Result<(), Trouble> {
        self.bind()?;
        // SAFETY: the caller's promise.
        Ok(unsafe { result::memset_d8_async(at, 0, bytes, self.stream.cu_stream()) }?)
    }

    unsafe fn upload(&self, to: Address, bytes: &[u8]) -> Result<(), Trouble> {
        self.bind()?;
        // SAFETY: the caller's promise. From pageable memory the driver has staged all bytes when the call is back.
        Ok(unsafe { result::memcpy_htod_async(to, bytes, self.stream.cu_stream()) }?)
    }

    unsafe fn download(&self, from: Address, bytes: &mut [u8]) -> Result<(), Trouble> {
        self.bind()?;
        // SAFETY: the caller's promise; the slice is borrowed until the copy is done.
        unsafe { result::memcpy_dtoh_async(bytes, from, self.stream.cu_stream()) }?;
        self.wait()
    }

    unsafe fn launch(&self, launch: &Launch<'_>) -> Result<(), Trouble> {
        self.bind()?;
        let function = self.function(launch)?;
        let params = launch.params.as_ptr().cast_mut().cast::<c_void>();
        let (blocks, threads) = ((launch.blocks, 1, 1), (launch.threads, 1, 1));
        // SAFETY: the caller's promise; the driver copies the parameters before the call is back.
        Ok(unsafe { result::launch_kernel(function.0, blocks, threads, 0, self.stream.cu_stream(), &mut [params]) }?)
    }

    fn wait(&self) -> Result<(), Trouble> {
        Ok(self.stream.synchronize()?)
    }

    fn report(&self) -> *mut Report {
        self.report.host
    }

    fn report_address(&self) -> Address {
        self.report.device
    }
}
