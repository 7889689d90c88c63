//! Gradient of attention: deterministic, in three dispatches.

use crate::WgpuBackend;
use crate::attention::{Problem, SLICE, Tiled, place, place_of_lse, tiled};
use crate::operand::{code, count};
use crate::pipeline::{ATTENTION, ELEMENT, GROUP, MATH, SECOND, Shader};
use kernels::ops::AttentionBackward;
use kernels::{Checked, DType, Launch, Op, Result, Support};

const OP: &str = AttentionBackward::NAME;
const SHARED: &str = include_str!("attention_backward.wgsl");

static DELTA: Shader = Shader {
    name: "attention_delta",
    pieces: &[ELEMENT, GROUP, MATH, ATTENTION, include_str!("attention_delta.wgsl")],
    constants: &["X"],
};
static QUERIES: Tiled =
    tiled!("attention_backward_q", "attention_backward_q_small", [SHARED, include_str!("attention_backward_q.wgsl")], ["X"]);
static KEYS: Tiled = tiled!(
    "attention_backward_kv",
    "attention_backward_kv_small",
    [SECOND, SHARED, include_str!("attention_backward_kv.wgsl")],
    ["X"]
);

impl Launch<AttentionBackward<'_>> for WgpuBackend {
    fn support(&self, dtype: DType) -> Support {
        match dtype {
            DType::F32 | DType::Bf16 | DType::F16 => Support::Native,
            _ => Support::No("attention is of f32, bf16 or f16"),
        }
    }

    fn launch(&self, args: Checked<AttentionBackward<'_>>) -> Result<()> {
        self.queue.faults().enter(OP)?;
        let problem = Problem { q: &args.q, k: &args.k, v: &args.v, lengths: &args.lengths, mask: args.mask, scale: args.scale };
        let (mut params, [q, k, v, lengths]) = problem.bind(self, OP)?;
        let (dq_view, dk_view, dv_view) = (args.dq.as_view(), args.dk.as_view(), args.dv.as_view());
        let (out, lse) = (self.operand(OP, "out", &args.out)?, self.operand(OP, "lse", &args.lse)?);
        let dout = self.operand(OP, "dout", &args.dout)?;
        let dq = self.operand(OP, "dq", &dq_view)?;
        let (dk, dv) = (self.operand(OP, "dk", &dk_view)?, self.operand(OP, "dv", &dv_view)?);
        params.out = place(&out, args.out.layout());
        params.lse = place_of_lse(&lse, args.lse.layout());
        params.dout = place(&dout, args.dout.layout());
        params.dq = place(&dq, dq_view.layout());
        params.dk = place(&dk, dk_view.layout());
        params.dv = place(&dv, dv_view.layout());
        params.slices = count(OP, "D", args.q.shape()[3].div_ceil(SLICE as usize))?;

        let _alone = self.queue.transfer();
        let stats_bytes = [params.batch, params.kv_heads, params.rows]
            .into_iter()
            .fold(8, |bytes: u64, factor| bytes.saturating_mul(factor.into()))
            .max(8);
        let space = self.queue.staging(OP, stats_bytes)?;
        let stats = self.space(OP, &space, stats_bytes)?;
        let dtype = code(args.q.dtype());
        self.dispatch_attention(OP, &DELTA, [dtype, 0, 0, 0], &[out, dout, lse, stats], &params, params.rows.into())?;
        let constants = [dtype, 0, 0, 0];
        let tiles = |of: u32, rows: u64| u64::from(of).div_ceil(rows) * u64::from(params.slices);
        let (shader, rows) = QUERIES.of(&self.tuning);
        let operands = [q, k, v, lengths, dout, stats, dq];
        self.dispatch_attention(OP, shader, constants, &operands, &params, tiles(params.rows, rows))?;
        let (shader, rows) = KEYS.of(&self.tuning);
        let operands = [q, k, v, lengths, dout, stats, dk, dv];
        self.dispatch_attention(OP, shader, constants, &operands, &params, tiles(params.seq_k, rows))
    }
}
