//! Fully connected layer in integers of 8 bits.

use crate::linear::{activation, bias, form_of_bits, form_of_blocks};
use crate::operand::{count, strides};
use crate::pipeline::{ACTIVATION, CODES, ELEMENT, GROUP, MATH, Shader};
use crate::queue::Dispatch;
use crate::weight::{Form, PackedWeight};
use crate::{NAME, WgpuBackend};
use bytemuck::{Pod, Zeroable};
use kernels::ops::LinearInt8;
use kernels::weight::Zero;
use kernels::{Checked, DType, Error, Launch, Op, Result, Support};

static SHADER: Shader = Shader {
    name: LinearInt8::NAME,
    pieces: &[ELEMENT, GROUP, CODES, MATH, ACTIVATION, include_str!("linear_int8.wgsl")],
    constants: &["FORM", "DOT4"],
};

/// As in `linear_int8.wgsl`.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Params {
    m: u32,
    n: u32,
    k: u32,
    activation: u32,
    x_first: u32,
    x_row: u32,
    x_scale_first: u32,
    x_scale_step: u32,
    bias_first: u32,
    bias_step: u32,
    with_bias: u32,
    out_first: u32,
    out_row: u32,
    group_size: u32,
    groups: u32,
    scales: u32,
    zeros: u32,
    asymmetric: u32,
    lanes: u32,
    unused: u32,
}

impl Launch<LinearInt8<'_>> for WgpuBackend {
    fn support(&self, dtype: DType) -> Support {
        match dtype {
            DType::I8 => Support::Native,
            _ => Support::No("the rows are i8, from quantize"),
        }
    }

    fn launch(&self, args: Checked<LinearInt8<'_>>) -> Result<()> {
        const OP: &str = LinearInt8::NAME;
        self.queue.faults().enter(OP)?;
        let out = args.out.as_view();
        if out.numel() == 0 {
            return Ok(());
        }
        let packed = args.weight.storage::<PackedWeight>().ok_or(Error::Device { op: OP, arg: "weight", backend: NAME })?;
        let k = count(OP, "K", args.x.shape()[1])?;
        let (form, group_size, groups, [scales, zeros], asymmetric) = match packed.form {
            Form::Quant { bits, zero, group_size, groups, scales, zeros } => {
                (form_of_bits(bits), group_size, groups, [scales, zeros], u32::from(zero == Zero::Asymmetric))
            }
            Form::Blocks { format } => {
                let group_size = format.group_size() as u32;
                (form_of_blocks(format), group_size, k / group_size, [0; 2], 0)
            }
            _ => {
                let got = args.weight.format().to_owned();
                return Err(Error::Value { op: OP, arg: "weight", wanted: "of integer codes", got });
            }
        };
        let (m, n) = (count(OP, "M", out.shape()[0])?, count(OP, "N", out.shape()[1])?);
        let (x, x_scale) = (self.operand(OP, "x", &args.x)?, self.operand(OP, "x_scale", &args.x_scale)?);
        let (bias, [bias_first, bias_step, with_bias]) = bias(self, OP, args.bias.as_ref(), x_scale)?;
        let to = self.operand(OP, "out", &out)?;
        // With few rows, reading the weight is all the work: its rows are spread over invocations.
        let parts = if groups == 1 { k.div_ceil(64) } else { groups };
        let lanes = if m <= 4 { parts.next_power_of_two().clamp(4, 64) } else { 4 };
        let params = Params {
            m,
            n,
            k,
            activation: activation(args.act),
            x_first: x.first,
            x_row: strides(args.x.layout())[0],
            x_scale_first: x_scale.first,
            x_scale_step: strides(args.x_scale.layout())[0],
            bias_first,
            bias_step,
            with_bias,
            out_first: to.first,
            out_row: strides(out.layout())[0],
            group_size,
            groups,
            scales,
            zeros,
            asymmetric,
            lanes,
            unused: 0,
        };
        self.queue.dispatch(&Dispatch {
            op: OP,
            shader: &SHADER,
            constants: [form, u32::from(self.tuning.dot4), 0, 0],
            operands: &[x, x_scale, packed.operand(), bias, to],
            params: bytemuck::bytes_of(&params),
            groups: u64::from(m).div_ceil(4) * u64::from(n).div_ceil(u64::from(64 / lanes)),
        })
    }
}
