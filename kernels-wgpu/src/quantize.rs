//! Quantization of activations.

use crate::WgpuBackend;
use crate::operand::{code, count, strides};
use crate::pipeline::{ELEMENT, GROUP, OUTPUT, Shader};
use crate::queue::Dispatch;
use bytemuck::{Pod, Zeroable};
use kernels::ops::Quantize;
use kernels::{Checked, DType, Launch, Op, Result, Support};

static SHADER: Shader =
    Shader { name: Quantize::NAME, pieces: &[ELEMENT, OUTPUT, GROUP, include_str!("quantize.wgsl")], constants: &["X"] };

/// As in `quantize.wgsl`.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Params {
    m: u32,
    k: u32,
    x_first: u32,
    x_row: u32,
    q_first: u32,
    q_row: u32,
    scale_first: u32,
    scale_step: u32,
}

impl Launch<Quantize<'_>> for WgpuBackend {
    fn support(&self, dtype: DType) -> Support {
        match dtype {
            DType::F32 | DType::Bf16 | DType::F16 => Support::Native,
            _ => Support::No("only f32, bf16 and f16 are quantized"),
        }
    }

    fn launch(&self, args: Checked<Quantize<'_>>) -> Result<()> {
        const OP: &str = Quantize::NAME;
        self.queue.faults().enter(OP)?;
        let (q_view, scale_view) = (args.q.as_view(), args.scale.as_view());
        let (m, k) = (count(OP, "M", args.x.shape()[0])?, count(OP, "K", args.x.shape()[1])?);
        let (x, q) = (self.operand(OP, "x", &args.x)?, self.operand(OP, "q", &q_view)?);
        let scale = self.operand(OP, "scale", &scale_view)?;
        let params = Params {
            m,
            k,
            x_first: x.first,
            x_row: strides(args.x.layout())[0],
            q_first: q.first,
            q_row: strides(q_view.layout())[0],
            scale_first: scale.first,
            scale_step: strides(scale_view.layout())[0],
        };
        self.queue.dispatch(&Dispatch {
            op: OP,
            shader: &SHADER,
            constants: [code(args.x.dtype()), 0, 0, 0],
            operands: &[x, q, scale],
            params: bytemuck::bytes_of(&params),
            groups: m.into(),
        })
    }
}
