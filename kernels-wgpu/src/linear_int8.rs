//! Fully connected layer in integers of 8 bits.

use crate::linear::{activation, bias, form_of_bits, form_of_blocks};
use crate::operand::{count, strides};
use crate::pipeline::{ACTIVATION, CODES, ELEMENT, GROUP, MATH, OUTPUT, Shader};
use crate::product::{Family, Products, Tile, products};
use crate::queue::Dispatch;
use crate::weight::{Form, PackedWeight};
use crate::{NAME, WgpuBackend};
use bytemuck::{Pod, Zeroable};
use kernels::ops::LinearInt8;
use kernels::weight::{BlockFormat, Zero};
use kernels::{Checked, DType, Error, Launch, Op, Result, Support};

const LAYER: &str = include_str!("linear_int8.wgsl");
static FEW: Shader = Shader {
    name: "linear_int8_few",
    pieces: &[ELEMENT, OUTPUT, GROUP, CODES, MATH, ACTIVATION, LAYER, include_str!("linear_int8_few.wgsl")],
    constants: &["FORM", "DOT4"],
};
static TILED: Products =
    products!("linear_int8", [CODES, MATH, ACTIVATION, LAYER, include_str!("linear_int8_tiled.wgsl")], ["FORM", "DOT4", "WHOLE"]);

/// Most rows whose product is bound by reading the weight.
const FEW_ROWS: u32 = 4;
/// Terms that tiles read at a time, which are of one group.
const STEP: u32 = 16;
/// Most terms whose sum in a float is exact, whatever the codes.
const MOST_EXACT: u32 = 512;
/// Terms of a channel that are added before they are joined.
const PART: u32 = 64;

/// How tiles add up: the values of a chunk, and whether a value is four terms. None for what they do not
/// take: groups that are cut within a step, and those with minima.
fn chunk(form: &Form, groups: u32, dot4: bool) -> Option<(u32, bool)> {
    let (group_size, signed) = match *form {
        Form::Quant { zero, group_size, .. } => (group_size, zero == Zero::Symmetric),
        Form::Blocks { format: BlockFormat::Q4K | BlockFormat::Q5K } => return None,
        Form::Blocks { format } => (format.group_size() as u32, false),
        _ => return None,
    };
    match groups {
        0 => None,
        1 => Some((PART, dot4 && signed)),
        _ if !group_size.is_multiple_of(STEP) || group_size > MOST_EXACT => None,
        _ if dot4 && signed && group_size.is_multiple_of(4 * STEP) => Some((group_size / 4, true)),
        _ => Some((group_size, false)),
    }
}

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
    chunk: u32,
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
        let parts = if groups == 1 { k.div_ceil(PART) } else { groups };
        let lanes = if m <= FEW_ROWS { parts.next_power_of_two().clamp(4, 64) } else { 4 };
        let tiled = chunk(&packed.form, groups, self.tuning.dot4).filter(|_| m > FEW_ROWS);
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
            chunk: tiled.map_or(0, |(chunk, _)| chunk),
        };
        let operands = [x, x_scale, packed.operand(), bias, to];
        let dispatch = |shader, constants, groups| {
            let params = bytemuck::bytes_of(&params);
            self.queue.dispatch(&Dispatch { op: OP, shader, constants, operands: &operands, params, groups })
        };
        match tiled {
            Some((_, dot4)) => {
                let step = if dot4 { 4 * STEP } else { STEP };
                let whole = k.is_multiple_of(step) && [params.x_first, params.x_row].iter().all(|place| place.is_multiple_of(4));
                let tile = Tile::of(&self.tuning, Family::LinearInt8, m, n, 1);
                dispatch(TILED.of(tile), [form, dot4.into(), whole.into(), 0], tile.groups(m, n))
            }
            None => {
                let groups = u64::from(m).div_ceil(4) * u64::from(n).div_ceil(u64::from(64 / lanes));
                dispatch(&FEW, [form, self.tuning.dot4.into(), 0, 0], groups)
            }
        }
    }
}
