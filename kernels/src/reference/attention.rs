//! Reference of [`Attention`](crate::ops::Attention) and [`AttentionBackward`](crate::ops::AttentionBackward).

use crate::ops::Mask;

/// Sizes and parameters of attention.
#[derive(Clone, Debug)]
pub struct AttentionDims {
    /// B.
    pub batch: usize,
    /// Tq.
    pub seq_q: usize,
    /// Tk.
    pub seq_k: usize,
    /// H.
    pub heads: usize,
    /// KvH.
    pub kv_heads: usize,
    /// D.
    pub head_dim: usize,
    /// Which keys a query may see.
    pub mask: Mask,
    /// Factor of the scores.
    pub scale: f64,
    /// Valid keys per batch entry.
    pub lengths: Option<Vec<usize>>,
}

/// One query: its row, and the row and number of the keys it sees.
#[derive(Clone, Copy, Debug)]
pub struct Query {
    /// Start of the query's elements in `q` and `out`.
    pub q: usize,
    /// Place in `lse`.
    pub lse: usize,
    /// Start of the first key's elements in `k` and `v`.
    pub k: usize,
    /// Elements from one key to the next.
    pub k_step: usize,
    /// Keys it sees, from the first.
    pub visible: usize,
}

impl AttentionDims {
    /// All queries of all heads.
    pub fn queries(&self) -> Vec<Query> {
        let mut queries = Vec::new();
        for b in 0..self.batch {
            let length = self.lengths.as_ref().map_or(self.seq_k, |lengths| lengths[b].min(self.seq_k));
            for t in 0..self.seq_q {
                for h in 0..self.heads {
                    let group = h / (self.heads / self.kv_heads);
                    queries.push(Query {
                        q: ((b * self.seq_q + t) * self.heads + h) * self.head_dim,
                        lse: (b * self.heads + h) * self.seq_q + t,
                        k: (b * self.seq_k * self.kv_heads + group) * self.head_dim,
                        k_step: self.kv_heads * self.head_dim,
                        visible: self.mask.visible(t, self.seq_q, self.seq_k).min(length),
                    });
                }
            }
        }
        queries
    }
}

/// ⟨a, b⟩.
pub fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// Scores scale·⟨q, k_s⟩ of one query with each key it sees.
pub fn scores(dims: &AttentionDims, query: Query, q: &[f64], k: &[f64]) -> Vec<f64> {
    let d = dims.head_dim;
    let row = &q[query.q..query.q + d];
    (0..query.visible).map(|s| dims.scale * dot(row, &k[query.k + s * query.k_step..][..d])).collect()
}

/// Writes `out` `[B, Tq, H, D]` and `lse` `[B, H, Tq]`.
pub fn attention(dims: &AttentionDims, q: &[f64], k: &[f64], v: &[f64], out: &mut [f64], lse: &mut [f64]) {
    let d = dims.head_dim;
    for query in dims.queries() {
        let mut p = scores(dims, query, q, k);
        lse[query.lse] = super::softmax::softmax_row(&mut p);
        let out = &mut out[query.q..query.q + d];
        out.fill(0.0);
        for (s, p) in p.iter().enumerate() {
            let v = &v[query.k + s * query.k_step..][..d];
            out.iter_mut().zip(v).for_each(|(out, v)| *out += p * v);
        }
    }
}

/// What [`attention_backward`] reads.
#[derive(Clone, Copy, Debug)]
pub struct Forward<'a> {
    /// Queries.
    pub q: &'a [f64],
    /// Keys.
    pub k: &'a [f64],
    /// Values.
    pub v: &'a [f64],
    /// Output of the forward op.
    pub out: &'a [f64],
    /// Log-sum-exp of the forward op.
    pub lse: &'a [f64],
    /// Gradient of `out`.
    pub dout: &'a [f64],
}

/// Overwrites `dq`, `dk` and `dv`.
pub fn attention_backward(dims: &AttentionDims, of: Forward<'_>, dq: &mut [f64], dk: &mut [f64], dv: &mut [f64]) {
    let d = dims.head_dim;
    dq.fill(0.0);
    dk.fill(0.0);
    dv.fill(0.0);
    for query in dims.queries() {
        let at = query.q;
        let dout = &of.dout[at..at + d];
        let delta = dot(dout, &of.out[at..at + d]);
        for (s, score) in scores(dims, query, of.q, of.k).into_iter().enumerate() {
            let key = query.k + s * query.k_step;
            let p = (score - of.lse[query.lse]).exp();
            let ds = p * (dot(dout, &of.v[key..key + d]) - delta);
            for i in 0..d {
                dq[at + i] += dims.scale * ds * of.k[key + i];
                dk[key + i] += dims.scale * ds * of.q[at + i];
                dv[key + i] += p * dout[i];
            }
        }
    }
}
