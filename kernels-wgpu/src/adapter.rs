//! Choosing and opening an adapter, or saying why there is none.

use crate::cache::{Cache, notice};
use crate::fault::Faults;
use crate::measured::Measured;
use crate::memory::Counters;
use crate::pipeline_cache::Compilations;
use crate::queue::Queue;
use crate::rope::Frequencies;
use crate::tune::KEPT;
use crate::tuning::{Class, Tuning, VARIABLE};
use crate::{NAME, WgpuBackend};
use kernels::{DeviceId, DeviceInfo, Error, Result};
use std::sync::Arc;
use wgpu::{Adapter, Backends, DeviceDescriptor, DeviceType, Features, Instance, InstanceDescriptor, Limits, MemoryHints};

const REMEDY: &str = "install a GPU driver with Vulkan (Linux), use macOS for Metal or Windows for DX12; without a GPU a software \
                      driver does: Debian and Ubuntu `apt-get install mesa-vulkan-drivers libvulkan1`, Fedora `dnf install \
                      mesa-vulkan-drivers vulkan-loader`, Arch `pacman -S vulkan-swrast vulkan-icd-loader`; or run with \
                      `--backend cpu`";

fn unavailable(reason: impl Into<String>, remedy: impl Into<String>) -> Error {
    Error::Unavailable { backend: NAME, reason: reason.into(), remedy: remedy.into() }
}

impl WgpuBackend {
    /// Opens an adapter: `device` is its index in the order the drivers list them, or a part of its name in any case. Without it the
    /// environment variable `WGPU_ADAPTER_NAME` chooses by name; without that, the best adapter: discrete before integrated before
    /// virtual GPUs, software last.
    ///
    /// # Errors
    /// `Unavailable` if no driver offers an adapter, none is meant by `device`, or the device cannot be opened.
    pub fn new(device: Option<&str>) -> Result<Self> {
        let (adapter, forced) = (adapter(device)?, forced());
        open(&adapter, &forced, Cache::of(&adapter.get_info(), &forced))
    }
}

/// The adapter that `device` means, as for [`WgpuBackend::new`].
///
/// # Errors
/// `Unavailable`.
pub(crate) fn adapter(device: Option<&str>) -> Result<Adapter> {
    let instance = Instance::new(InstanceDescriptor::new_without_display_handle_from_env());
    let adapters = pollster::block_on(instance.enumerate_adapters(Backends::PRIMARY));
    let wanted = match device {
        Some(device) => Some(device.to_owned()),
        None => std::env::var("WGPU_ADAPTER_NAME").ok().filter(|name| !name.is_empty()),
    };
    choose(adapters, wanted.as_deref())
}

/// The paths that the environment forces.
pub(crate) fn forced() -> String {
    std::env::var(VARIABLE).unwrap_or_default()
}

fn choose(adapters: Vec<Adapter>, wanted: Option<&str>) -> Result<Adapter> {
    if adapters.is_empty() {
        return Err(unavailable("no Vulkan, Metal or DX12 driver offers an adapter", REMEDY));
    }
    let names: Vec<String> = adapters.iter().map(|adapter| adapter.get_info().name).collect();
    let chosen = match wanted {
        None => (0..adapters.len()).min_by_key(|&at| rank(adapters[at].get_info().device_type)),
        Some(wanted) => position(&names, wanted),
    };
    chosen.and_then(|at| adapters.into_iter().nth(at)).ok_or_else(|| {
        let listed: Vec<_> = names.iter().enumerate().map(|(at, name)| format!("{at}: {name}")).collect();
        let reason = format!("no adapter is `{}`; there are {}", wanted.unwrap_or_default(), listed.join(", "));
        unavailable(reason, "choose one of these by its index or a part of its name (`--device`, WGPU_ADAPTER_NAME)")
    })
}

/// The adapter an index or a part of a name means.
fn position(names: &[String], wanted: &str) -> Option<usize> {
    if let Ok(index) = wanted.parse::<usize>() {
        return (index < names.len()).then_some(index);
    }
    let wanted = wanted.to_lowercase();
    names.iter().position(|name| name.to_lowercase().contains(&wanted))
}

/// Better kinds of device have lower ranks.
fn rank(kind: DeviceType) -> u8 {
    match kind {
        DeviceType::DiscreteGpu => 0,
        DeviceType::IntegratedGpu => 1,
        DeviceType::VirtualGpu => 2,
        DeviceType::Other => 3,
        DeviceType::Cpu => 4,
    }
}

/// Opens an adapter with paths forced on it, and what is kept about it.
///
/// # Errors
/// `Unavailable`; `Value` for words that force nothing.
pub(crate) fn open(adapter: &Adapter, forced: &str, cache: Cache) -> Result<WgpuBackend> {
    open_within(adapter, adapter.limits(), forced, cache)
}

/// As [`open`], asking for these limits only.
///
/// # Errors
/// Those of [`open`].
pub(crate) fn open_within(adapter: &Adapter, limits: Limits, forced: &str, cache: Cache) -> Result<WgpuBackend> {
    let about = adapter.get_info();
    let features = adapter.features() & (Features::SUBGROUP | Features::PIPELINE_CACHE);
    let descriptor = DeviceDescriptor {
        required_features: features,
        label: Some(NAME),
        required_limits: limits.clone(),
        memory_hints: MemoryHints::Performance,
        ..DeviceDescriptor::default()
    };
    let (device, queue) = pollster::block_on(adapter.request_device(&descriptor)).map_err(|error| {
        unavailable(format!("{} cannot be opened: {error}", about.name), "update its driver, or choose another with `--device`")
    })?;
    let faults = Faults::default();
    let (of_errors, of_loss) = (faults.clone(), faults.clone());
    device.on_uncaptured_error(Arc::new(move |error: wgpu::Error| of_errors.report(error.to_string())));
    device.set_device_lost_callback(move |reason, what| of_loss.report(format!("the device was lost ({reason:?}): {what}")));
    let class = Class {
        software: about.device_type == DeviceType::Cpu,
        subgroups: features.contains(Features::SUBGROUP).then_some((about.subgroup_min_size, about.subgroup_max_size)),
    };
    let mut tuning = Tuning::new(&limits, class, forced)?;
    let kept = cache.load(KEPT);
    let measured = kept.as_deref().and_then(|text| Measured::read(text, |tile| tuning.can(tile)));
    match (&kept, measured) {
        (Some(_), Some(measured)) => tuning.measured = measured,
        (Some(_), None) => notice("the tiles measured on this device are left aside: they are none it has"),
        (None, _) => (),
    }
    faults.quarantine(&about.name, tuning.unusable());
    let interface = format!("{:?}", about.backend).to_lowercase();
    let info = DeviceInfo {
        name: about.name,
        driver: format!("{} {}", about.driver, about.driver_info).trim().to_owned(),
        features: if tuning.measured == Measured::default() { interface } else { format!("{interface}, measured tiles") },
        software: class.software,
        ..DeviceInfo::default()
    };
    let counters = Counters::default();
    let compilations = Compilations::new(&device, cache.clone());
    let queue = Queue::new(device, queue, limits, faults, counters.clone(), compilations, tuning.broken);
    Ok(WgpuBackend { id: DeviceId::unique(), info, queue, counters, tuning, cache, frequencies: Frequencies::default() })
}

#[cfg(test)]
mod tests {
    use super::position;

    #[test]
    fn adapters_are_named_by_index_or_part_of_their_name() {
        let names = ["NVIDIA H200".to_owned(), "llvmpipe (LLVM 15.0.6, 256 bits)".to_owned()];
        assert_eq!(position(&names, "1"), Some(1));
        assert_eq!(position(&names, "LLVMpipe"), Some(1));
        assert_eq!(position(&names, "nvidia"), Some(0));
        assert_eq!(position(&names, "2"), None);
        assert_eq!(position(&names, "radeon"), None);
    }
}
