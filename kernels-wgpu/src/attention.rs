//! Scaled dot-product attention.

use crate::WgpuBackend;
use crate::operand::{Operand, code, count, strides};
use crate::pipeline::{ELEMENT, GROUP, MATH, OUTPUT, Shader};
use crate::queue::Dispatch;
use bytemuck::{Pod, Zeroable};
use kernels::ops::{Attention, Mask};
use kernels::{Checked, DType, Error, Launch, Layout, Op, Result, Support};

const OP: &str = Attention::NAME;

static SHADER: Shader =
    Shader { name: OP, pieces: &[ELEMENT, OUTPUT, GROUP, MATH, include_str!("attention.wgsl")], constants: &["X"] };

/// Output elements of a workgroup.
const CHUNK: u64 = 256;

/// First element, and strides of batch, position and head.
#[derive(Clone, Copy, Default, Pod, Zeroable)]
#[repr(C)]
struct Place {
    first: u32,
    batch: u32,
    row: u32,
    head: u32,
}

/// As in `attention.wgsl`.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Params {
    q: Place,
    k: Place,
    v: Place,
    out: Place,
    lse: Place,
    batch: u32,
    seq_q: u32,
    seq_k: u32,
    heads: u32,
    kv_heads: u32,
    head_dim: u32,
    chunks: u32,
    causal: u32,
    lengths_first: u32,
    lengths_step: u32,
    with_lengths: u32,
    with_lse: u32,
    scale: f32,
}

/// Of a bound `[B, T, H, D]`.
fn place(operand: &Operand<'_>, layout: &Layout) -> Place {
    let [batch, row, head, ..] = strides(layout);
    Place { first: operand.first, batch, row, head }
}

impl Launch<Attention<'_>> for WgpuBackend {
    fn support(&self, dtype: DType) -> Support {
        match dtype {
            DType::F32 | DType::Bf16 | DType::F16 => Support::Native,
            _ => Support::No("attention is of f32, bf16 or f16"),
        }
    }

    fn launch(&self, args: Checked<Attention<'_>>) -> Result<()> {
        self.queue.faults().enter(OP)?;
        let q = args.q.shape();
        let [batch, seq_q, heads, head_dim] = [q[0], q[1], q[2], q[3]];
        let rows = [batch, seq_q, heads].into_iter().try_fold(1u64, |rows, dim| rows.checked_mul(dim as u64));
        if rows == Some(0) {
            return Ok(());
        }
        let (out_view, lse_view) = (args.out.as_view(), args.lse.as_ref().map(|lse| lse.as_view()));
        let operand = |arg, view| self.operand(OP, arg, view);
        let (q, k, v) = (operand("q", &args.q)?, operand("k", &args.k)?, operand("v", &args.v)?);
        let out = operand("out", &out_view)?;
        // An operand left out is bound to something that is neither read nor written.
        let lengths = args.lengths.as_ref().map_or(Ok(q), |view| operand("lengths", view))?;
        let spare = self.queue.staging(OP, 4)?;
        let nothing = Operand { buffer: &spare.buffer, offset_bytes: 0, size_bytes: 4, first: 0 };
        let lse = lse_view.as_ref().map_or(Ok(nothing), |view| operand("lse", view))?;
        let lse_place = lse_view.as_ref().map_or(Place::default(), |view| {
            let [batch, head, row, ..] = strides(view.layout());
            Place { first: lse.first, batch, row, head }
        });
        let chunks = (head_dim as u64).div_ceil(CHUNK).max(1);
        let params = Params {
            q: place(&q, args.q.layout()),
            k: place(&k, args.k.layout()),
            v: place(&v, args.v.layout()),
            out: place(&out, out_view.layout()),
            lse: lse_place,
            batch: count(OP, "B", batch)?,
            seq_q: count(OP, "Tq", seq_q)?,
            seq_k: count(OP, "Tk", args.k.shape()[1])?,
            heads: count(OP, "H", heads)?,
            kv_heads: count(OP, "KvH", args.k.shape()[2])?,
            head_dim: count(OP, "D", head_dim)?,
            chunks: count(OP, "D", chunks as usize)?,
            causal: u32::from(args.mask == Mask::Causal),
            lengths_first: lengths.first,
            lengths_step: args.lengths.as_ref().map_or(0, |view| strides(view.layout())[0]),
            with_lengths: u32::from(args.lengths.is_some()),
            with_lse: u32::from(lse_view.is_some()),
            scale: args.scale,
        };
        let groups = rows.and_then(|rows| rows.checked_mul(chunks)).ok_or(Error::Limit {
            op: OP,
            what: "workgroups",
            limit: u32::MAX.into(),
            got: u64::MAX,
        })?;
        self.queue.dispatch(&Dispatch {
            op: OP,
            shader: &SHADER,
            constants: [code(args.q.dtype()), 0, 0, 0],
            operands: &[q, k, v, lengths, out, lse],
            params: bytemuck::bytes_of(&params),
            groups,
        })
    }
}
