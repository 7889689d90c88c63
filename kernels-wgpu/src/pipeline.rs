//! Shaders, and the pipelines compiled from them: one per shader and choice of constants, compiled at first use.

use crate::memory::Counters;
use std::collections::HashMap;
use wgpu::{
    BindGroupLayout, BindGroupLayoutDescriptor, BindGroupLayoutEntry, BindingType, BufferBindingType, ComputePipeline,
    ComputePipelineDescriptor, Device, PipelineCache, PipelineCompilationOptions, PipelineLayoutDescriptor, ShaderModule,
    ShaderModuleDescriptor, ShaderSource, ShaderStages,
};

/// Most `override` constants a shader has.
pub(crate) const CONSTANTS: usize = 4;

/// A compute shader: pieces of WGSL joined in order. Declarations of WGSL need no order of their own, so a shared piece may call
/// functions that the op's own piece defines.
pub(crate) struct Shader {
    /// Unique name, of the op or of its variant.
    pub name: &'static str,
    /// Texts, most general first.
    pub pieces: &'static [&'static str],
    /// Names of its `override` constants.
    pub constants: &'static [&'static str],
}

/// How elements of every dtype lie in words.
pub(crate) const ELEMENT: &str = include_str!("wgsl/element.wgsl");
/// Writing elements of `out`.
pub(crate) const OUTPUT: &str = include_str!("wgsl/output.wgsl");
/// Elementary functions.
pub(crate) const MATH: &str = include_str!("wgsl/math.wgsl");
/// Activations of linear layers.
pub(crate) const ACTIVATION: &str = include_str!("wgsl/activation.wgsl");
/// What the kernels of attention share.
pub(crate) const ATTENTION: &str = include_str!("wgsl/attention.wgsl");
/// Products of a tile of attention.
pub(crate) const ATTENTION_TILE: &str = include_str!("wgsl/attention_tile.wgsl");
/// Writing elements of `second`.
pub(crate) const SECOND: &str = include_str!("wgsl/second.wgsl");
/// Four elements at a time.
pub(crate) const FOURS: &str = include_str!("wgsl/fours.wgsl");
/// Weights of integer codes.
pub(crate) const CODES: &str = include_str!("wgsl/codes.wgsl");
/// What every kernel of products agrees on.
pub(crate) const PRODUCT: &str = include_str!("wgsl/product.wgsl");
/// Sums of chunks that are added as they are.
pub(crate) const SUMS: &str = include_str!("wgsl/sums.wgsl");
/// Sums held by a subgroup of eight.
pub(crate) const EIGHT: &str = include_str!("wgsl/eight.wgsl");
/// Products by subgroups.
pub(crate) const BROADCAST: &str = include_str!("wgsl/broadcast.wgsl");
/// Products by tiles.
pub(crate) const TILE: &str = include_str!("wgsl/tile.wgsl");
/// Which of the folded workgroups this is.
pub(crate) const GROUP: &str = include_str!("wgsl/group.wgsl");

/// Places of elements in several operands of one shape.
pub(crate) const LATTICE: &str = include_str!("wgsl/lattice.wgsl");
/// Writing elements that lie side by side.
pub(crate) const WORDS: &str = include_str!("wgsl/words.wgsl");
/// The loop of elementwise ops.
pub(crate) const ELEMENTWISE: &str = include_str!("wgsl/elementwise.wgsl");
/// Sums and maxima of a row by a workgroup.
pub(crate) const ROWS: &str = include_str!("wgsl/rows.wgsl");
/// Writing a row by a workgroup.
pub(crate) const ROW_WORDS: &str = include_str!("wgsl/row_words.wgsl");
/// The loop of optimizers.
pub(crate) const STEP: &str = include_str!("wgsl/step.wgsl");
/// Functions within the ULP that ops of one element promise.
pub(crate) const PRECISE: &str = include_str!("wgsl/precise.wgsl");
/// Reporting an index out of range.
pub(crate) const INDEX: &str = include_str!("wgsl/index.wgsl");
/// Products of 64 bits.
pub(crate) const WIDE: &str = include_str!("wgsl/wide.wgsl");
/// Sine and cosine of parts of a turn.
pub(crate) const TURN: &str = include_str!("wgsl/turn.wgsl");

/// A pipeline and the layout of its only bind group: parameters at a dynamic offset, then the operands.
pub(crate) struct Compiled {
    pub pipeline: ComputePipeline,
    pub bindings: BindGroupLayout,
}

type Key = (&'static str, [u32; CONSTANTS]);

/// Everything compiled so far.
#[derive(Default)]
pub(crate) struct Pipelines {
    modules: HashMap<&'static str, ShaderModule>,
    compiled: HashMap<Key, Compiled>,
}

/// Whether a shader declares that it writes a binding.
fn writes(shader: &Shader, binding: u32) -> bool {
    let declared = format!("@binding({binding}) var<storage, read_write>");
    shader.pieces.iter().any(|piece| piece.contains(&declared))
}

/// The layout of a shader's bindings.
fn layout(device: &Device, shader: &Shader, operands: u32) -> BindGroupLayout {
    let entry = |binding: u32| {
        let ty = match binding {
            0 => BufferBindingType::Uniform,
            _ => BufferBindingType::Storage { read_only: !writes(shader, binding) },
        };
        let ty = BindingType::Buffer { ty, has_dynamic_offset: binding == 0, min_binding_size: None };
        BindGroupLayoutEntry { binding, visibility: ShaderStages::COMPUTE, ty, count: None }
    };
    let entries: Vec<BindGroupLayoutEntry> = (0..=operands).map(entry).collect();
    device.create_bind_group_layout(&BindGroupLayoutDescriptor { label: Some(shader.name), entries: &entries })
}

impl Pipelines {
    /// The pipeline of a shader for these constants, in the order the shader names them, and this number of operands, always the
    /// same for a shader. Errors go to the device's callback.
    pub fn get(
        &mut self,
        (device, cache, counters): (&Device, Option<&PipelineCache>, &Counters),
        shader: &Shader,
        constants: [u32; CONSTANTS],
        operands: u32,
    ) -> &Compiled {
        self.compiled.entry((shader.name, constants)).or_insert_with(|| {
            let module = self.modules.entry(shader.name).or_insert_with(|| {
                let source = ShaderSource::Wgsl(shader.pieces.concat().into());
                device.create_shader_module(ShaderModuleDescriptor { label: Some(shader.name), source })
            });
            counters.made_pipeline();
            let named: Vec<(&str, f64)> =
                shader.constants.iter().zip(constants).map(|(&name, value)| (name, f64::from(value))).collect();
            let bindings = layout(device, shader, operands);
            let layout = device.create_pipeline_layout(&PipelineLayoutDescriptor {
                label: Some(shader.name),
                bind_group_layouts: &[Some(&bindings)],
                immediate_size: 0,
            });
            let pipeline = device.create_compute_pipeline(&ComputePipelineDescriptor {
                label: Some(shader.name),
                layout: Some(&layout),
                module,
                entry_point: None,
                compilation_options: PipelineCompilationOptions { constants: &named, zero_initialize_workgroup_memory: false },
                cache,
            });
            Compiled { pipeline, bindings }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_shader_writes_is_read_from_its_declarations() {
        let pieces =
            &["@group(0) @binding(1) var<storage, read> x: array<u32>;", "@binding(12) var<storage, read_write> out: u32;"];
        let shader = Shader { name: "", pieces, constants: &[] };
        assert!(!writes(&shader, 1) && !writes(&shader, 2) && writes(&shader, 12));
    }
}
