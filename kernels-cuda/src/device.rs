//! Opening a device, or saying why there is none.

use crate::driver::absent::Absent;
use crate::driver::gpu::Gpu;
use crate::driver::library::{self, version_text};
use crate::driver::recorded::{LaunchCounts, Recorded};
use crate::driver::{Device, Driver, Trouble};
use crate::memory::Storage;
use crate::product::Products;
use crate::queue::Queue;
use crate::rope::Frequencies;
use crate::{NAME, compile, fill};
use cudarc::driver::{CudaContext, DriverError, result, sys};
use kernels::{Backend, DeviceId, DeviceInfo, Error, Result, SupportRow};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

/// One NVIDIA GPU, with one stream.
pub struct CudaBackend {
    id: DeviceId,
    info: DeviceInfo,
    pub(crate) queue: Queue,
    pub(crate) scratch: Mutex<Option<Storage>>,
    pub(crate) frequencies: Frequencies,
    pub(crate) products: Products,
    pub(crate) hopper_products: AtomicU64,
}

fn unavailable(reason: impl Into<String>, remedy: impl Into<String>) -> Error {
    Error::Unavailable { backend: NAME, reason: reason.into(), remedy: remedy.into() }
}

impl CudaBackend {
    /// Opens a device: `device` is its index as the driver counts them (after `CUDA_VISIBLE_DEVICES`), or else a part of its name in any
    /// case, a whole word if it is a number; of several devices, the first. Without it, the first of all.
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
        if compile::is_packaged() {
            // Now, as the first op could only call it a fault: the package may be older than the device, or newer than the driver.
            gpu.kernel(&fill::SOURCE, "fill_1").map_err(|trouble| {
                let why = match trouble {
                    Trouble::OutOfMemory => "the device has no memory left".to_owned(),
                    Trouble::Failed(why) => why,
                };
                let remedy =
                    "install the newest driver, unset SIZEWISE_CUDA_KERNELS to compile with NVRTC, or run with `--backend cpu`";
                unavailable(format!("the packaged kernels cannot be loaded: {why}"), remedy)
            })?;
        }
        let info = DeviceInfo {
            name: name.clone(),
            driver: version_text(driver),
            features: format!("sm_{major}{minor}"),
            threads: units.max(0) as usize,
            memory_bytes,
            software: false,
        };
        let recorded = Recorded::new(gpu).map_err(|reason| unavailable(reason, "as said, or run with `--backend cpu`"))?;
        let products = Products::chosen((major, minor) == (9, 0))
            .map_err(|reason| unavailable(reason, "unset it, or run with `--backend cpu`"))?;
        Ok(CudaBackend { products, ..CudaBackend::on(info, Arc::new(recorded)) })
    }

    /// The kernels on the CPU: for tests of what they compute, hundreds of times slower than any device.
    ///
    /// # Panics
    /// If `SIZEWISE_CUDA_GRAPHS` has no meaning.
    #[cfg(feature = "emulation")]
    pub fn emulated() -> Self {
        let info = DeviceInfo {
            name: "CUDA emulated on the CPU".to_owned(),
            features: "emulation".to_owned(),
            threads: 1,
            software: true,
            ..DeviceInfo::default()
        };
        let recorded = Recorded::new(crate::driver::emulated::Emulated::default()).unwrap_or_else(|why| panic!("{why}"));
        CudaBackend::on(info, Arc::new(recorded))
    }

    /// The same device with these kernels for products. [`Products::Hopper`] and [`Products::AutoHopper`] are for devices of compute
    /// capability 9.0 and the emulation; on others such a product is a fault.
    pub fn with_products(self, products: Products) -> Self {
        CudaBackend { products, ..self }
    }

    /// What has been given to the device since it was opened: kernels, and the graphs most of them came in.
    pub fn launch_counts(&self) -> LaunchCounts {
        self.queue.driver().launch_counts()
    }

    /// Products that went to Hopper's own tensor cores since the device was opened.
    pub fn hopper_products(&self) -> u64 {
        self.hopper_products.load(Relaxed)
    }

    fn on(info: DeviceInfo, driver: Arc<dyn Driver>) -> Self {
        let id = DeviceId::unique();
        CudaBackend {
            id,
            info,
            queue: Queue::new(driver),
            scratch: Mutex::default(),
            frequencies: Frequencies::default(),
            products: Products::default(),
            hopper_products: AtomicU64::new(0),
        }
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

/// The device that an index means, or a part of a name, the first of several. A number that is no index is a whole word of a name.
fn position(names: &[String], wanted: Option<&str>) -> Option<usize> {
    let wanted = wanted.unwrap_or("0").to_lowercase();
    let number = wanted.parse().ok();
    number.filter(|&index| index < names.len()).or_else(|| {
        names.iter().map(|name| name.to_lowercase()).position(|name| match number {
            Some(_) => name.split_whitespace().any(|word| word == wanted),
            None => !wanted.is_empty() && name.contains(&wanted),
        })
    })
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

#[cfg(test)]
mod tests {
    use super::position;

    #[test]
    fn a_device_is_meant_by_its_index_or_a_part_of_its_name() {
        let names = ["NVIDIA H200", "NVIDIA GeForce RTX 4090"].map(String::from);
        let means = |word| position(&names, word);
        assert_eq!([None, Some("0"), Some("1"), Some("4090"), Some("geforce")].map(means), [0, 0, 1, 1, 1].map(Some));
        assert_eq!([Some("2"), Some(""), Some("-1"), Some("A100")].map(means), [None; 4]);
    }
}
