//! Shaders, and the pipelines compiled from them: one per shader and choice of constants, compiled at first use.

use std::collections::HashMap;
use wgpu::{
    BindGroupLayout, ComputePipeline, ComputePipelineDescriptor, Device, PipelineCompilationOptions, ShaderModule,
    ShaderModuleDescriptor, ShaderSource,
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

/// A pipeline and the layout of its only bind group.
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

impl Pipelines {
    /// The pipeline of a shader for these constants, in the order the shader names them. Errors go to the device's callback.
    pub fn get(&mut self, device: &Device, shader: &Shader, constants: [u32; CONSTANTS]) -> &Compiled {
        self.compiled.entry((shader.name, constants)).or_insert_with(|| {
            let module = self.modules.entry(shader.name).or_insert_with(|| {
                let source = ShaderSource::Wgsl(shader.pieces.concat().into());
                device.create_shader_module(ShaderModuleDescriptor { label: Some(shader.name), source })
            });
            let named: Vec<(&str, f64)> =
                shader.constants.iter().zip(constants).map(|(&name, value)| (name, f64::from(value))).collect();
            let pipeline = device.create_compute_pipeline(&ComputePipelineDescriptor {
                label: Some(shader.name),
                layout: None,
                module,
                entry_point: None,
                compilation_options: PipelineCompilationOptions { constants: &named, zero_initialize_workgroup_memory: false },
                cache: None,
            });
            let bindings = pipeline.get_bind_group_layout(0);
            Compiled { pipeline, bindings }
        })
    }
}
