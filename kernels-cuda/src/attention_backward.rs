//! Gradient of attention.

use crate::CudaBackend;
use crate::attention::{Problem, is_whole, place, place_of_lse, tensor_kernel};
use crate::lattice::floats;
use crate::params::AttentionParams;
use crate::source::{Source, by_float, source};
use kernels::ops::AttentionBackward;
use kernels::{Checked, DType, Launch, Op, Result, Support};

pub(crate) static SOURCE: Source = source!("attention_backward");

/// Rows of a block of deltas, as in `attention_backward.cu`.
const DELTA_ROWS: u32 = 4;
/// Columns of a block on CUDA cores.
const CORES_COLUMNS: u32 = 64;

impl Launch<AttentionBackward<'_>> for CudaBackend {
    fn support(&self, dtype: DType) -> Support {
        floats(dtype)
    }

    fn launch(&self, args: Checked<AttentionBackward<'_>>) -> Result<()> {
        const OP: &str = AttentionBackward::NAME;
        self.queue.faults().enter(OP)?;
        let (dq, dk, dv) = (args.dq.as_view(), args.dk.as_view(), args.dv.as_view());
        if dq.numel() == 0 && dk.numel() == 0 {
            return Ok(());
        }
        let problem = Problem { q: &args.q, k: &args.k, v: &args.v, lengths: &args.lengths, mask: args.mask, scale: args.scale };
        let params = problem.params(self, OP)?;
        let params = AttentionParams {
            out: place(self, OP, "out", &args.out)?,
            lse: place_of_lse(self, OP, &args.lse)?,
            dout: place(self, OP, "dout", &args.dout)?,
            dq: place(self, OP, "dq", &dq)?,
            dk: place(self, OP, "dk", &dk)?,
            dv: place(self, OP, "dv", &dv)?,
            ..params
        };
        let dtype = args.q.dtype();
        let rows = [params.batch, params.kv_heads, params.rows].into_iter();
        let deltas = self.scratch(OP, rows.fold(4, |bytes: u64, factor| bytes.saturating_mul(factor.into())))?;
        let params = AttentionParams {
            parts: deltas.address(),
            whole: params.whole & is_whole(&[params.dout], dtype),
            whole_out: is_whole(&[params.dq, params.dk, params.dv], dtype),
            ..params
        };
        let columns = params.head_dim;
        let kv = tensor_kernel!("attention_backward_kv", columns, dtype);
        let q = tensor_kernel!("attention_backward_q", columns, dtype);
        let slices = if kv.is_some() { 1 } else { columns.div_ceil(CORES_COLUMNS) };
        // Own rows of a block, which has 48 KiB of shared memory.
        let own = if kv.is_some() && columns > 128 { 32 } else { 64 };
        for (kernel, tiles, slices) in [
            (by_float!("attention_delta", dtype), params.rows.div_ceil(DELTA_ROWS), 1),
            (kv.unwrap_or(by_float!("attention_backward_kv_cores", dtype)), params.seq_k.div_ceil(own), slices),
            (q.unwrap_or(by_float!("attention_backward_q_cores", dtype)), params.rows.div_ceil(own), slices),
        ] {
            let params = AttentionParams { tiles, slices, ..params };
            self.dispatch_attention(OP, &SOURCE, kernel, &params, u64::from(tiles) * u64::from(slices))?;
        }
        Ok(())
    }
}
