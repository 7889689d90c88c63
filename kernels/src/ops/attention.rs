//! Scaled dot-product attention.

use super::{Check, Window, bytes_of};
use crate::op::operands;
use crate::{Cost, DType, Op, Result, View, ViewMut};

/// Which keys a query may see.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Mask {
    /// All.
    #[default]
    None,
    /// Query t sees keys s ≤ t + Tk − Tq: the last query sees every key, so that a cache in front of the queries just works.
    Causal,
}

impl Mask {
    /// Number of leading keys query `t` of `seq_q` may see among `seq_k`.
    pub fn visible(self, t: usize, seq_q: usize, seq_k: usize) -> usize {
        match self {
            Mask::None => seq_k,
            Mask::Causal => (t + 1 + seq_k).saturating_sub(seq_q).min(seq_k),
        }
    }
}

/// Scaled dot-product attention with grouped heads, for prefill, training and cached decoding.
///
/// out\[b,t,h\] = Σ_s softmax_s(scale · ⟨q\[b,t,h\], k\[b,s,g\]⟩ + mask(t,s)) · v\[b,s,g\],   g = h / (H / KvH)
///
/// | argument | shape | dtype |
/// |---|---|---|
/// | `q` | [B, Tq, H, D], last stride 1 | f32, bf16, f16 |
/// | `k`, `v` | [B, Tk, KvH, D], last stride 1 | as `q` |
/// | `lengths` | \[B\], optional | u32; keys s ≥ lengths\[b\] are masked |
/// | `out` | [B, Tq, H, D], last stride 1; overwritten | as `q` |
/// | `lse` | [B, H, Tq], optional; overwritten | f32; log-sum-exp in nats, needed by `AttentionBackward` |
///
/// A query with every key masked (or Tk = 0) gives zeros and lse = −∞. lengths\[b\] > Tk means Tk. Other strides: any.
/// Precision: scores and sums in f32, one rounding on store; at most twice the error of the plain f32 composition.
/// Cost: 4·D flop for each visible pair of query and key; O(B·H·(Tq + D)) extra memory, whatever Tk.
///
/// # Errors
/// `Shape` (H must be a multiple of KvH), `DType`, `Layout`; `Value` if `scale` is not finite.
///
/// # Source
/// Dao, *FlashAttention-2* (2023), algorithm 1; grouped heads: Ainslie et al., *GQA* (2023).
pub struct Attention<'a> {
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
    /// Factor of the scores, usually 1/√D.
    pub scale: f32,
    /// Result.
    pub out: ViewMut<'a>,
    /// Log-sum-exp of the scores.
    pub lse: Option<ViewMut<'a>>,
}

/// The checks forward and backward share. Returns [B, Tq, H, D, Tk, KvH].
pub(super) fn check_qkv(
    check: Check,
    q: &View<'_>,
    k: &View<'_>,
    v: &View<'_>,
    lengths: &Option<View<'_>>,
    scale: f32,
) -> Result<[usize; 6]> {
    let [b, tq, h, d] = check.dims("q", q, "[B, Tq, H, D]")?;
    check.float("q", q)?;
    check.last_dense("q", q)?;
    let [kb, tk, kv_heads, kd] = check.dims("k", k, "[B, Tk, KvH, D]")?;
    if kb != b || kd != d {
        return check.wrong_shape("k", k, format!("[{b}, Tk, KvH, {d}]"));
    }
    if (kv_heads == 0 && h != 0) || (kv_heads != 0 && h % kv_heads != 0) {
        return check.wrong_shape("k", k, format!("[B, Tk, KvH, D] with KvH a divisor of H = {h}"));
    }
    check.dtype("k", k, q.dtype())?;
    check.last_dense("k", k)?;
    check.shape("v", v, &[b, tk, kv_heads, d])?;
    check.dtype("v", v, q.dtype())?;
    check.last_dense("v", v)?;
    if let Some(lengths) = lengths {
        check.shape("lengths", lengths, &[b])?;
        check.dtype("lengths", lengths, DType::U32)?;
    }
    check.finite("scale", scale)?;
    Ok([b, tq, h, d, tk, kv_heads])
}

/// Pairs of query and key under the mask, for costs. Lengths are data and not counted.
pub(super) fn visible_pairs(q: &View<'_>, k: &View<'_>, mask: Mask) -> u64 {
    let (&[b, tq, h, _], &[_, tk, ..]) = (&q.shape()[..], &k.shape()[..]) else {
        return 0;
    };
    let pairs: u64 = (0..tq).map(|t| mask.visible(t, tq, tk) as u64).sum();
    pairs * b as u64 * h as u64
}

impl Op for Attention<'_> {
    const NAME: &'static str = "attention";
    operands!(q, k, v, lengths, out, lse);

    fn check(&self) -> Result<()> {
        let check = Check(Self::NAME);
        let [b, tq, h, d, ..] = check_qkv(check, &self.q, &self.k, &self.v, &self.lengths, self.scale)?;
        check.shape("out", &self.out, &[b, tq, h, d])?;
        check.dtype("out", &self.out, self.q.dtype())?;
        check.last_dense("out", &self.out)?;
        check.writable("out", &self.out)?;
        if let Some(lse) = &self.lse {
            check.shape("lse", lse, &[b, h, tq])?;
            check.dtype("lse", lse, DType::F32)?;
            check.writable("lse", lse)?;
        }
        Ok(())
    }

    fn cost(&self) -> Cost {
        let d = self.q.shape().last().copied().unwrap_or(0) as u64;
        Cost {
            flop: 4 * d * visible_pairs(&self.q, &self.k, self.mask),
            bytes: self.q.bytes() + self.k.bytes() + self.v.bytes() + self.out.bytes() + bytes_of(&self.lse),
        }
    }

    fn dtype(&self) -> DType {
        self.q.dtype()
    }
}
