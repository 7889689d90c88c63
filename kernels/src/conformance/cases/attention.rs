//! Cases of [`Attention`] and [`AttentionBackward`].
//!
//! Bound of the forward op. Scores x_s = scale·⟨q, k_s⟩ carry |δ_s| ≤ B(D, scale·Σ|q||k_s|) + 3u·|x_s|, with B the bound of a sum.
//! A probability p_s = e^{x_s} / Σ e^{x_j} then has the relative error r_s ≤ expm1(δ_s + ln Σ p_j·e^{δ_j}) + ε_exp(x_s − max) +
//! Σ p_j·ε_exp(x_j − max) + B(N, 1) + 4u, and out = Σ p_s·v_s the error Σ p_s·|v_s|·(r_s + B(N, 1)). Rescaling by blocks (online
//! softmax) adds one exponential and one product per block, covered by counting two more terms per key block of 16.
//!
//! Bound of the backward op, from the same r_s for p = exp(x − lse): ds = p·(⟨dout, v⟩ − δ) carries p·r·|⟨dout, v⟩ − δ| +
//! p·(B(D, Σ|dout||v|) + B(D, Σ|dout||out|)) + 2u·p·(|⟨dout, v⟩| + |δ|); dq, dk and dv are sums of products of those.

use super::{Suite, abs, fit};
use crate::conformance::bounds::{Model, U, Want, exp_error};
use crate::conformance::case::Case;
use crate::conformance::draw::{Draw, Strides};
use crate::conformance::host::Host;
use crate::conformance::recipe::Recipe;
use crate::ops::{Attention, AttentionBackward, Mask};
use crate::reference::{AttentionDims, Forward, Query, attention, attention_backward, dot, scores};
use crate::{DType, Op};

pub(super) fn suites() -> Vec<Suite> {
    let forward = DType::FLOATS
        .map(|dtype| Suite::new(Attention::NAME, dtype, 1024 / 3 + 1, move |draw| forward(draw, dtype)).directed(directed(803)));
    let backward = DType::FLOATS.map(|dtype| {
        Suite::new(AttentionBackward::NAME, dtype, 1024 / 3 + 1, move |draw| backward(draw, dtype)).directed(directed(97))
    });
    forward.into_iter().chain(backward).collect()
}

/// Pairs of lengths and head sizes as FlashAttention tests them, and the edges: nothing, one head, every group size.
fn directed(longest: usize) -> Vec<Recipe> {
    let mut recipes = Vec::new();
    let mut add = |seq_q: usize, seq_k: usize, d: usize, group: u32| {
        for masks in 0..4 {
            recipes.push(Recipe::directed([seq_q, seq_k, d, 2, 1], [masks % 2, masks / 2, group, masks]));
        }
    };
    for (seq_q, seq_k) in [(1, 239), (239, 1), (3, 799), (97, 97), (0, 5), (5, 0), (1, 1), (7, 3), (3, 7), (128, 127)] {
        if seq_q.max(seq_k) <= longest {
            add(seq_q, seq_k, 32, 1);
        }
    }
    for d in [1, 32, 40, 59, 64, 80, 96, 111, 128, 256] {
        add(9, 17, d, 2);
    }
    for group in 0..5 {
        add(5, 33, 16, group);
    }
    recipes.push(Recipe::directed([5, 9, 0, 2, 1], [0; 4]));
    recipes.push(Recipe::directed([5, 9, 8, 0, 1], [0; 4]));
    recipes
}

struct Problem {
    dims: AttentionDims,
    q: Host,
    k: Host,
    v: Host,
    lengths: Option<Host>,
    scale: f32,
}

fn problem(draw: &mut Draw<'_>, dtype: DType, longest: usize) -> Problem {
    let [seq_q, seq_k, head_dim] = fit([draw.dim(longest), draw.dim(longest), draw.dim(256)], 1 << 17);
    // In exact mode the scale is 0, so that each visible key weighs 1/n and `out` is the mean of v: the same to the bit in any order
    // where n is a power of two (elsewhere 1/n rounds). Hence no causal mask, whose n runs through all numbers.
    let exact = draw.exact();
    let seq_k = if exact && seq_k > 0 { seq_k.next_power_of_two() / if seq_k.is_power_of_two() { 1 } else { 2 } } else { seq_k };
    let batch = draw.dim(3);
    let mask = draw.among(&[Mask::None, Mask::Causal]);
    let mask = if exact { Mask::None } else { mask };
    let with_lengths = draw.pick(2) == 1;
    let (kv_heads, heads) = draw.among(&[(1, 1), (2, 2), (1, 3), (1, 8), (2, 6)]);
    // 0 gives equal weights, 4 sharp ones.
    let scale = if exact { 0.0 } else { draw.among(&[1.0, 1.0, 0.0, 4.0, -1.0]) / (head_dim.max(1) as f32).sqrt() };
    let q = draw.input("q", dtype, [batch, seq_q, heads, head_dim], Strides::LastDense);
    let k = draw.input("k", dtype, [batch, seq_k, kv_heads, head_dim], Strides::LastDense);
    let v = draw.input("v", dtype, [batch, seq_k, kv_heads, head_dim], Strides::LastDense);
    let lengths = with_lengths.then(|| {
        // 0 and more than there are, too; powers of two in exact mode, where the weights are 1/length.
        let mut lengths = draw.indices(batch, seq_k + 3);
        if exact {
            lengths.iter_mut().for_each(|l| *l = f64::from((*l as u32 + 1).next_power_of_two() / 2));
        }
        draw.input_with("lengths", DType::U32, [batch], Strides::Any, lengths)
    });
    let dims = AttentionDims {
        batch,
        seq_q,
        seq_k,
        heads,
        kv_heads,
        head_dim,
        mask,
        scale: f64::from(scale),
        lengths: lengths.as_ref().map(Host::indices),
    };
    Problem { dims, q, k, v, lengths, scale }
}

/// What a query's scores are, what they may be off by, and what follows for its weights.
struct Weights {
    p: Vec<f64>,
    /// Relative error of each weight.
    error: Vec<f64>,
    /// Error of the log-sum-exp.
    lse_error: f64,
    /// Largest intermediate.
    size: f64,
}

fn weights(model: Model, dims: &AttentionDims, query: Query, of: [&[f64]; 4], lse: f64) -> Weights {
    let [q, k, abs_q, abs_k] = of;
    let x = scores(dims, query, q, k);
    // A scale of 0 comes too late for a product that has overflowed.
    let terms = scores(&AttentionDims { scale: dims.scale.abs().max(1e-30), ..dims.clone() }, query, abs_q, abs_k);
    let max = x.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let p: Vec<f64> = x.iter().map(|x| (x - lse).exp()).collect();
    // A score of −∞ is exact.
    let shift = |s: usize| if x[s].is_infinite() { 0.0 } else { model.sum(dims.head_dim, terms[s]) + 3.0 * U * x[s].abs() };
    let spread = (0..x.len()).map(|s| p[s] * shift(s).exp_m1()).sum::<f64>().ln_1p();
    let exps: f64 = (0..x.len()).map(|s| p[s] * exp_error(x[s] - max)).sum();
    let count = x.len() + 2 * x.len().div_ceil(16);
    let common = spread + exps + model.factor(count) + 4.0 * U;
    let error = (0..x.len()).map(|s| (shift(s) + common).exp_m1() + exp_error(x[s] - max)).collect();
    let scale = dims.scale.abs().clamp(1e-30, 1.0);
    Weights {
        p,
        error,
        lse_error: common + 4.0 * U * (lse.abs() + max.abs()),
        size: terms.iter().fold(0.0, |a, b| b.max(a)) / scale,
    }
}

fn forward(draw: &mut Draw<'_>, dtype: DType) -> Case {
    let problem = problem(draw, dtype, 803);
    let with_lse = draw.pick(2) == 1;
    let Problem { dims, q, k, v, lengths, scale } = problem;
    let shape = [dims.batch, dims.seq_q, dims.heads, dims.head_dim];
    let out = draw.output("out", dtype, shape, Strides::LastDense);
    let lse = with_lse.then(|| draw.output("lse", DType::F32, [dims.batch, dims.heads, dims.seq_q], Strides::Any));

    let (qv, kv, vv) = (q.values(), k.values(), v.values());
    let (abs_q, abs_k) = (abs(&qv), abs(&kv));
    let (mut value, mut lse_value) = (vec![0.0; out.layout.numel()], vec![0.0; dims.batch * dims.heads * dims.seq_q]);
    attention(&dims, &qv, &kv, &vv, &mut value, &mut lse_value);
    let (model, d) = (draw.model().tensor_cores(dtype), dims.head_dim);
    let mut wants = vec![Want::exactly(0.0); value.len()];
    let mut lse_wants = vec![Want::exactly(f64::NEG_INFINITY); lse_value.len()];
    for query in dims.queries() {
        let at = query.lse;
        if query.visible == 0 {
            continue;
        }
        let w = weights(model, &dims, query, [&qv, &kv, &abs_q, &abs_k], lse_value[at]);
        // All scores −∞ though nothing is masked: the documentation leaves it open. So is lse where a score is +∞.
        let open = lse_value[at] == f64::NEG_INFINITY;
        let exact = draw.exact() && query.visible.is_power_of_two();
        lse_wants[at] = match open || (lse_value[at].is_nan() && !scores(&dims, query, &qv, &kv).iter().any(|x| x.is_nan())) {
            true => Want { value: 0.0, bound: f64::INFINITY },
            false => Want::within(lse_value[at], w.lse_error, w.size),
        };
        for i in 0..d {
            let of = |s: usize| vv[query.k + s * query.k_step + i];
            let terms = |s: usize| w.p[s] * of(s).abs();
            let size: f64 = (0..query.visible).map(terms).sum();
            let carried: f64 = (0..query.visible).map(|s| terms(s) * w.error[s]).sum();
            // A weight that underflows to 0 in f32 meets NaN or ∞ as 0·∞.
            let vanishing = (0..query.visible).any(|s| w.p[s] < 1e-30 && !of(s).is_finite());
            wants[query.q + i] = if open || vanishing {
                Want { value: 0.0, bound: f64::INFINITY }
            } else if exact {
                Want::exactly(value[query.q + i])
            } else {
                let largest = (0..query.visible).map(|s| of(s).abs()).fold(w.size, f64::max);
                let sum_v: f64 = (0..query.visible).map(|s| of(s).abs()).sum();
                let count = query.visible + 2 * query.visible.div_ceil(16);
                let bound = carried + model.factor(count) * size + sum_v * model.tiny() + query.visible as f64 * model.tiny();
                // Scores so large that their errors leave the range of e^x may order the keys in any way.
                let bound = if bound.is_nan() { f64::INFINITY } else { bound };
                Want::within(value[query.q + i], bound, largest.max(sum_v))
            };
        }
    }
    let (mask, with_lengths) = (dims.mask, lengths.is_some());
    let inputs = [Some(q), Some(k), Some(v), lengths].into_iter().flatten().collect();
    let outputs: Vec<Host> = [Some(out), lse].into_iter().flatten().collect();
    let expect = if with_lse { vec![wants, lse_wants] } else { vec![wants] };
    let mut case = Case::new(inputs, outputs, expect, move |on, mut with| {
        let (q, k, v) = (with.input(), with.input(), with.input());
        let lengths = with_lengths.then(|| with.input());
        let (out, lse) = (with.output(), with_lse.then(|| with.output()));
        Attention { q, k, v, lengths, mask, scale, out, lse }.run(on)
    });
    case.rows = &["q", "k", "v", "lengths", "out", "lse"];
    // Equal scores have equal sums; short lengths and causal masks with more queries than keys give zeros by right.
    case.plain = true;
    case
}

fn backward(draw: &mut Draw<'_>, dtype: DType) -> Case {
    draw.tame();
    let Problem { dims, q, k, v, lengths, scale } = problem(draw, dtype, 97);
    let (qv, kv, vv) = (q.values(), k.values(), v.values());
    let (mut out_value, mut lse_value) = (vec![0.0; qv.len()], vec![0.0; dims.batch * dims.heads * dims.seq_q]);
    attention(&dims, &qv, &kv, &vv, &mut out_value, &mut lse_value);
    let (q_shape, k_shape) = (*q.layout.shape(), *k.layout.shape());
    let out = draw.input_with("out", dtype, q_shape, Strides::LastDense, out_value);
    let lse = draw.input_with("lse", DType::F32, [dims.batch, dims.heads, dims.seq_q], Strides::Any, lse_value);
    let dout = draw.input("dout", dtype, q_shape, Strides::LastDense);
    let dq = draw.output("dq", dtype, q_shape, Strides::LastDense);
    let dk = draw.output("dk", dtype, k_shape, Strides::LastDense);
    let dv = draw.output("dv", dtype, k_shape, Strides::LastDense);

    let (ov, lv, gv) = (out.values(), lse.values(), dout.values());
    let of = Forward { q: &qv, k: &kv, v: &vv, out: &ov, lse: &lv, dout: &gv };
    let mut value = [vec![0.0; qv.len()], vec![0.0; kv.len()], vec![0.0; kv.len()]];
    let [value_q, value_k, value_v] = &mut value;
    attention_backward(&dims, of, value_q, value_k, value_v);
    let bounds = backward_bounds(draw.model().tensor_cores(dtype), &dims, of);
    let expect = value.into_iter().zip(bounds).map(|(value, bound)| {
        value.into_iter().zip(bound).map(|(value, bound)| Want { value, bound: bound + f64::MIN_POSITIVE }).collect()
    });
    let (mask, with_lengths) = (dims.mask, lengths.is_some());
    let inputs = [Some(q), Some(k), Some(v), lengths, Some(out), Some(lse), Some(dout)].into_iter().flatten().collect();
    let mut case = Case::new(inputs, vec![dq, dk, dv], expect.collect(), move |on, mut with| {
        let (q, k, v) = (with.input(), with.input(), with.input());
        let lengths = with_lengths.then(|| with.input());
        let (out, lse, dout) = (with.input(), with.input(), with.input());
        let (dq, dk, dv) = (with.output(), with.output(), with.output());
        AttentionBackward { q, k, v, lengths, mask, scale, out, lse, dout, dq, dk, dv }.run(on)
    });
    case.rows = &["q", "k", "v", "lengths", "out", "lse", "dout", "dq", "dk", "dv"];
    // scale 0 has no gradient to queries and keys; masked keys have none at all.
    case.plain = true;
    case
}

fn backward_bounds(model: Model, dims: &AttentionDims, of: Forward<'_>) -> [Vec<f64>; 3] {
    let d = dims.head_dim;
    let (abs_q, abs_k, abs_v, abs_out, abs_dout) = (abs(of.q), abs(of.k), abs(of.v), abs(of.out), abs(of.dout));
    let mut bounds = [vec![0.0; of.q.len()], vec![0.0; of.k.len()], vec![0.0; of.v.len()]];
    let scale = dims.scale.abs();
    // dk and dv are sums over the queries of a group.
    let queries = dims.seq_q * (dims.heads / dims.kv_heads.max(1));
    for query in dims.queries() {
        let w = weights(model, dims, query, [of.q, of.k, &abs_q, &abs_k], of.lse[query.lse]);
        let at = query.q;
        let (dout, size) = (&of.dout[at..at + d], &abs_dout[at..at + d]);
        let delta = dot(dout, &of.out[at..at + d]);
        let delta_size = dot(size, &abs_out[at..at + d]);
        for (s, &p) in w.p.iter().enumerate() {
            let key = query.k + s * query.k_step;
            let dp = dot(dout, &of.v[key..key + d]);
            let dp_size = dot(size, &abs_v[key..key + d]);
            // p = exp(x − lse) reads lse, whose own rounding is relative to its size.
            let r = w.error[s] + exp_error(of.lse[query.lse]);
            let ds = p * (dp - delta);
            let ds_error = p
                * (r * (dp - delta).abs()
                    + model.sum(d, dp_size)
                    + model.sum(d, delta_size)
                    + 2.0 * U * (dp.abs() + delta.abs()));
            let p_error = p * r + model.tiny();
            let (over_keys, over_queries) = (model.factor(query.visible + 3), model.factor(queries + 3));
            for i in 0..d {
                let (qi, ki, gi) = (abs_q[at + i], abs_k[key + i], size[i]);
                bounds[0][at + i] += scale * ki * (ds_error + over_keys * ds.abs()) + model.tiny();
                bounds[1][key + i] += scale * qi * (ds_error + over_queries * ds.abs()) + model.tiny();
                bounds[2][key + i] += gi * (p_error + over_queries * p) + model.tiny();
            }
        }
    }
    bounds
}
