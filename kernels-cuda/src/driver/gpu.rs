//! A device behind NVIDIA's driver: one context, one stream, memory in the stream's order.

use super::staging::Staging;
use super::{Address, Boxes, Device, Launched, Trouble};
use crate::compile::{self, Target};
use crate::params::Report;
use crate::source::Source;
use cudarc::driver::{CudaContext, CudaStream, DriverError, result, sys};
use kernels::DType;
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

/// What has been loaded: modules by what they are of, kernels by their name.
#[derive(Default)]
struct Kernels {
    modules: HashMap<&'static str, Module>,
    functions: HashMap<&'static str, Function>,
}

/// Kernels that are loaded together. Unloaded with the device.
#[derive(Clone, Copy)]
struct Module(sys::CUmodule);

/// A kernel of a loaded module, and the bytes of shared memory it is launched with.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Function {
    handle: sys::CUfunction,
    shared: u32,
}

/// Kernels one after the other, ready to be started, and what they were made of, whose nodes name them.
pub(crate) struct Graph {
    ready: sys::CUgraphExec,
    made_of: sys::CUgraph,
    nodes: Vec<sys::CUgraphNode>,
    context: Arc<CudaContext>,
}

// SAFETY: handles the driver takes from any thread, one at a time.
unsafe impl Send for Graph {}

impl Drop for Graph {
    fn drop(&mut self) {
        if self.context.bind_to_thread().is_ok() {
            // SAFETY: this graph's own, unless it could not be made, and not under way. Errors mean that the device is lost.
            unsafe {
                if !self.ready.is_null() {
                    let _ = sys::cuGraphExecDestroy(self.ready);
                }
                if !self.made_of.is_null() {
                    let _ = sys::cuGraphDestroy(self.made_of);
                }
            }
        }
    }
}

/// A launch as the driver takes it for a graph; it copies the parameters.
fn node(launch: &Launched<'_, Function>, params: &mut [*mut c_void; 1]) -> sys::CUDA_KERNEL_NODE_PARAMS {
    params[0] = launch.params.as_ptr().cast_mut().cast();
    sys::CUDA_KERNEL_NODE_PARAMS {
        func: launch.kernel.handle,
        gridDimX: launch.blocks,
        gridDimY: 1,
        gridDimZ: 1,
        blockDimX: launch.threads,
        blockDimY: 1,
        blockDimZ: 1,
        sharedMemBytes: launch.kernel.shared,
        kernelParams: params.as_mut_ptr(),
        extra: std::ptr::null_mut(),
        kern: std::ptr::null_mut(),
        ctx: std::ptr::null_mut(),
    }
}

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

impl Device for Gpu {
    type Kernel = Function;
    type Graph = Graph;

    fn kernel(&self, source: &'static Source, name: &'static str) -> Result<Function, Trouble> {
        self.bind()?;
        let mut kernels = self.kernels.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(&function) = kernels.functions.get(name) {
            return Ok(function);
        }
        let unit = compile::unit(source, name);
        let module = match kernels.modules.get(unit) {
            Some(&module) => module,
            None => {
                let cubin = compile::machine_code(source, name, self.target).map_err(Trouble::Failed)?;
                // SAFETY: the context is current; the image is whole, as NVRTC made it, and copied by the call.
                let loaded = unsafe { result::module::load_data(cubin.as_ptr().cast()) };
                let module = Module(loaded.map_err(|error| named(&format!("loading {unit}"), error))?);
                kernels.modules.insert(unit, module);
                module
            }
        };
        let symbol = CString::new(name).map_err(|error| Trouble::Failed(error.to_string()))?;
        // SAFETY: the module stays loaded as long as the device is.
        let function = unsafe { result::module::get_function(module.0, symbol) };
        let handle = function.map_err(|error| named(name, error))?;
        let shared = source.hopper.unwrap_or(0);
        if shared > 0 {
            let most = sys::CUfunction_attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
            // SAFETY: a kernel found above.
            unsafe { result::function::set_function_attribute(handle, most, shared as i32) }
                .map_err(|error| named(name, error))?;
        }
        let function = Function { handle, shared };
        kernels.functions.insert(name, function);
        Ok(function)
    }

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

    unsafe fn launch(&self, launch: &Launched<'_, Function>) -> Result<(), Trouble> {
        self.bind()?;
        let params = launch.params.as_ptr().cast_mut().cast::<c_void>();
        let (blocks, threads) = ((launch.blocks, 1, 1), (launch.threads, 1, 1));
        let stream = self.stream.cu_stream();
        // SAFETY: the caller's promise; the driver copies the parameters before the call is back.
        Ok(unsafe { result::launch_kernel(launch.kernel.handle, blocks, threads, launch.kernel.shared, stream, &mut [params]) }?)
    }

    fn boxes(&self, boxes: &Boxes) -> Result<[u64; 16], Trouble> {
        self.bind()?;
        let element = match boxes.dtype {
            DType::Bf16 => sys::CUtensorMapDataType::CU_TENSOR_MAP_DATA_TYPE_BFLOAT16,
            DType::F16 => sys::CUtensorMapDataType::CU_TENSOR_MAP_DATA_TYPE_FLOAT16,
            _ => sys::CUtensorMapDataType::CU_TENSOR_MAP_DATA_TYPE_UINT8,
        };
        let first = boxes.first as *mut c_void;
        let (size, strides) = ([boxes.length, boxes.lines].map(u64::from), [boxes.line_bytes]);
        let (of_box, steps) = ([boxes.box_length, boxes.box_lines], [1u32; 2]);
        let (interleave, swizzle) =
            (sys::CUtensorMapInterleave::CU_TENSOR_MAP_INTERLEAVE_NONE, sys::CUtensorMapSwizzle::CU_TENSOR_MAP_SWIZZLE_128B);
        let cached = sys::CUtensorMapL2promotion::CU_TENSOR_MAP_L2_PROMOTION_L2_256B;
        let outside = sys::CUtensorMapFloatOOBfill::CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE;
        let mut map = sys::CUtensorMap { opaque: [0; 16] };
        // SAFETY: two dimensions, of which one stride, as said; writes one map.
        let made = unsafe {
            let (size, strides, of_box, steps) = (size.as_ptr(), strides.as_ptr(), of_box.as_ptr(), steps.as_ptr());
            sys::cuTensorMapEncodeTiled(
                &mut map, element, 2, first, size, strides, of_box, steps, interleave, swizzle, cached, outside,
            )
        };
        made.result().map_err(|error| named("boxes of a matrix", error))?;
        Ok(map.opaque)
    }

    unsafe fn graph(&self, launches: &[Launched<'_, Function>]) -> Result<Graph, Trouble> {
        self.bind()?;
        let (ready, made_of, nodes) = (std::ptr::null_mut(), std::ptr::null_mut(), Vec::with_capacity(launches.len()));
        let mut graph = Graph { ready, made_of, nodes, context: self.stream.context().clone() };
        // SAFETY: the context is current; writes one handle.
        unsafe { sys::cuGraphCreate(&mut graph.made_of, 0) }.result()?;
        for launch in launches {
            let (mut made, mut params) = (std::ptr::null_mut(), [std::ptr::null_mut()]);
            let (before, node) = (graph.nodes.last(), node(launch, &mut params));
            let (after, count) = (before.map_or(std::ptr::null(), |node| &raw const *node), before.iter().len());
            // SAFETY: a graph and a node of it made above; the caller's promise; the driver copies the parameters.
            unsafe { sys::cuGraphAddKernelNode_v2(&mut made, graph.made_of, after, count, &node) }.result()?;
            graph.nodes.push(made);
        }
        // SAFETY: a graph made above; writes one handle.
        unsafe { sys::cuGraphInstantiateWithFlags(&mut graph.ready, graph.made_of, 0) }.result()?;
        Ok(graph)
    }

    unsafe fn update(&self, graph: &mut Graph, index: usize, launch: &Launched<'_, Function>) -> Result<(), Trouble> {
        self.bind()?;
        let mut params = [std::ptr::null_mut()];
        let node = node(launch, &mut params);
        // SAFETY: the graph's own node; the caller's promise; the driver copies the parameters, and starts under way keep theirs.
        Ok(unsafe { sys::cuGraphExecKernelNodeSetParams_v2(graph.ready, graph.nodes[index], &node) }.result()?)
    }

    unsafe fn start(&self, graph: &Graph) -> Result<(), Trouble> {
        self.bind()?;
        // SAFETY: the caller's promise.
        Ok(unsafe { result::graph::launch(graph.ready, self.stream.cu_stream()) }?)
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

#[cfg(all(test, feature = "emulation"))]
mod tests {
    use super::*;
    use std::path::PathBuf;
    use std::process::Command;

    /// Says what a process of this test is to do.
    const INSIDE: &str = "SIZEWISE_CUDA_INSIDE";

    /// Unloads a kernel's module while a graph has the kernel, or after that.
    fn unload(while_used: bool) {
        let gpu = Gpu::new(&CudaContext::new(0).unwrap()).unwrap();
        // SAFETY: images and names that the stand-in has; the graph is never started. What is misused, the stand-in does not go on with.
        unsafe {
            let module = result::module::load_data(c"stand-in fill".as_ptr().cast()).unwrap();
            let handle = result::module::get_function(module, c"fill_4".to_owned()).unwrap();
            let kernel = Function { handle, shared: 0 };
            let params = crate::params::FillParams::default();
            let launch = Launched { kernel, blocks: 1, threads: 256, params: bytemuck::bytes_of(&params) };
            let graph = gpu.graph(&[launch]).unwrap();
            if while_used {
                result::module::unload(module).unwrap();
            }
            drop(graph);
            result::module::unload(module).unwrap();
        }
    }

    #[test]
    fn a_module_that_goes_before_its_graph_is_seen() {
        const NAME: &str = "driver::gpu::tests::a_module_that_goes_before_its_graph_is_seen";
        if let Ok(inside) = std::env::var(INSIDE) {
            return unload(inside == "while used");
        }
        let folder = PathBuf::from(env!("SIZEWISE_CUDA_STAND_IN"));
        let process = |inside: &str| {
            let mut command = Command::new(std::env::current_exe().unwrap());
            command.args([NAME, "--exact", "--nocapture"]).env(INSIDE, inside).env("LD_LIBRARY_PATH", &folder).output().unwrap()
        };
        let [wrong, right] = ["while used", "afterwards"].map(process);
        let said = String::from_utf8_lossy(&wrong.stderr);
        assert!(wrong.status.code() == Some(97) && said.contains("unloaded while a graph has a kernel of it"), "{wrong:?}");
        assert!(right.status.success(), "{right:?}");
    }
}
