//! NVIDIA's driver library: whether it is there, and new enough.

use cudarc::driver::sys;

/// CUDA 12.0, whose driver has all of [`ENTRY_POINTS`].
const OLDEST: i32 = 12_000;

/// What is asked of the library, by this crate and by cudarc on its behalf, which panics where one is missing.
const ENTRY_POINTS: &[&str] = &[
    "cuCtxGetCurrent",
    "cuCtxSetCurrent",
    "cuCtxSynchronize",
    "cuDeviceGet",
    "cuDeviceGetAttribute",
    "cuDeviceGetCount",
    "cuDeviceGetDefaultMemPool",
    "cuDeviceGetName",
    "cuDevicePrimaryCtxRelease_v2",
    "cuDevicePrimaryCtxRetain",
    "cuDeviceTotalMem_v2",
    "cuDriverGetVersion",
    "cuEventCreate",
    "cuEventDestroy_v2",
    "cuEventRecord",
    "cuEventSynchronize",
    "cuFuncSetAttribute",
    "cuGetErrorString",
    "cuGraphAddKernelNode_v2",
    "cuGraphCreate",
    "cuGraphDestroy",
    "cuGraphExecDestroy",
    "cuGraphExecKernelNodeSetParams_v2",
    "cuGraphInstantiateWithFlags",
    "cuGraphLaunch",
    "cuInit",
    "cuLaunchKernel",
    "cuMemAllocAsync",
    "cuMemFreeAsync",
    "cuMemFreeHost",
    "cuMemHostAlloc",
    "cuMemHostGetDevicePointer_v2",
    "cuMemPoolSetAttribute",
    "cuMemPoolTrimTo",
    "cuMemcpyDtoHAsync_v2",
    "cuMemcpyHtoDAsync_v2",
    "cuMemsetD8Async",
    "cuModuleGetFunction",
    "cuModuleLoadData",
    "cuModuleUnload",
    "cuStreamCreate",
    "cuStreamDestroy_v2",
    "cuStreamSynchronize",
    "cuTensorMapEncodeTiled",
];

/// CUDA's version as drivers and compilers say it: 1000 times the major one and 10 times the minor one.
pub(crate) fn version_text(version: i32) -> String {
    format!("CUDA {}.{}", version / 1000, version % 1000 / 10)
}

/// The driver's version.
///
/// # Errors
/// Why the library cannot be used.
pub(crate) fn version() -> Result<i32, String> {
    // cudarc panics on the first call when the library is missing, so its presence is asked first.
    // SAFETY: only tries to load the library, whose initialisers are NVIDIA's own.
    if !unsafe { sys::is_culib_present() } {
        return Err("no NVIDIA driver library (libcuda) is installed".to_owned());
    }
    // SAFETY: as above.
    let library = unsafe { sys::culib() };
    // SAFETY: looked up, never called by this type.
    let missing = |name: &&&str| unsafe { library.get::<unsafe extern "C" fn()>(name.as_bytes()) }.is_err();
    if let Some(name) = ENTRY_POINTS.iter().find(missing) {
        return Err(format!("the NVIDIA driver library (libcuda) is too old: it has no {name}"));
    }
    let mut version = 0;
    // SAFETY: writes one integer.
    match unsafe { sys::cuDriverGetVersion(&mut version) } {
        sys::CUresult::CUDA_SUCCESS if version < OLDEST => {
            Err(format!("the NVIDIA driver is of {}; {} or newer is needed", version_text(version), version_text(OLDEST)))
        }
        sys::CUresult::CUDA_SUCCESS => Ok(version),
        error => Err(format!("the NVIDIA driver does not say its version: {error:?}")),
    }
}
