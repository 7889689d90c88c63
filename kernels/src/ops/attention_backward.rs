//! Gradient of attention.

use super::attention::{check_qkv, visible_pairs};
use super::{Check, Mask, Window};
use crate::op::operands;
use crate::{Cost, DType, Op, Result, View, ViewMut};

/// Gradients of [`Attention`](super::Attention) with respect to queries, keys and values.
///
/// p\[t,s\] = exp(scale·⟨q_t, k_s⟩ − lse_t),  δ_t = ⟨dout_t, out_t⟩,  ds\[t,s\] = p\[t,s\]·(⟨dout_t, v_s⟩ − δ_t)
/// dq_t = scale·Σ_s ds\[t,s\]·k_s,  dk_s = scale·Σ_t ds\[t,s\]·q_t,  dv_s = Σ_t p\[t,s\]·dout_t   (dk, dv summed over the heads of a group)
///
/// | argument | shape | dtype |
/// |---|---|---|
/// | `q`, `out`, `dout`, `dq` | [B, Tq, H, D], last stride 1 | f32, bf16, f16 |
/// | `k`, `v`, `dk`, `dv` | [B, Tk, KvH, D], last stride 1 | as `q` |
/// | `lse` | [B, H, Tq] from the forward op | f32 |
/// | `lengths` | \[B\], optional, as given to the forward op | u32 |
///
/// Outputs are overwritten. Fully masked queries contribute nothing and get zero gradients; so do masked keys.
/// Precision: as [`Attention`](super::Attention). Deterministic: sums run in a fixed order. Cost: 10·D flop per visible pair.
///
/// # Errors
/// `Shape`, `DType`, `Layout`; `Value` if `scale` is not finite.
///
/// # Source
/// Dao, *FlashAttention-2* (2023), algorithm 2, every sum in a fixed order instead of by atomic additions.
pub struct AttentionBackward<'a> {
    /// Queries.
    pub q: View<'a>,
    /// Keys.
    pub k: View<'a>,
    /// Values.
    pub v: View<'a>,
    /// Number of valid keys per batch entry.
    pub lengths: Option<View<'a>>,
    /// Which keys a query may see.
    pub mask: Mask,
    /// Factor of the scores.
    pub scale: f32,
    /// Output of the forward op.
    pub out: View<'a>,
    /// Log-sum-exp of the forward op.
    pub lse: View<'a>,
    /// Gradient of `out`.
    pub dout: View<'a>,
    /// Gradient of `q`.
    pub dq: ViewMut<'a>,
    /// Gradient of `k`.
    pub dk: ViewMut<'a>,
    /// Gradient of `v`.
    pub dv: ViewMut<'a>,
}

impl Op for AttentionBackward<'_> {
    const NAME: &'static str = "attention_backward";
    operands!(q, k, v, lengths, out, lse, dout, dq, dk, dv);

    fn check(&self) -> Result<()> {
        let check = Check(Self::NAME);
        let [b, tq, h, d, tk, kv_heads] = check_qkv(check, &self.q, &self.k, &self.v, &self.lengths, self.scale)?;
        check.shape("lse", &self.lse, &[b, h, tq])?;
        check.dtype("lse", &self.lse, DType::F32)?;
        for (arg, view) in [("out", &self.out), ("dout", &self.dout)] {
            check.shape(arg, view, &[b, tq, h, d])?;
            check.dtype(arg, view, self.q.dtype())?;
            check.last_dense(arg, view)?;
        }
        for (arg, view, dims) in
            [("dq", &self.dq, [b, tq, h, d]), ("dk", &self.dk, [b, tk, kv_heads, d]), ("dv", &self.dv, [b, tk, kv_heads, d])]
        {
            check.shape(arg, view, &dims)?;
            check.dtype(arg, view, self.q.dtype())?;
            check.last_dense(arg, view)?;
            check.writable(arg, view)?;
        }
        Ok(())
    }

    fn cost(&self) -> Cost {
        let d = self.q.shape().last().copied().unwrap_or(0) as u64;
        Cost {
            flop: 10 * d * visible_pairs(&self.q, &self.k, self.mask),
            bytes: 4 * self.q.bytes() + 2 * (self.k.bytes() + self.v.bytes()) + self.lse.bytes(),
        }
    }

    fn dtype(&self) -> DType {
        self.q.dtype()
    }
}
