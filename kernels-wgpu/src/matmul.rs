//! Dense matrix product.

use crate::WgpuBackend;
use crate::operand::{code, count, strides};
use crate::pipeline::{FOURS, SUMS};
use crate::product::{Family, Products, Tile, products};
use crate::queue::Dispatch;
use bytemuck::{Pod, Zeroable};
use kernels::ops::Matmul;
use kernels::{Checked, DType, Error, Launch, Layout, Op, Result, Support};

const MATMUL: &str = include_str!("matmul.wgsl");
const CONSTANTS: [&str; 4] = ["A", "OUT", "LEFT", "RIGHT"];
static FLOAT: Products = products!("matmul_float", [FOURS, SUMS, include_str!("matmul_float.wgsl"), MATMUL], CONSTANTS);
static INTEGER: Products = products!("matmul_integer", [FOURS, SUMS, include_str!("matmul_integer.wgsl"), MATMUL], CONSTANTS);

/// As in `matmul.wgsl`.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Params {
    lead: [u32; 4],
    a_lead: [u32; 4],
    b_lead: [u32; 4],
    out_lead: [u32; 4],
    m: u32,
    n: u32,
    k: u32,
    batch: u32,
    a: Matrix,
    b: Matrix,
    out: Matrix,
    alpha: f32,
    beta: f32,
    unused: u32,
}

/// First element, and the strides of rows and columns.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Matrix {
    first: u32,
    row: u32,
    column: u32,
}

/// The last two dimensions of a bound layout, and strides of the leading ones, the last in place 3.
fn split(first: u32, layout: &Layout) -> (Matrix, [u32; 4]) {
    let rank = layout.shape().rank();
    let strides = strides(layout);
    let mut lead = [0; 4];
    lead[6 - rank..].copy_from_slice(&strides[..rank - 2]);
    (Matrix { first, row: strides[rank - 2], column: strides[rank - 1] }, lead)
}

/// How a factor is staged, as in `matmul.wgsl`, by its sizes and strides along the sum and across.
fn staging(size: [u32; 2], step: [u32; 2], first: u32, lead: &[u32; 4], (along, batch): (bool, u32)) -> u32 {
    let [own, other] = if along { [0, 1] } else { [1, 0] };
    // Along the sum, all of the 16 terms staged at a time exist.
    let whole = step[own] == 1
        && size[0].is_multiple_of(16)
        && size[own].is_multiple_of(4)
        && [first, step[other]].iter().all(|place| place.is_multiple_of(4))
        && (batch == 1 || lead.iter().all(|step| step.is_multiple_of(4)));
    u32::from(along) | u32::from(whole) << 1
}

impl Launch<Matmul<'_>> for WgpuBackend {
    fn support(&self, dtype: DType) -> Support {
        match dtype {
            DType::F32 | DType::Bf16 | DType::F16 | DType::I8 => Support::Native,
            _ => Support::No("matrix products are of f32, bf16, f16 or i8"),
        }
    }

    fn launch(&self, args: Checked<Matmul<'_>>) -> Result<()> {
        const OP: &str = Matmul::NAME;
        self.queue.faults().enter(OP)?;
        let out = args.out.as_view();
        if out.numel() == 0 {
            return Ok(());
        }
        let shape = args.a.shape();
        let rank = shape.rank();
        let (m, k) = (count(OP, "M", shape[rank - 2])?, count(OP, "K", shape[rank - 1])?);
        let n = count(OP, "N", out.shape()[rank - 1])?;
        let batch = count(OP, "batch", shape[..rank - 2].iter().product())?;
        let mut lead = [1; 4];
        for (to, &dim) in lead[6 - rank..].iter_mut().zip(&shape[..rank - 2]) {
            *to = count(OP, "batch", dim)?;
        }
        let operands = [self.operand(OP, "a", &args.a)?, self.operand(OP, "b", &args.b)?, self.operand(OP, "out", &out)?];
        let (a, a_lead) = split(operands[0].first, args.a.layout());
        let (b, b_lead) = split(operands[1].first, args.b.layout());
        let (to, out_lead) = split(operands[2].first, out.layout());
        let (alpha, beta) = (args.alpha, args.beta);
        let params = Params { lead, a_lead, b_lead, out_lead, m, n, k, batch, a, b, out: to, alpha, beta, unused: 0 };
        let (products, family) = match args.a.dtype() {
            DType::I8 => (&INTEGER, Family::MatmulInt8),
            _ => (&FLOAT, Family::Matmul),
        };
        let tile = Tile::of(&self.tuning, family, m, n, batch);
        let groups = tile.groups(m, n).checked_mul(batch.into()).ok_or(Error::Limit {
            op: OP,
            what: "workgroups",
            limit: u32::MAX.into(),
            got: u64::MAX,
        })?;
        let of_left = staging([k, m], [a.column, a.row], a.first, &a_lead, (a.row != 1, batch));
        let right_along = b.row == 1 && b.column != 1;
        let of_right = staging([k, n], [b.row, b.column], b.first, &b_lead, (right_along, batch));
        self.queue.dispatch(&Dispatch {
            op: OP,
            shader: products.of(tile),
            constants: [code(args.a.dtype()), code(out.dtype()), of_left, of_right],
            operands: &operands,
            params: bytemuck::bytes_of(&params),
            groups,
        })
    }
}
