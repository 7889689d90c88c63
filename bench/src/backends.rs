//! The registry: the only place that knows which backends exist. A new backend adds one entry.

use crate::report::Limits;
use kernels::{Backend, SupportRow};
use std::sync::Arc;

/// What the caller asks of a backend.
#[derive(Clone, Debug, Default)]
pub struct Choice {
    /// Worker threads of CPU backends; all cores if `None`.
    pub threads: Option<usize>,
    /// Index or part of the name of the device, where a backend has several.
    pub device: Option<String>,
}

/// Why a backend cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// No backend of this name exists.
    #[error("there is no backend `{0}`; there are: {names}", names = NAMES.join(", "))]
    Unknown(String),
    /// This program was built without it.
    #[error(
        "backend {0} is not compiled into this program\n  remedy: cargo xtask bench --backend {0}   (or build with: cargo build --release -p bench --features {0})"
    )]
    NotCompiled(&'static str),
    /// The backend itself said no.
    #[error(transparent)]
    Backend(#[from] kernels::Error),
}

type Open = fn(&Choice) -> Result<Arc<dyn Backend>, OpenError>;

const BACKENDS: &[(&str, Open)] = &[("cpu", cpu), ("wgpu", wgpu), ("cuda", cuda)];

/// Names of all backends, compiled in or not.
pub const NAMES: [&str; 3] = ["cpu", "wgpu", "cuda"];

/// Whether a backend chooses among devices, so that [`Choice::device`] means something to it.
pub fn has_devices(name: &str) -> bool {
    name != "cpu"
}

/// The device that a run on these backends is asked to use: by `--device`, or for wgpu by its own variable.
pub fn device_asked_for(names: &[String], choice: &Choice) -> Option<String> {
    let variable = || std::env::var("WGPU_ADAPTER_NAME").ok().filter(|name| !name.is_empty());
    choice.device.clone().or_else(|| names.iter().any(|name| name == "wgpu").then(variable).flatten())
}

/// Opens a backend by name.
///
/// # Errors
/// [`OpenError`], each with what the user can do.
pub fn open(name: &str, choice: &Choice) -> Result<Arc<dyn Backend>, OpenError> {
    match BACKENDS.iter().find(|(known, _)| *known == name) {
        Some((_, open)) => open(choice),
        None => Err(OpenError::Unknown(name.into())),
    }
}

#[cfg(feature = "cpu")]
fn cpu(choice: &Choice) -> Result<Arc<dyn Backend>, OpenError> {
    let mut builder = kernels_cpu::CpuBackend::builder();
    if let Some(threads) = choice.threads {
        builder = builder.threads(threads);
    }
    Ok(Arc::new(builder.build()?))
}

#[cfg(not(feature = "cpu"))]
fn cpu(_choice: &Choice) -> Result<Arc<dyn Backend>, OpenError> {
    Err(OpenError::NotCompiled("cpu"))
}

/// Measured limits of the CPU under the same settings: arithmetic peaks and memory bandwidth. Takes about a second.
///
/// # Errors
/// Those of opening the backend; [`OpenError::NotCompiled`] without it.
#[cfg(feature = "cpu")]
pub fn cpu_limits(choice: &Choice) -> Result<Limits, OpenError> {
    let mut builder = kernels_cpu::CpuBackend::builder();
    if let Some(threads) = choice.threads {
        builder = builder.threads(threads);
    }
    let cpu = builder.build()?;
    let measured = kernels_cpu::measure_limits(cpu.isa(), &[cpu.threads()])?;
    Ok(measured.first().map_or(Limits::default(), |limits| Limits {
        peak_f32_gflop_per_s: Some(limits.peak_f32_gflop_per_s),
        peak_bf16_gflop_per_s: Some(limits.peak_bf16_gflop_per_s),
        peak_int8_gflop_per_s: Some(limits.peak_int8_gop_per_s),
        bandwidth_gb_per_s: Some(limits.bandwidth_gb_per_s.max(limits.bandwidth_small_pages_gb_per_s)),
        bandwidth_small_pages_gb_per_s: Some(limits.bandwidth_small_pages_gb_per_s),
    }))
}

/// Measured limits of the CPU; this program was built without it.
///
/// # Errors
/// [`OpenError::NotCompiled`].
#[cfg(not(feature = "cpu"))]
pub fn cpu_limits(_choice: &Choice) -> Result<Limits, OpenError> {
    Err(OpenError::NotCompiled("cpu"))
}

#[cfg(feature = "wgpu")]
fn wgpu(choice: &Choice) -> Result<Arc<dyn Backend>, OpenError> {
    Ok(Arc::new(kernels_wgpu::WgpuBackend::new(choice.device.as_deref())?.tested()?))
}

#[cfg(not(feature = "wgpu"))]
fn wgpu(_choice: &Choice) -> Result<Arc<dyn Backend>, OpenError> {
    Err(OpenError::NotCompiled("wgpu"))
}

#[cfg(feature = "cuda")]
fn cuda(choice: &Choice) -> Result<Arc<dyn Backend>, OpenError> {
    Ok(Arc::new(kernels_cuda::CudaBackend::new(choice.device.as_deref())?))
}

#[cfg(not(feature = "cuda"))]
fn cuda(_choice: &Choice) -> Result<Arc<dyn Backend>, OpenError> {
    Err(OpenError::NotCompiled("cuda"))
}

/// Tests the device of an open backend anew, where the backend keeps verdicts on devices; ops that fail are refused from then on.
///
/// # Errors
/// A fault of the device.
#[cfg(feature = "wgpu")]
pub fn test_again(on: &dyn Backend) -> kernels::Result<()> {
    match (on as &dyn std::any::Any).downcast_ref::<kernels_wgpu::WgpuBackend>() {
        Some(gpu) => gpu.self_test().map(|_| ()),
        None => Ok(()),
    }
}

/// Tests the device of an open backend anew; no backend of this program keeps verdicts.
///
/// # Errors
/// None.
#[cfg(not(feature = "wgpu"))]
pub fn test_again(_on: &dyn Backend) -> kernels::Result<()> {
    Ok(())
}

/// Measures on a device what its backend chooses by measurement, and keeps it where later openings find it; `told` hears of each
/// choice, and of what is left out. Whether the backend has any.
///
/// # Errors
/// Those of opening it; a fault of the device.
#[cfg(feature = "wgpu")]
pub fn tune(name: &str, choice: &Choice, told: &mut dyn FnMut(&str)) -> Result<bool, OpenError> {
    if name != "wgpu" {
        return Ok(false);
    }
    use kernels_wgpu::{LeftOut, Tuned};
    kernels_wgpu::WgpuBackend::tune(choice.device.as_deref(), &mut |tuned| match tuned {
        Tuned::LeftOut(LeftOut { product, tile, why }) => told(&format!("LEFT OUT for {product}: {tile}, {why}")),
        Tuned::Chosen(kernels_wgpu::Choice { product, m, n, tile, seconds, seeded, seeded_seconds }) => {
            let kept = format!("{product} m={m} n={n}: {tile}, {:.1} µs", seconds * 1e6);
            match tile == seeded {
                true => told(&kept),
                false => told(&format!("{kept} instead of {seeded}, {:.1} µs", seeded_seconds * 1e6)),
            }
        }
    })?;
    Ok(true)
}

/// Measures what a backend chooses by measurement; the one that does is not in this program.
///
/// # Errors
/// [`OpenError::NotCompiled`].
#[cfg(not(feature = "wgpu"))]
pub fn tune(name: &str, _choice: &Choice, _told: &mut dyn FnMut(&str)) -> Result<bool, OpenError> {
    if name == "wgpu" { Err(OpenError::NotCompiled("wgpu")) } else { Ok(false) }
}

/// The support table of a backend. A software device will do for it, and cuda needs none.
///
/// # Errors
/// [`OpenError`] where there is no device.
pub fn support_table(name: &str) -> Result<Vec<SupportRow>, OpenError> {
    match name {
        #[cfg(feature = "cuda")]
        "cuda" => Ok(kernels_cuda::support_table()),
        _ => Ok(kernels::support_table(open(name, &Choice::default())?.as_ref())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_has_an_entry() {
        assert!(BACKENDS.iter().map(|(name, _)| *name).eq(NAMES));
    }

    #[test]
    fn an_unknown_name_lists_the_known_ones() {
        let message = open("tpu", &Choice::default()).err().map(|error| error.to_string());
        assert!(message.is_some_and(|text| text.contains("cpu, wgpu, cuda")));
    }
}
