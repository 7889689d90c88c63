//! Opening a device, or saying why there is none.

use crate::NAME;
use crate::compile;
use crate::driver::Driver;
use crate::driver::absent::Absent;
use crate::driver::gpu::Gpu;
use crate::driver::library::{self, version_text};
use crate::driver::recorded::{LaunchCounts, Recorded};
use crate::memory::Storage;
use crate::queue::Queue;
use crate::rope::Frequencies;
use cudarc::driver::{CudaContext, DriverError, result, sys};
use kernels::{Backend, DeviceId, DeviceInfo, Error, Result, SupportRow};
use std::sync::{Arc, Mutex};

/// One NVIDIA GPU, with one stream.
pub struct CudaBackend {
    id: DeviceId,
    info: DeviceInfo,
    pub(crate) queue: Queue,
    pub(crate) scratch: Mutex<Option<Storage>>,
    pub(crate) frequencies: Frequencies,
}

fn unavailable(reason: impl Into<String>, remedy: impl Into<String>) -> Error {
    Error::Unavailable { backend: NAME, reason: reason.into(), remedy: remedy.into() }
}

impl CudaBackend {
    /// Opens a device: `device` is its index as the driver counts them (after `CUDA_VISIBLE_DEVICES`), or a part of its name in any
    /// case; without it, the first.
    ///
    /// # Errors
    /// `Unavailable` if there is no driver, no NVRTC, no such device, the device is older than sm_80, or it cannot be opened.
    pub fn new(device: Option<&str>) -> Result<Self> {
        let driver = library::version().map_err(|reason| {
            unavailable(reason, "install the NVIDIA driver for this GPU (580 or newer for CUDA 13), or run with `--backend cpu`")
        })?;
        let names = device_names().map_err(|error| driver_error("listing devices", &error))?;
        let ordinal = position(&names, device).ok_or_else(|| {
            let listed: Vec<_> = names.iter().enumerate().map(|(at, name)| format!("{at}: {name}")).collect();
            unavailable(
                format!("no device is `{}`; the driver lists {}", device.unwrap_or("0"), listed.join(", ")),
                "choose one of these by its index or a part of its name (`--device`), check `nvidia-smi` and CUDA_VISIBLE_DEVICES, or \
                 run with `--backend cpu`",
            )
        })?;
        let name = &names[ordinal];
        let context = CudaContext::new(ordinal).map_err(|error| driver_error("opening the device", &error))?;
        let memory_bytes = context.total_mem().map_err(|error| driver_error("reading the device's memory", &error))? as u64;
        let (major, minor) =
            context.compute_capability().map_err(|error| driver_error("reading the compute capability", &error))?;
        if major < 8 {
            return Err(unavailable(
                format!("{name} is of compute capability {major}.{minor}; the kernels need 8.0 (Ampere) or newer"),
                "run with `--backend wgpu` or `--backend cpu`",
            ));
        }
        compile::ensure_kernels(driver).map_err(|reason| unavailable(reason, "as said, or run with `--backend cpu`"))?;
        let units = context
            .attribute(sys::CUdevice_attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)
            .map_err(|error| driver_error("reading the number of multiprocessors", &error))?;
        let gpu = Gpu::new(&context).map_err(|error| driver_error("setting up the stream", &error))?;
        let info = DeviceInfo {
            name: name.clone(),
            driver: version_text(driver),
            features: format!("sm_{major}{minor}"),
            threads: units.max(0) as usize,
            memory_bytes,
            software: false,
        };
        Ok(CudaBackend::on(info, Arc::new(Recorded::new(gpu))))
    }

    /// The kernels on the CPU: for tests of what they compute, hundreds of times slower than any device.
    #[cfg(feature = "emulation")]
    pub fn emulated() -> Self {
        let info = DeviceInfo {
            name: "CUDA emulated on the CPU".to_owned(),
            features: "emulation".to_owned(),
            threads: 1,
            software: true,
            ..DeviceInfo::default()
        };
        CudaBackend::on(info, Arc::new(Recorded::new(crate::driver::emulated::Emulated::default())))
    }

    /// What has been given to the device since it was opened: kernels, and the graphs most of them came in.
    pub fn launch_counts(&self) -> LaunchCounts {
        self.queue.driver().launch_counts()
    }

    fn on(info: DeviceInfo, driver: Arc<dyn Driver>) -> Self {
        let id = DeviceId::unique();
        CudaBackend { id, info, queue: Queue::new(driver), scratch: Mutex::default(), frequencies: Frequencies::default() }
    }
}

/// What [`kernels::support_table`] says of every device, without one.
pub fn support_table() -> Vec<SupportRow> {
    kernels::support_table(&CudaBackend::on(DeviceInfo::default(), Arc::new(Absent)))
}

/// Names of the devices, in the driver's order.
fn device_names() -> std::result::Result<Vec<String>, DriverError> {
    let count = CudaContext::device_count()?;
    (0..count).map(|ordinal| result::device::get_name(result::device::get(ordinal)?)).collect()
}

/// The device that an index or a part of a name means.
fn position(names: &[String], wanted: Option<&str>) -> Option<usize> {
    let wanted = wanted.unwrap_or("0").to_lowercase();
    match wanted.parse() {
        Ok(index) => (0..names.len()).find(|&at| at == index),
        Err(_) => names.iter().position(|name| name.to_lowercase().contains(&wanted)),
    }
}

fn driver_error(what: &str, error: &DriverError) -> Error {
    unavailable(
        format!("{what} failed: {error}"),
        "check `nvidia-smi`; a driver older than CUDA 13 (580) must be updated; or run with `--backend cpu`",
    )
}

impl Backend for CudaBackend {
    fn id(&self) -> DeviceId {
        self.id
    }
    fn name(&self) -> &'static str {
        NAME
    }
    fn info(&self) -> &DeviceInfo {
        &self.info
    }
}
