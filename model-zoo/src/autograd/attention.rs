//! Attention; the log-sum-exp of the scores is kept for the gradient, the scores are not.

use super::{Result, Tape, Var};
use kernels::ops::{Attention, AttentionBackward, Mask};
use kernels::{DType, Op};

impl Tape {
    /// Queries [B, Tq, H, D] over keys and values [B, Tk, KvH, D]: [B, Tq, H, D]. `lengths` \[B\], u32, masks keys of padded
    /// sequences.
    ///
    /// # Errors
    /// As [`Attention`].
    pub fn attention(&mut self, q: &Var, k: &Var, v: &Var, lengths: Option<&Var>, mask: Mask, scale: f32) -> Result<Var> {
        let mut out = self.output(q.dtype(), *q.shape())?;
        let mut lse = match (self.will_record(Attention::NAME, &[q, k, v])?, &q.shape()[..]) {
            (true, &[b, t, h, _]) => Some(self.output(DType::F32, [b, h, t])?),
            _ => None,
        };
        Attention {
            q: q.view()?,
            k: k.view()?,
            v: v.view()?,
            lengths: lengths.map(Var::view).transpose()?,
            mask,
            scale,
            out: out.view_mut()?,
            lse: lse.as_mut().map(|lse| lse.view_mut()).transpose()?,
        }
        .run(&**self.on())?;
        let out = self.share(out);
        let Some(lse) = lse else {
            return Ok(out);
        };
        let (lse, result) = (self.share(lse), out.clone());
        let (q_saved, k_saved, v_saved, lengths) = (q.clone(), k.clone(), v.clone(), lengths.cloned());
        self.record(Attention::NAME, &[q, k, v], out, move |back, dout| {
            let (q, k, v) = (q_saved, k_saved, v_saved);
            let dout = back.last_dense(dout)?;
            let mut dq = back.output_for(&q.input())?;
            let mut dk = back.output_for(&k.input())?;
            let mut dv = back.output_for(&v.input())?;
            AttentionBackward {
                q: q.view()?,
                k: k.view()?,
                v: v.view()?,
                lengths: lengths.as_ref().map(Var::view).transpose()?,
                mask,
                scale,
                out: result.view()?,
                lse: lse.view()?,
                dout: dout.view()?,
                dq: dq.view_mut()?,
                dk: dk.view_mut()?,
                dv: dv.view_mut()?,
            }
            .run(back.on())?;
            back.give(&q.input(), dq)?;
            back.give(&k.input(), dk)?;
            back.give(&v.input(), dv)
        })
    }
}
