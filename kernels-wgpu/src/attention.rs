//! Scaled dot-product attention.
//!
//! Weights and sums of each block of 64 keys are computed by themselves and joined in order, in one dispatch over tiles of queries or,
//! for a few queries over many keys, in two over blocks: a query alone gets the same bits as among others.

use crate::WgpuBackend;
use crate::operand::{Operand, code, count, strides};
use crate::pipeline::{ATTENTION, CONSTANTS, EIGHT, ELEMENT, FOURS, GROUP, MATH, OUTPUT, PRODUCT, Shader};
use crate::product::Tile;
use crate::queue::Dispatch;
use crate::tuning::Tuning;
use bytemuck::{Pod, Zeroable};
use kernels::ops::{Attention, Mask};
use kernels::{Checked, DType, Error, Launch, Layout, Op, Result, Support, View};

const OP: &str = Attention::NAME;

static SPLIT: Shader = Shader {
    name: "attention_split",
    pieces: &[ELEMENT, GROUP, MATH, ATTENTION, include_str!("attention_split.wgsl")],
    constants: &["X"],
};
static JOIN: Shader = Shader {
    name: "attention_join",
    pieces: &[ELEMENT, OUTPUT, GROUP, MATH, ATTENTION, include_str!("attention_join.wgsl")],
    constants: &["X"],
};

/// A shader over tiles of rows, for workgroups of 16 and of 8 groups of four rows of their own.
pub(crate) struct Tiled(pub [Shader; 2]);

impl Tiled {
    /// The one for a device, and its rows.
    pub fn of(&'static self, tuning: &Tuning) -> (&'static Shader, u64) {
        match tuning.large {
            true => (&self.0[0], 64),
            false => (&self.0[1], 32),
        }
    }
}

macro_rules! tiled {
    ($large:expr, $small:expr, [$($piece:expr),*], $constants:expr) => {
        $crate::attention::Tiled([
            $crate::attention::tiled!(@ $large, "const OWN_GROUPS = 16u;", [$($piece),*], $constants),
            $crate::attention::tiled!(@ $small, "const OWN_GROUPS = 8u;", [$($piece),*], $constants),
        ])
    };
    (@ $name:expr, $own_groups:literal, [$($piece:expr),*], $constants:expr) => {
        $crate::pipeline::Shader {
            name: $name,
            pieces: &[
                $own_groups,
                $crate::pipeline::ELEMENT,
                $crate::pipeline::OUTPUT,
                $crate::pipeline::GROUP,
                $crate::pipeline::MATH,
                $crate::pipeline::ATTENTION,
                $crate::pipeline::ATTENTION_TILE,
                $($piece),*
            ],
            constants: &$constants,
        }
    };
}
pub(crate) use tiled;

static TILED: Tiled = tiled!(OP, "attention_small", [include_str!("attention.wgsl")], ["X", "SLICES"]);

static BROADCAST: Shader = Shader {
    name: "attention_broadcast",
    pieces: &[ELEMENT, OUTPUT, GROUP, MATH, PRODUCT, EIGHT, FOURS, ATTENTION, include_str!("attention_broadcast.wgsl")],
    constants: &["X", "WHOLE"],
};
/// Rows of a workgroup of it.
const BROADCAST_ROWS: u64 = 64;

/// Keys of a block.
const BLOCK: u64 = 64;
/// Columns of a sum that a workgroup computes at a time.
pub(crate) const SLICE: u64 = 64;
/// Rows of a workgroup of the split kernel.
const SPLIT_ROWS: u64 = 4;
/// Most rows that are split over blocks of keys: beyond these, tiles of rows fill the device.
const MOST_SPLIT_ROWS: u32 = 16;

/// First element, and strides of batch, position and head.
#[derive(Clone, Copy, Default, Pod, Zeroable)]
#[repr(C)]
pub(crate) struct Place {
    first: u32,
    batch: u32,
    row: u32,
    head: u32,
}

/// As in `wgsl/attention.wgsl`.
#[derive(Clone, Copy, Default, Pod, Zeroable)]
#[repr(C)]
pub(crate) struct Params {
    pub q: Place,
    pub k: Place,
    pub v: Place,
    pub out: Place,
    pub lse: Place,
    pub dout: Place,
    pub dq: Place,
    pub dk: Place,
    pub dv: Place,
    pub batch: u32,
    seq_q: u32,
    pub seq_k: u32,
    pub kv_heads: u32,
    group: u32,
    pub rows: u32,
    head_dim: u32,
    pub slices: u32,
    blocks: u32,
    causal: u32,
    lengths_first: u32,
    lengths_step: u32,
    with_lengths: u32,
    with_lse: u32,
    scale: f32,
    unused: u32,
}

/// Of a bound `[B, T, H, D]`.
pub(crate) fn place(operand: &Operand<'_>, layout: &Layout) -> Place {
    let [batch, row, head, ..] = strides(layout);
    Place { first: operand.first, batch, row, head }
}

/// Of a bound `[B, H, T]`.
pub(crate) fn place_of_lse(operand: &Operand<'_>, layout: &Layout) -> Place {
    let [batch, head, row, ..] = strides(layout);
    Place { first: operand.first, batch, row, head }
}

/// What is attended to.
pub(crate) struct Problem<'a, 'b> {
    pub q: &'b View<'a>,
    pub k: &'b View<'a>,
    pub v: &'b View<'a>,
    pub lengths: &'b Option<View<'a>>,
    pub mask: Mask,
    pub scale: f32,
}

impl<'a> Problem<'a, '_> {
    /// Sizes and bound operands q, k, v and lengths. Lengths left out are bound to something that is not read.
    ///
    /// # Errors
    /// `Limit`, `Device`.
    pub fn bind(&self, on: &WgpuBackend, op: &'static str) -> Result<(Params, [Operand<'a>; 4])> {
        let (q, k, v) = (on.operand(op, "q", self.q)?, on.operand(op, "k", self.k)?, on.operand(op, "v", self.v)?);
        let lengths = self.lengths.as_ref().map_or(Ok(q), |view| on.operand(op, "lengths", view))?;
        let (dims, keys) = (self.q.shape(), self.k.shape());
        let (seq_q, heads, kv_heads) = (dims[1], dims[2], keys[2]);
        let group = heads / kv_heads.max(1);
        let params = Params {
            q: place(&q, self.q.layout()),
            k: place(&k, self.k.layout()),
            v: place(&v, self.v.layout()),
            batch: count(op, "B", dims[0])?,
            seq_q: count(op, "Tq", seq_q)?,
            seq_k: count(op, "Tk", keys[1])?,
            kv_heads: count(op, "KvH", kv_heads)?,
            group: count(op, "H", group)?,
            rows: count(op, "Tq · H", seq_q.saturating_mul(group))?,
            head_dim: count(op, "D", dims[3])?,
            slices: 1,
            blocks: count(op, "Tk", keys[1].div_ceil(BLOCK as usize))?,
            causal: u32::from(self.mask == Mask::Causal),
            lengths_first: lengths.first,
            lengths_step: self.lengths.as_ref().map_or(0, |view| strides(view.layout())[0]),
            with_lengths: u32::from(self.lengths.is_some()),
            scale: self.scale,
            ..Params::default()
        };
        Ok((params, [q, k, v, lengths]))
    }
}

impl Params {
    /// Slices of columns.
    pub fn all_slices(&self) -> u64 {
        u64::from(self.head_dim).div_ceil(SLICE).max(1)
    }

    /// Bytes the results of all rows over one block of keys each take.
    fn parts_bytes(&self) -> u64 {
        [self.batch, self.kv_heads, self.rows, self.blocks, self.head_dim + 2]
            .into_iter()
            .fold(4, |bytes: u64, factor| bytes.saturating_mul(factor.into()))
    }
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
        if args.q.shape()[..3].contains(&0) {
            return Ok(());
        }
        let problem = Problem { q: &args.q, k: &args.k, v: &args.v, lengths: &args.lengths, mask: args.mask, scale: args.scale };
        let (mut params, [q, k, v, lengths]) = problem.bind(self, OP)?;
        let (out_view, lse_view) = (args.out.as_view(), args.lse.as_ref().map(|lse| lse.as_view()));
        let out = self.operand(OP, "out", &out_view)?;
        params.out = place(&out, out_view.layout());
        let nothing = self.queue.nothing(OP)?;
        let lse = match &lse_view {
            Some(view) => {
                let lse = self.operand(OP, "lse", view)?;
                (params.lse, params.with_lse) = (place_of_lse(&lse, view.layout()), 1);
                lse
            }
            None => Operand::whole(&nothing.buffer),
        };
        let dtype = code(args.q.dtype());
        let parts_bytes = params.parts_bytes();
        let few = params.rows <= MOST_SPLIT_ROWS && params.blocks > 1;
        if few && parts_bytes <= self.queue.limits().max_storage_buffer_binding_size {
            let _alone = self.queue.transfer();
            let space = self.queue.staging(OP, parts_bytes)?;
            let parts = self.space(OP, &space, parts_bytes)?;
            let tiles = u64::from(params.rows).div_ceil(SPLIT_ROWS) * u64::from(params.blocks);
            self.dispatch_attention(OP, &SPLIT, [dtype, 0, 0, 0], &[q, k, v, lengths, parts], &params, tiles)?;
            let rows = u64::from(params.rows);
            return self.dispatch_attention(OP, &JOIN, [dtype, 0, 0, 0], &[lengths, parts, out, lse], &params, rows);
        }
        let large = u64::from(params.rows) >= BROADCAST_ROWS && params.blocks >= 2;
        if self.tuning.tile == Some(Tile::Broadcast) || (self.tuning.tile.is_none() && self.tuning.broadcast && large) {
            params.slices = count(OP, "D", params.all_slices() as usize)?;
            let places = [params.q, params.k, params.v].map(|of| [of.first, of.batch, of.row, of.head]);
            let whole = params.head_dim.is_multiple_of(4) && places.as_flattened().iter().all(|place| place.is_multiple_of(4));
            let tiles = u64::from(params.rows).div_ceil(BROADCAST_ROWS) * u64::from(params.slices);
            let constants = [dtype, u32::from(whole), 0, 0];
            return self.dispatch_attention(OP, &BROADCAST, constants, &[q, k, v, lengths, out, lse], &params, tiles);
        }
        let (shader, rows) = TILED.of(&self.tuning);
        let together = params.all_slices().min(2);
        params.slices = count(OP, "D", params.all_slices().div_ceil(together) as usize)?;
        let tiles = u64::from(params.rows).div_ceil(rows) * u64::from(params.slices);
        let constants = [dtype, together as u32, 0, 0];
        self.dispatch_attention(OP, shader, constants, &[q, k, v, lengths, out, lse], &params, tiles)
    }
}

impl WgpuBackend {
    /// Queues `each` workgroups for every batch entry and head of keys.
    ///
    /// # Errors
    /// `Limit`; the first fault so far.
    pub(crate) fn dispatch_attention(
        &self,
        op: &'static str,
        shader: &'static Shader,
        constants: [u32; CONSTANTS],
        operands: &[Operand<'_>],
        params: &Params,
        each: u64,
    ) -> Result<()> {
        let heads = u64::from(params.batch) * u64::from(params.kv_heads);
        let overflow = Error::Limit { op, what: "workgroups", limit: u32::MAX.into(), got: u64::MAX };
        let groups = heads.checked_mul(each).ok_or(overflow)?;
        self.queue.dispatch(&Dispatch { op, shader, constants, operands, params: bytemuck::bytes_of(params), groups })
    }
}
