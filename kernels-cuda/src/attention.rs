//! Scaled dot-product attention.

use crate::CudaBackend;
use crate::lattice::{count, floats};
use crate::params::{AttentionParams, AttentionPlace};
use crate::queue::Dispatch;
use crate::source::{Source, by_float, source};
use kernels::ops::{Attention, Mask};
use kernels::{Checked, DType, Error, Launch, Op, Result, Support, View};

pub(crate) static SOURCE: Source = source!("attention");

/// Threads of a block, as in `cu/attention.cuh`.
pub(crate) const THREADS: u32 = 128;
/// Rows of a block, those that are few, and keys of a block that has those, as in `attention.cu`.
const ROWS: u32 = 64;
const FEW_ROWS: u32 = 16;
const SPLIT_KEYS: u32 = 256;
/// Columns of a block on CUDA cores.
const CORES_COLUMNS: u32 = 128;

/// Of an operand `[B, T, H, D]`.
pub(crate) fn place(on: &CudaBackend, op: &'static str, arg: &'static str, view: &View<'_>) -> Result<AttentionPlace> {
    let strides = view.layout().strides();
    let [batch, row, head] = [0, 1, 2].map(|axis| strides[axis] as u64);
    Ok(AttentionPlace { first: on.operand(op, arg, view)?, batch, row, head })
}

/// Of an operand `[B, H, T]`.
pub(crate) fn place_of_lse(on: &CudaBackend, op: &'static str, view: &View<'_>) -> Result<AttentionPlace> {
    let place = place(on, op, "lse", view)?;
    Ok(AttentionPlace { row: place.head, head: place.row, ..place })
}

/// Whether every row starts at a multiple of 16 bytes.
pub(crate) fn is_whole(places: &[AttentionPlace], dtype: DType) -> u32 {
    let bytes = dtype.size_bytes() as u64;
    let whole = |place: &AttentionPlace| {
        let steps = [place.batch, place.row, place.head].map(|step| step.wrapping_mul(bytes));
        place.first.is_multiple_of(16) && steps.iter().all(|step| step.is_multiple_of(16))
    };
    u32::from(places.iter().all(whole))
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

impl Problem<'_, '_> {
    /// Sizes and inputs.
    ///
    /// # Errors
    /// `Limit`, `Device`.
    pub fn params(&self, on: &CudaBackend, op: &'static str) -> Result<AttentionParams> {
        let (dims, keys) = (self.q.shape(), self.k.shape());
        let (seq_q, heads, kv_heads) = (dims[1], dims[2], keys[2]);
        let group = heads / kv_heads.max(1);
        let mut params = AttentionParams {
            q: place(on, op, "q", self.q)?,
            k: place(on, op, "k", self.k)?,
            v: place(on, op, "v", self.v)?,
            batch: count(op, "B", dims[0])?,
            seq_q: count(op, "Tq", seq_q)?,
            seq_k: count(op, "Tk", keys[1])?,
            kv_heads: count(op, "KvH", kv_heads)?,
            group: count(op, "H", group)?,
            rows: count(op, "Tq · H", seq_q.saturating_mul(group))?,
            head_dim: count(op, "D", dims[3])?,
            slices: 1,
            causal: u32::from(self.mask == Mask::Causal),
            scale: self.scale,
            ..AttentionParams::default()
        };
        if let Some(view) = self.lengths {
            (params.lengths, params.lengths_step) = (on.operand(op, "lengths", view)?, view.layout().strides()[0] as u64);
        }
        params.whole = is_whole(&[params.q, params.k, params.v], self.q.dtype());
        Ok(params)
    }
}

/// Name of a kernel on tensor cores, `name_64_bf16`, …, for 16-bit elements and heads that are not too wide.
macro_rules! tensor_kernel {
    ($name:literal, $columns:expr, $dtype:expr) => {
        match ($columns, $dtype) {
            (_, kernels::DType::F32) => None,
            (..=64, dtype) => Some($crate::source::by_float!(concat!($name, "_64"), dtype)),
            (65..=128, dtype) => Some($crate::source::by_float!(concat!($name, "_128"), dtype)),
            (129..=256, dtype) => Some($crate::source::by_float!(concat!($name, "_256"), dtype)),
            _ => None,
        }
    };
}
pub(crate) use tensor_kernel;

impl Launch<Attention<'_>> for CudaBackend {
    fn support(&self, dtype: DType) -> Support {
        floats(dtype)
    }

    fn launch(&self, args: Checked<Attention<'_>>) -> Result<()> {
        const OP: &str = Attention::NAME;
        self.queue.faults().enter(OP)?;
        if args.q.shape()[..3].contains(&0) {
            return Ok(());
        }
        let problem = Problem { q: &args.q, k: &args.k, v: &args.v, lengths: &args.lengths, mask: args.mask, scale: args.scale };
        let mut params = problem.params(self, OP)?;
        let (out, dtype) = (args.out.as_view(), args.q.dtype());
        params.out = place(self, OP, "out", &out)?;
        params.whole_out = is_whole(&[params.out], dtype);
        if let Some(lse) = &args.lse {
            params.lse = place_of_lse(self, OP, &lse.as_view())?;
        }
        // By the shape of a problem alone: the order of sums follows from it.
        let few = params.rows <= FEW_ROWS;
        let tensor = match few {
            true => tensor_kernel!("attention_few", params.head_dim, dtype),
            false => tensor_kernel!("attention", params.head_dim, dtype),
        };
        params.slices = if tensor.is_some() { 1 } else { params.head_dim.div_ceil(CORES_COLUMNS).max(1) };
        params.tiles = params.rows.div_ceil(ROWS);
        params.splits = if few { params.seq_k.div_ceil(SPLIT_KEYS).max(1) } else { 1 };
        let kernel = tensor.unwrap_or(by_float!("attention_cores", dtype));
        let blocks = [params.tiles, params.slices, params.splits].map(u64::from).iter().product();
        if params.splits == 1 {
            return self.dispatch_attention(OP, &SOURCE, kernel, &params, blocks);
        }
        let parts_bytes = [params.batch, params.kv_heads, params.rows, params.splits, params.head_dim + 2]
            .into_iter()
            .fold(4, |bytes: u64, factor| bytes.saturating_mul(factor.into()));
        let parts = self.scratch(OP, parts_bytes)?;
        params.parts = parts.address();
        self.dispatch_attention(OP, &SOURCE, kernel, &params, blocks)?;
        self.dispatch_attention(OP, &SOURCE, by_float!("attention_join", dtype), &params, params.rows.into())
    }
}

impl CudaBackend {
    /// Queues `each` blocks for every batch entry and head of keys.
    ///
    /// # Errors
    /// `Limit`; the first fault so far.
    pub(crate) fn dispatch_attention(
        &self,
        op: &'static str,
        source: &'static Source,
        kernel: &'static str,
        params: &AttentionParams,
        each: u64,
    ) -> Result<()> {
        let heads = u64::from(params.batch) * u64::from(params.kv_heads);
        let overflow = Error::Limit { op, what: "blocks of a launch", limit: i32::MAX as u64, got: u64::MAX };
        let blocks = heads.checked_mul(each).ok_or(overflow)?;
        let params = bytemuck::bytes_of(params);
        self.queue.dispatch(&Dispatch { op, source, kernel, threads: THREADS, blocks, params })
    }
}
