//! A device behind NVIDIA's driver: one context, one stream, memory in the stream's order.

use super::staging::Staging;
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
    kernels: Mutex<Kernels>,
    staging: Mutex<Staging>,
    report: PinnedReport,
    pool: Pool,
}

/// What has been loaded: modules by their source, kernels by their name.
#[derive(Default)]
struct Kernels {
    modules: HashMap<&'static str, Module>,
    functions: HashMap<&'static str, Function>,
}

/// All kernels of a source. Unloaded with the device.
#[derive(Clone, Copy)]
struct Module(sys::CUmodule);

/// A kernel of a loaded module.
#[derive(Clone, Copy)]
struct Function(sys::CUfunction);

/// The device's pool of memory.
struct Pool(sys::CUmemoryPool);

// SAFETY: a handle the driver takes from any thread.
unsafe impl Send for Module {}
// SAFETY: as above.
unsafe impl Send for Function {}
// SAFETY: as above.
unsafe impl Send for Pool {}
// SAFETY: as above; it is only handed to the driver.
unsafe impl Sync for Pool {}

/// Host memory that kernels write.
struct PinnedReport {
    host: *mut Report,
    device: Address,
}

// SAFETY: the memory may be used from any thread; accesses are those of `report.rs`.
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

/// An error, with what was being done.
fn named(what: &str, error: DriverError) -> Trouble {
    match error.into() {
        Trouble::Failed(why) => Trouble::Failed(format!("{what}: {why}")),
        trouble @ Trouble::OutOfMemory => trouble,
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
        let pool = keeping_pool(context)?;
        let target = Target::of_device(major as u32, minor as u32);
        // SAFETY: the context is current on this thread; the memory is written before anything reads it.
        let host = unsafe {
            let host = result::malloc_host(size_of::<Report>(), sys::CU_MEMHOSTALLOC_DEVICEMAP)?.cast::<Report>();
            host.write(Report::default());
            host
        };
        let report = PinnedReport { host, device: 0 };
        let mut gpu = Gpu { stream, target, kernels: Mutex::default(), staging: Mutex::default(), report, pool };
        // SAFETY: memory the device can reach; writes one address.
        unsafe { sys::cuMemHostGetDevicePointer_v2(&mut gpu.report.device, host.cast(), 0).result()? };
        Ok(gpu)
    }

    /// Makes the device's context that of the calling thread.
    fn bind(&self) -> Result<(), Trouble> {
        Ok(self.stream.context().bind_to_thread()?)
    }

    fn function(&self, launch: &Launch<'_>) -> Result<Function, Trouble> {
        let mut kernels = self.kernels.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(&function) = kernels.functions.get(launch.kernel) {
            return Ok(function);
        }
        let module = match kernels.modules.get(launch.source.name) {
            Some(&module) => module,
            None => {
                let cubin = compile::machine_code(launch.source, self.target).map_err(Trouble::Failed)?;
                // SAFETY: the context is current; the image is whole, as NVRTC made it, and copied by the call.
                let loaded = unsafe { result::module::load_data(cubin.as_ptr().cast()) };
                let module = Module(loaded.map_err(|error| named(&format!("loading {}.cu", launch.source.name), error))?);
                kernels.modules.insert(launch.source.name, module);
                module
            }
        };
        let name = CString::new(launch.kernel).map_err(|error| Trouble::Failed(error.to_string()))?;
        // SAFETY: the module stays loaded as long as the device is.
        let function = unsafe { result::module::get_function(module.0, name) };
        let function = Function(function.map_err(|error| named(launch.kernel, error))?);
        kernels.functions.insert(launch.kernel, function);
        Ok(function)
    }
}

/// The device's pool, told to keep what is freed for the next allocation instead of giving it back at every wait.
fn keeping_pool(context: &CudaContext) -> Result<Pool, DriverError> {
    let mut threshold = u64::MAX;
    let attribute = sys::CUmemPool_attribute::CU_MEMPOOL_ATTR_RELEASE_THRESHOLD;
    // SAFETY: the pool of an open device; the attribute is a number of 64 bits.
    unsafe {
        let pool = result::device::get_default_mem_pool(context.cu_device())?;
        result::mem_pool::set_attribute(pool, attribute, (&raw mut threshold).cast())?;
        Ok(Pool(pool))
    }
}

impl Drop for Gpu {
    fn drop(&mut self) {
        // Without its context, or after a fault, nothing can be given back but by the end of the process.
        if self.bind().is_err() || self.stream.synchronize().is_err() {
            return;
        }
        let staging = self.staging.get_mut().unwrap_or_else(PoisonError::into_inner);
        let kernels = self.kernels.get_mut().unwrap_or_else(PoisonError::into_inner);
        // SAFETY: all of it is this device's own, everything queued is over, and the context is current. Errors change nothing.
        unsafe {
            staging.free();
            for (_, module) in kernels.modules.drain() {
                let _ = result::module::unload(module.0);
            }
            let _ = result::free_host(self.report.host.cast());
            let _ = result::mem_pool::trim_to(self.pool.0, 0);
        }
    }
}

impl Driver for Gpu {
    fn allocate(&self, bytes: usize) -> Result<Address, Trouble> {
        self.bind()?;
        let (stream, bytes) = (self.stream.cu_stream(), bytes.max(1));
        // SAFETY: the memory is zeroed in the stream's order before anyone has its address; all uses are on this stream.
        unsafe {
            let at = result::malloc_async(stream, bytes)?;
            result::memset_d8_async(at, 0, bytes, stream).inspect_err(|_| self.free(at))?;
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
        let mut staging = self.staging.lock().unwrap_or_else(PoisonError::into_inner);
        // SAFETY: the context is current; the rest is the caller's promise.
        Ok(unsafe { staging.copy(to, bytes, self.stream.cu_stream()) }?)
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
