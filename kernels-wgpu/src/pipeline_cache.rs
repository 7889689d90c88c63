//! Compiled pipelines, kept on disk where the adapter can (Vulkan).

use crate::cache::Cache;
use wgpu::{Device, Features, PipelineCache, PipelineCacheDescriptor};

/// Under which they are kept.
const KEPT: &str = "pipelines";

/// What drivers compiled in earlier runs, and will have compiled in this one.
pub(crate) struct Compilations {
    cache: Cache,
    /// None where the adapter keeps none.
    compiled: Option<PipelineCache>,
    /// Bytes loaded.
    loaded: Vec<u8>,
}

impl Compilations {
    pub fn new(device: &Device, cache: Cache) -> Self {
        if !device.features().contains(Features::PIPELINE_CACHE) {
            return Compilations { cache, compiled: None, loaded: Vec::new() };
        }
        let loaded = cache.load(KEPT).unwrap_or_default();
        let data = (!loaded.is_empty()).then_some(loaded.as_slice());
        let descriptor = PipelineCacheDescriptor { label: None, data, fallback: true };
        // SAFETY: `loaded` is whole what `get_data` returned for this device and driver: its checksum covers all bytes and the
        // device's key, and `fallback` leaves what wgpu's own header does not fit. Whoever can forge that in the user's own folder
        // of caches can already run programs as the user.
        let compiled = Some(unsafe { device.create_pipeline_cache(&descriptor) });
        Compilations { cache, compiled, loaded }
    }

    /// To compile with.
    pub fn get(&self) -> Option<&PipelineCache> {
        self.compiled.as_ref()
    }
}

impl Drop for Compilations {
    fn drop(&mut self) {
        if let Some(bytes) = self.compiled.as_ref().and_then(PipelineCache::get_data).filter(|bytes| *bytes != self.loaded) {
            self.cache.keep(KEPT, &bytes);
        }
    }
}
