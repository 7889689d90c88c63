//! Fully connected layer, over dense, quantized and sparse weights as they are stored.

use crate::copy::GROUP_SIZE;
use crate::operand::{Operand, code, count, strides};
use crate::pipeline::{ACTIVATION, CODES, ELEMENT, FOURS, GROUP, MATH, OUTPUT, PRODUCT, SUMS, Shader};
use crate::product::{Family, Products, Tile, products};
use crate::queue::Dispatch;
use crate::weight::{Form, PackedWeight, Stored};
use crate::{NAME, WgpuBackend};
use bytemuck::{Pod, Zeroable};
use kernels::ops::{Act, Linear};
use kernels::weight::{Bits, BlockFormat, Zero};
use kernels::{Checked, DType, Error, Launch, Op, Result, Support, View, WeightRef};

const OP: &str = Linear::NAME;

const LINEAR: &str = include_str!("linear.wgsl");
static TILED: Products = products!(
    "linear",
    [FOURS, SUMS, CODES, MATH, ACTIVATION, LINEAR, include_str!("linear_tiled.wgsl")],
    ["X", "W", "FORM", "WHOLE"]
);
static FEW: Shader = Shader {
    name: "linear_few",
    pieces: &[ELEMENT, OUTPUT, GROUP, PRODUCT, SUMS, FOURS, CODES, MATH, ACTIVATION, LINEAR, include_str!("linear_few.wgsl")],
    constants: &["X", "W", "FORM", "WHOLE"],
};
static SPARSE: Shader = Shader {
    name: "linear_sparse",
    pieces: &[ELEMENT, OUTPUT, GROUP, MATH, ACTIVATION, include_str!("linear_sparse.wgsl")],
    constants: &["X", "W", "FORM", "ROWS"],
};

/// Most rows whose product is bound by reading the weight.
const FEW_ROWS: u32 = 4;

/// Invocations that a row of the weight is spread over, 64 terms each at a time: a power of two from 4 to 64.
fn lanes(k: u32) -> u32 {
    k.div_ceil(64).next_power_of_two().clamp(4, 64)
}

/// As in `linear.wgsl`.
#[derive(Clone, Copy, Default, Pod, Zeroable)]
#[repr(C)]
struct Tiled {
    m: u32,
    n: u32,
    k: u32,
    activation: u32,
    x_first: u32,
    x_row: u32,
    w_first: u32,
    w_row: u32,
    w_column: u32,
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
}

/// As in `linear_sparse.wgsl`.
#[derive(Clone, Copy, Default, Pod, Zeroable)]
#[repr(C)]
struct Sparse {
    m: u32,
    n: u32,
    k: u32,
    activation: u32,
    x_first: u32,
    x_row: u32,
    bias_first: u32,
    bias_step: u32,
    with_bias: u32,
    out_first: u32,
    out_row: u32,
    col: u32,
    values: u32,
    block_rows: u32,
    block_cols: u32,
    scales: u32,
}

/// Code of an activation in `wgsl/activation.wgsl`.
pub(crate) fn activation(act: Act) -> u32 {
    match act {
        Act::None => 0,
        Act::Relu => 1,
        Act::Gelu => 2,
        Act::GeluErf => 3,
        Act::Silu => 4,
    }
}

/// An optional bias: its binding (or a stand-in that is not read), first element, stride, and whether it is there.
pub(crate) fn bias<'a>(
    on: &WgpuBackend,
    op: &'static str,
    bias: Option<&View<'a>>,
    stand_in: Operand<'a>,
) -> Result<(Operand<'a>, [u32; 3])> {
    let Some(view) = bias else {
        return Ok((stand_in, [0; 3]));
    };
    let operand = on.operand(op, "bias", view)?;
    Ok((operand, [operand.first, strides(view.layout())[0], 1]))
}

/// Code of a form of weights in `wgsl/codes.wgsl`.
pub(crate) fn form_of_bits(bits: Bits) -> u32 {
    match bits {
        Bits::Int8 => 1,
        Bits::Int4 => 2,
    }
}

/// As [`form_of_bits`].
pub(crate) fn form_of_blocks(format: BlockFormat) -> u32 {
    match format {
        BlockFormat::Q8_0 => 3,
        BlockFormat::Q4_0 => 4,
        BlockFormat::Q4K => 5,
        BlockFormat::Q5K => 6,
        BlockFormat::Q6K => 7,
    }
}

/// Bound operands and sizes, of any form of weight.
struct Call<'a> {
    dtype: DType,
    sizes: [u32; 3], // M, N, K
    x: (Operand<'a>, u32),
    bias: (Operand<'a>, [u32; 3]),
    out: (Operand<'a>, u32),
    activation: u32,
}

impl Launch<Linear<'_>> for WgpuBackend {
    fn support(&self, dtype: DType) -> Support {
        match dtype {
            DType::F32 | DType::Bf16 | DType::F16 => Support::Native,
            _ => Support::No("linear layers are of f32, bf16 or f16; see linear_int8 for integers"),
        }
    }

    fn launch(&self, args: Checked<Linear<'_>>) -> Result<()> {
        self.queue.faults().enter(OP)?;
        let out = args.out.as_view();
        if out.numel() == 0 {
            return Ok(());
        }
        let (m, n) = (count(OP, "M", out.shape()[0])?, count(OP, "N", out.shape()[1])?);
        let k = count(OP, "K", args.x.shape()[1])?;
        let x = self.operand(OP, "x", &args.x)?;
        let call = Call {
            dtype: args.x.dtype(),
            sizes: [m, n, k],
            x: (x, strides(args.x.layout())[0]),
            bias: bias(self, OP, args.bias.as_ref(), x)?,
            out: (self.operand(OP, "out", &out)?, strides(out.layout())[0]),
            activation: activation(args.act),
        };
        match &args.weight {
            WeightRef::Dense(view) => {
                let w = self.operand(OP, "weight", view)?;
                let strides = strides(view.layout());
                let params = Tiled { w_first: w.first, w_row: strides[0], w_column: strides[1], ..Tiled::default() };
                self.tiled(&call, w, [code(view.dtype()), 0], params)
            }
            WeightRef::Packed(packed) => {
                let weight = packed.storage::<PackedWeight>().ok_or(Error::Device { op: OP, arg: "weight", backend: NAME })?;
                self.packed(&call, weight)
            }
        }
    }
}

impl WgpuBackend {
    fn packed(&self, call: &Call<'_>, weight: &PackedWeight) -> Result<()> {
        let w = weight.operand();
        match weight.form {
            Form::Dense { dtype } => {
                let params = Tiled { w_row: call.sizes[2], w_column: 1, ..Tiled::default() };
                self.tiled(call, w, [code(dtype), 0], params)
            }
            Form::Quant { bits, zero, group_size, groups, scales, zeros } => {
                let asymmetric = u32::from(zero == Zero::Asymmetric);
                let params = Tiled { group_size, groups, scales, zeros, asymmetric, ..Tiled::default() };
                self.tiled(call, w, [0, form_of_bits(bits)], params)
            }
            Form::Blocks { format } => self.tiled(call, w, [0, form_of_blocks(format)], Tiled::default()),
            Form::Csr { values, col } => self.sparse(call, w, values, 0, Sparse { col, ..Sparse::default() }),
            Form::Block { values, rows, cols, col } => {
                let params = Sparse { col, block_rows: rows, block_cols: cols, ..Sparse::default() };
                self.sparse(call, w, values, 1, params)
            }
            Form::TwoOfFour { values } => self.sparse(call, w, values, 2, Sparse::default()),
        }
    }

    fn tiled(&self, call: &Call<'_>, w: Operand<'_>, [dtype, form]: [u32; 2], params: Tiled) -> Result<()> {
        let ([m, n, k], [bias_first, bias_step, with_bias]) = (call.sizes, call.bias.1);
        let params = Tiled {
            m,
            n,
            k,
            activation: call.activation,
            x_first: call.x.0.first,
            x_row: call.x.1,
            bias_first,
            bias_step,
            with_bias,
            out_first: call.out.0.first,
            out_row: call.out.1,
            ..params
        };
        let whole = |places: &[u32]| k.is_multiple_of(16) && places.iter().all(|place| place.is_multiple_of(4));
        let whole_weight = match form {
            0 => params.w_column == 1 && whole(&[params.w_first, params.w_row]),
            // Sixteen codes are of one group.
            _ => whole(&[]) && (params.groups <= 1 || params.group_size.is_multiple_of(16)),
        };
        let whole = u32::from(whole(&[params.x_first, params.x_row])) | u32::from(whole_weight) << 1;
        let few = m <= FEW_ROWS;
        let params = Tiled { lanes: lanes(k), ..params };
        let family = if form == 0 { Family::Linear } else { Family::LinearCodes };
        let tile = Tile::of(&self.tuning, family, m, n, 1);
        let rows_of_weight = 4 * u64::from(64 / params.lanes);
        self.queue.dispatch(&Dispatch {
            op: OP,
            shader: if few { &FEW } else { TILED.of(tile) },
            constants: [code(call.dtype), dtype, form, whole],
            operands: &[call.x.0, w, call.bias.0, call.out.0],
            params: bytemuck::bytes_of(&params),
            groups: if few { u64::from(n).div_ceil(rows_of_weight) } else { tile.groups(m, n) },
        })
    }

    fn sparse(&self, call: &Call<'_>, w: Operand<'_>, stored: Stored, form: u32, params: Sparse) -> Result<()> {
        let ([m, n, k], [bias_first, bias_step, with_bias]) = (call.sizes, call.bias.1);
        let rows = if m == 1 { 1 } else { 4 };
        let params = Sparse {
            m,
            n,
            k,
            activation: call.activation,
            x_first: call.x.0.first,
            x_row: call.x.1,
            bias_first,
            bias_step,
            with_bias,
            out_first: call.out.0.first,
            out_row: call.out.1,
            values: stored.values,
            scales: stored.scales,
            ..params
        };
        self.queue.dispatch(&Dispatch {
            op: OP,
            shader: &SPARSE,
            constants: [code(call.dtype), code(stored.dtype), form, rows],
            operands: &[call.x.0, w, call.bias.0, call.out.0],
            params: bytemuck::bytes_of(&params),
            groups: u64::from(m.div_ceil(rows)) * u64::from(n).div_ceil(GROUP_SIZE),
        })
    }
}
