//! Small problems with known answers, one per op: what the self-test asks of a device.

use crate::WgpuBackend;
use kernels::ops::*;
use kernels::weight::{Bits, Quant, QuantScheme, Values};
use kernels::{Buffer, DType, Memory, Op, Result, Weight, WeightRef};

/// What an op gave, and what it should have given.
pub(crate) struct Answer {
    pub got: Vec<f32>,
    pub wanted: Vec<f64>,
}

/// An op's name and its problem.
pub(crate) type Trial = (&'static str, fn(&Desk<'_>) -> Result<Answer>);

/// Every op of the contract.
pub(crate) const TRIALS: &[Trial] = &[
    (Upload::NAME, round_trip),
    (Download::NAME, round_trip),
    (Copy::NAME, copy),
    (Fill::NAME, fill),
    (Cast::NAME, cast),
    (Matmul::NAME, matmul),
    (Linear::NAME, linear),
    (LinearInt8::NAME, linear_int8),
    (Quantize::NAME, quantize),
    (Attention::NAME, attention),
    (AttentionBackward::NAME, attention_backward),
    (Rope::NAME, rope),
    (LayerNorm::NAME, layer_norm),
    (LayerNormBackward::NAME, layer_norm_backward),
    (RmsNorm::NAME, rms_norm),
    (RmsNormBackward::NAME, rms_norm_backward),
    (Softmax::NAME, softmax),
    (SoftmaxBackward::NAME, softmax_backward),
    (Unary::NAME, unary),
    (UnaryBackward::NAME, unary_backward),
    (Binary::NAME, binary),
    (Axpy::NAME, axpy),
    (Reduce::NAME, reduce),
    (Gather::NAME, gather),
    (ScatterAdd::NAME, scatter_add),
    (Forest::NAME, forest),
    (CrossEntropy::NAME, cross_entropy),
    (CrossEntropyBackward::NAME, cross_entropy_backward),
    (Random::NAME, random),
    (Sgd::NAME, sgd),
    (AdamW::NAME, adamw),
    (ClipNorm::NAME, clip_norm),
];

/// Rows and columns of most problems: no multiple of any vector, subgroup or tile.
const M: usize = 5;
const N: usize = 37;
/// Added to variances.
const EPS: f32 = 1e-5;

/// Where problems are laid out.
pub(crate) struct Desk<'a>(pub &'a WgpuBackend);

impl Desk<'_> {
    fn put(&self, values: &[f32]) -> Result<Buffer> {
        let mut buffer = self.0.alloc(DType::F32, values.len())?;
        Upload::new(values, buffer.view_mut([values.len()])?).run(self.0)?;
        Ok(buffer)
    }

    fn indices(&self, values: &[u32]) -> Result<Buffer> {
        let mut buffer = self.0.alloc(DType::U32, values.len())?;
        Upload::new(values, buffer.view_mut([values.len()])?).run(self.0)?;
        Ok(buffer)
    }

    fn room(&self, len: usize) -> Result<Buffer> {
        self.0.alloc(DType::F32, len)
    }

    fn answer(&self, of: &[&Buffer], wanted: Vec<f64>) -> Result<Answer> {
        let mut got = Vec::new();
        for buffer in of {
            let mut values = vec![0f32; buffer.len()];
            Download::new(buffer.view([buffer.len()])?, &mut values).run(self.0)?;
            got.extend(values);
        }
        Ok(Answer { got, wanted })
    }
}

/// Whole numbers from −5 to 5, in no order: their sums are exact.
fn whole(len: usize, seed: usize) -> Vec<f32> {
    (0..len).map(|i| ((i * i + 7 * i + 3 * seed) % 11) as f32 - 5.0).collect()
}

/// Every row of `x` of N values, mapped.
fn rows_by<const K: usize>(x: [&[f32]; K], map: impl Fn([&[f32]; K]) -> Vec<f64>) -> Vec<f64> {
    (0..M).flat_map(|row| map(x.map(|x| &x[row * N..(row + 1) * N]))).collect()
}

fn wide(x: &[f32]) -> Vec<f64> {
    x.iter().map(|&x| x.into()).collect()
}

fn mean(x: impl ExactSizeIterator<Item = f64>) -> f64 {
    let count = x.len() as f64;
    x.sum::<f64>() / count
}

/// Mean and 1 / √(variance + eps).
fn moments(x: &[f32]) -> (f64, f64) {
    let middle = mean(x.iter().map(|&x| x.into()));
    let variance = mean(x.iter().map(|&x| (f64::from(x) - middle).powi(2)));
    (middle, (variance + f64::from(EPS)).sqrt().recip())
}

/// 1 / √(mean square + eps).
fn root(x: &[f32]) -> f64 {
    (mean(x.iter().map(|&x| f64::from(x).powi(2))) + f64::from(EPS)).sqrt().recip()
}

/// ln Σ eˣ.
fn log_sum(x: impl Iterator<Item = f64>) -> f64 {
    x.map(f64::exp).sum::<f64>().ln()
}

fn round_trip(desk: &Desk<'_>) -> Result<Answer> {
    let x = whole(N, 1);
    desk.answer(&[&desk.put(&x)?], wide(&x))
}

fn copy(desk: &Desk<'_>) -> Result<Answer> {
    let x = whole(M * N, 1);
    let (from, mut to) = (desk.put(&x)?, desk.room(M * N)?);
    Copy { x: from.view([M, N])?.transpose(0, 1)?, out: to.view_mut([N, M])? }.run(desk.0)?;
    desk.answer(&[&to], (0..M * N).map(|i| x[i % M * N + i / M].into()).collect())
}

fn fill(desk: &Desk<'_>) -> Result<Answer> {
    let mut to = desk.room(N)?;
    Fill { value: 1.5, out: to.view_mut([N])? }.run(desk.0)?;
    desk.answer(&[&to], vec![1.5; N])
}

fn cast(desk: &Desk<'_>) -> Result<Answer> {
    let x = whole(N, 2);
    let (from, mut half, mut to) = (desk.put(&x)?, desk.0.alloc(DType::F16, N)?, desk.room(N)?);
    Cast { x: from.view([N])?, out: half.view_mut([N])? }.run(desk.0)?;
    Cast { x: half.view([N])?, out: to.view_mut([N])? }.run(desk.0)?;
    desk.answer(&[&to], wide(&x))
}

fn matmul(desk: &Desk<'_>) -> Result<Answer> {
    // Sums of more than one chunk, in tiles that are not whole.
    let (m, n, k) = (33, 35, 70);
    let (a, b) = (whole(m * k, 1), whole(k * n, 2));
    let (left, right, mut to) = (desk.put(&a)?, desk.put(&b)?, desk.room(m * n)?);
    Matmul::new(left.view([m, k])?, right.view([k, n])?, to.view_mut([m, n])?).run(desk.0)?;
    let sum = |at: usize| (0..k).map(|p| f64::from(a[at / n * k + p] * b[p * n + at % n])).sum();
    desk.answer(&[&to], (0..m * n).map(sum).collect())
}

fn linear(desk: &Desk<'_>) -> Result<Answer> {
    let (k, n) = (70, 19);
    let (x, w, bias) = (whole(M * k, 1), whole(n * k, 2), whole(n, 3));
    let (rows, added) = (desk.put(&x)?, desk.put(&bias)?);
    let scheme = QuantScheme::per_channel(Bits::Int8);
    let codes = w.iter().map(|&w| (w + 128.0) as u8).collect();
    let quantized = Weight::Quant(Quant::new(n, k, scheme, codes, vec![1.0; n * scheme.groups(k)], Vec::new())?);
    let weights = [Weight::dense(n, k, Values::F32(w.clone()))?, quantized];
    let mut outs = [desk.room(M * n)?, desk.room(M * n)?];
    for (weight, out) in weights.iter().zip(&mut outs) {
        let (packed, bias) = (desk.0.pack(weight)?, Some(added.view([n])?));
        let weight = WeightRef::Packed(&packed);
        Linear { x: rows.view([M, k])?, weight, bias, act: Act::Relu, out: out.view_mut([M, n])? }.run(desk.0)?;
    }
    let sum = |at: usize| (0..k).map(|p| x[at / n * k + p] * w[at % n * k + p]).sum::<f32>() + bias[at % n];
    let wanted: Vec<f64> = (0..M * n).map(|at| sum(at).max(0.0).into()).collect();
    desk.answer(&[&outs[0], &outs[1]], wanted.repeat(2))
}

fn linear_int8(desk: &Desk<'_>) -> Result<Answer> {
    let (k, n) = (70, 19);
    let (x, w) = (whole(M * k, 1), whole(n * k, 2));
    let codes: Vec<i8> = x.iter().map(|&x| x as i8).collect();
    let mut rows = desk.0.alloc(DType::I8, M * k)?;
    Upload::new(&codes, rows.view_mut([M * k])?).run(desk.0)?;
    let scheme = QuantScheme::per_channel(Bits::Int8);
    let weight = w.iter().map(|&w| (w + 128.0) as u8).collect();
    let weight = desk.0.pack(&Weight::Quant(Quant::new(n, k, scheme, weight, vec![0.5; n * scheme.groups(k)], Vec::new())?))?;
    let (scale, mut to) = (desk.put(&[2.0; M])?, desk.room(M * n)?);
    let (x_scale, out) = (scale.view([M])?, to.view_mut([M, n])?);
    LinearInt8 { x: rows.view([M, k])?, x_scale, weight: &weight, bias: None, act: Act::None, out }.run(desk.0)?;
    let sum = |at: usize| (0..k).map(|p| f64::from(x[at / n * k + p] * w[at % n * k + p])).sum();
    desk.answer(&[&to], (0..M * n).map(sum).collect())
}

fn quantize(desk: &Desk<'_>) -> Result<Answer> {
    // Multiples of the scale, ±127 among them: codes are exact.
    let mut x = whole(M * N, 1);
    x.iter_mut().step_by(N).for_each(|x| *x = -127.0);
    let from = desk.put(&x)?;
    let (mut codes, mut scale, mut to) = (desk.0.alloc(DType::I8, M * N)?, desk.room(M)?, desk.room(M * N)?);
    Quantize { x: from.view([M, N])?, q: codes.view_mut([M, N])?, scale: scale.view_mut([M])? }.run(desk.0)?;
    Cast { x: codes.view([M, N])?, out: to.view_mut([M, N])? }.run(desk.0)?;
    desk.answer(&[&to, &scale], wide(&x).into_iter().chain([1.0; M]).collect())
}

/// Queries, keys and values of two heads over one: of 4 queries and 70 keys, 5 elements each.
const HEADS: usize = 2;
const QUERIES: usize = 4;
const KEYS: usize = 70;
const HEAD: usize = 5;

/// Weight of a key for a query of a head: softmax of their products, a fifth each, over the keys it sees.
fn weights(q: &[f32], k: &[f32], query: usize, head: usize) -> Vec<f64> {
    let seen = query + 1 + KEYS - QUERIES;
    let at = (query * HEADS + head) * HEAD;
    let score = |key: usize| (0..HEAD).map(|p| 0.2 * f64::from(q[at + p] * k[key * HEAD + p])).sum::<f64>();
    let total = log_sum((0..seen).map(score));
    (0..KEYS).map(|key| if key < seen { (score(key) - total).exp() } else { 0.0 }).collect()
}

fn attention(desk: &Desk<'_>) -> Result<Answer> {
    let (q, k, v) = (whole(QUERIES * HEADS * HEAD, 1), whole(KEYS * HEAD, 2), whole(KEYS * HEAD, 3));
    let (queries, keys, values, mut to) = (desk.put(&q)?, desk.put(&k)?, desk.put(&v)?, desk.room(q.len())?);
    let (of_q, of_k) = ([1, QUERIES, HEADS, HEAD], [1, KEYS, 1, HEAD]);
    let (mask, out) = (Mask::Causal, to.view_mut(of_q)?);
    Attention {
        q: queries.view(of_q)?,
        k: keys.view(of_k)?,
        v: values.view(of_k)?,
        lengths: None,
        mask,
        scale: 0.2,
        out,
        lse: None,
    }
    .run(desk.0)?;
    let mixed = |at: usize| {
        let w = weights(&q, &k, at / HEAD / HEADS, at / HEAD % HEADS);
        w.iter().enumerate().map(|(key, w)| w * f64::from(v[key * HEAD + at % HEAD])).sum()
    };
    desk.answer(&[&to], (0..q.len()).map(mixed).collect())
}

fn attention_backward(desk: &Desk<'_>) -> Result<Answer> {
    let (q, k, v) = (whole(QUERIES * HEADS * HEAD, 1), whole(KEYS * HEAD, 2), whole(KEYS * HEAD, 3));
    let dout = whole(q.len(), 4);
    let (mut out, mut lse) = (vec![0f32; q.len()], vec![0f32; HEADS * QUERIES]);
    let (mut dq, mut dk, mut dv) = (vec![0f64; q.len()], vec![0f64; k.len()], vec![0f64; v.len()]);
    for row in 0..QUERIES * HEADS {
        let (query, head, at) = (row / HEADS, row % HEADS, row * HEAD);
        let w = weights(&q, &k, query, head);
        let dot = |key: usize| (0..HEAD).map(|p| f64::from(dout[at + p] * v[key * HEAD + p])).sum::<f64>();
        let delta: f64 = (0..KEYS).map(|key| w[key] * dot(key)).sum();
        let score = (0..HEAD).map(|p| 0.2 * f64::from(q[at + p] * k[p])).sum::<f64>();
        lse[head * QUERIES + query] = (score - w[0].ln()) as f32;
        for p in 0..HEAD {
            out[at + p] = (0..KEYS).map(|key| w[key] * f64::from(v[key * HEAD + p])).sum::<f64>() as f32;
            for key in 0..KEYS {
                let ds = 0.2 * w[key] * (dot(key) - delta);
                dq[at + p] += ds * f64::from(k[key * HEAD + p]);
                dk[key * HEAD + p] += ds * f64::from(q[at + p]);
                dv[key * HEAD + p] += w[key] * f64::from(dout[at + p]);
            }
        }
    }
    let (queries, keys, values, grad) = (desk.put(&q)?, desk.put(&k)?, desk.put(&v)?, desk.put(&dout)?);
    let (result, sums) = (desk.put(&out)?, desk.put(&lse)?);
    let (mut to_q, mut to_k, mut to_v) = (desk.room(q.len())?, desk.room(k.len())?, desk.room(v.len())?);
    let (of_q, of_k) = ([1, QUERIES, HEADS, HEAD], [1, KEYS, 1, HEAD]);
    AttentionBackward {
        q: queries.view(of_q)?,
        k: keys.view(of_k)?,
        v: values.view(of_k)?,
        lengths: None,
        mask: Mask::Causal,
        scale: 0.2,
        out: result.view(of_q)?,
        lse: sums.view([1, HEADS, QUERIES])?,
        dout: grad.view(of_q)?,
        dq: to_q.view_mut(of_q)?,
        dk: to_k.view_mut(of_k)?,
        dv: to_v.view_mut(of_k)?,
    }
    .run(desk.0)?;
    desk.answer(&[&to_q, &to_k, &to_v], [dq, dk, dv].concat())
}

fn rope(desk: &Desk<'_>) -> Result<Answer> {
    let (heads, d) = (2, 6);
    let x = whole(M * heads * d, 1);
    let (from, mut to) = (desk.put(&x)?, desk.room(x.len())?);
    let (pairing, direction, dims) = (Pairing::Interleaved, Direction::Forward, [1, M, heads, d]);
    Rope { x: from.view(dims)?, position: 100, theta: 1e4, pairing, direction, out: to.view_mut(dims)? }.run(desk.0)?;
    let turned = |at: usize| {
        let angle = (100 + at / d / heads) as f64 * 1e4f64.powf(-((at % d / 2 * 2) as f64) / d as f64);
        let (own, other) = (f64::from(x[at]), f64::from(x[at ^ 1]));
        own * angle.cos() + if at.is_multiple_of(2) { -other } else { other } * angle.sin()
    };
    desk.answer(&[&to], (0..x.len()).map(turned).collect())
}

fn layer_norm(desk: &Desk<'_>) -> Result<Answer> {
    let (x, w, b) = (whole(M * N, 1), whole(N, 2), whole(N, 3));
    let (from, weight, bias, mut to) = (desk.put(&x)?, desk.put(&w)?, desk.put(&b)?, desk.room(M * N)?);
    let (weight, bias, out) = (weight.view([N])?, Some(bias.view([N])?), to.view_mut([M, N])?);
    LayerNorm { x: from.view([M, N])?, weight, bias, eps: EPS, out, mean: None, rstd: None }.run(desk.0)?;
    let normal = |[x]: [&[f32]; 1]| {
        let (middle, rstd) = moments(x);
        (0..N).map(|i| (f64::from(x[i]) - middle) * rstd * f64::from(w[i]) + f64::from(b[i])).collect()
    };
    desk.answer(&[&to], rows_by([&x], normal))
}

/// What a norm's gradient is made of, for one row: dx, from x̂ and dout · weight, less its mean where the norm subtracts one.
fn norm_gradient(hat: &[f64], dy: &[f64], rstd: f64, centred: bool) -> Vec<f64> {
    let along = mean(hat.iter().zip(dy).map(|(hat, dy)| hat * dy));
    let level = if centred { mean(dy.iter().copied()) } else { 0.0 };
    hat.iter().zip(dy).map(|(hat, dy)| rstd * (dy - level - hat * along)).collect()
}

fn layer_norm_backward(desk: &Desk<'_>) -> Result<Answer> {
    let (x, w, dout) = (whole(M * N, 1), whole(N, 2), whole(M * N, 3));
    let stats: Vec<(f64, f64)> = x.chunks(N).map(moments).collect();
    let hat: Vec<f64> = (0..M * N).map(|at| (f64::from(x[at]) - stats[at / N].0) * stats[at / N].1).collect();
    let dy: Vec<f64> = (0..M * N).map(|at| f64::from(dout[at] * w[at % N])).collect();
    let dx = (0..M).flat_map(|row| norm_gradient(&hat[row * N..][..N], &dy[row * N..][..N], stats[row].1, true));
    let dweight = (0..N).map(|i| (0..M).map(|row| hat[row * N + i] * f64::from(dout[row * N + i])).sum());
    let dbias = (0..N).map(|i| (0..M).map(|row| f64::from(dout[row * N + i])).sum());
    let wanted = dx.chain(dweight).chain(dbias).collect();
    let (from, weight, grad) = (desk.put(&x)?, desk.put(&w)?, desk.put(&dout)?);
    let middle = desk.put(&stats.iter().map(|of| of.0 as f32).collect::<Vec<_>>())?;
    let rstd = desk.put(&stats.iter().map(|of| of.1 as f32).collect::<Vec<_>>())?;
    let (mut to, mut to_weight, mut to_bias) = (desk.room(M * N)?, desk.room(N)?, desk.room(N)?);
    LayerNormBackward {
        x: from.view([M, N])?,
        weight: weight.view([N])?,
        mean: middle.view([M])?,
        rstd: rstd.view([M])?,
        dout: grad.view([M, N])?,
        dx: to.view_mut([M, N])?,
        dweight: to_weight.view_mut([N])?,
        dbias: Some(to_bias.view_mut([N])?),
    }
    .run(desk.0)?;
    desk.answer(&[&to, &to_weight, &to_bias], wanted)
}

fn rms_norm(desk: &Desk<'_>) -> Result<Answer> {
    let (x, w) = (whole(M * N, 1), whole(N, 2));
    let (from, weight, mut to) = (desk.put(&x)?, desk.put(&w)?, desk.room(M * N)?);
    let (weight, out) = (weight.view([N])?, to.view_mut([M, N])?);
    RmsNorm { x: from.view([M, N])?, weight, eps: EPS, out, rstd: None }.run(desk.0)?;
    let normal = |[x]: [&[f32]; 1]| (0..N).map(|i| f64::from(x[i] * w[i]) * root(x)).collect();
    desk.answer(&[&to], rows_by([&x], normal))
}

fn rms_norm_backward(desk: &Desk<'_>) -> Result<Answer> {
    let (x, w, dout) = (whole(M * N, 1), whole(N, 2), whole(M * N, 3));
    let roots: Vec<f64> = x.chunks(N).map(root).collect();
    let hat: Vec<f64> = (0..M * N).map(|at| f64::from(x[at]) * roots[at / N]).collect();
    let dy: Vec<f64> = (0..M * N).map(|at| f64::from(dout[at] * w[at % N])).collect();
    let dx = (0..M).flat_map(|row| norm_gradient(&hat[row * N..][..N], &dy[row * N..][..N], roots[row], false));
    let dweight = (0..N).map(|i| (0..M).map(|row| hat[row * N + i] * f64::from(dout[row * N + i])).sum());
    let wanted = dx.chain(dweight).collect();
    let (from, weight, grad) = (desk.put(&x)?, desk.put(&w)?, desk.put(&dout)?);
    let rstd = desk.put(&roots.iter().map(|&root| root as f32).collect::<Vec<_>>())?;
    let (mut to, mut to_weight) = (desk.room(M * N)?, desk.room(N)?);
    RmsNormBackward {
        x: from.view([M, N])?,
        weight: weight.view([N])?,
        rstd: rstd.view([M])?,
        dout: grad.view([M, N])?,
        dx: to.view_mut([M, N])?,
        dweight: to_weight.view_mut([N])?,
    }
    .run(desk.0)?;
    desk.answer(&[&to, &to_weight], wanted)
}

fn softmax_of(x: &[f32]) -> Vec<f64> {
    let total = log_sum(x.iter().map(|&x| x.into()));
    x.iter().map(|&x| (f64::from(x) - total).exp()).collect()
}

fn softmax(desk: &Desk<'_>) -> Result<Answer> {
    let x = whole(M * N, 1);
    let (from, mut to) = (desk.put(&x)?, desk.room(M * N)?);
    Softmax { x: from.view([M, N])?, out: to.view_mut([M, N])? }.run(desk.0)?;
    desk.answer(&[&to], rows_by([&x], |[x]| softmax_of(x)))
}

fn softmax_backward(desk: &Desk<'_>) -> Result<Answer> {
    let (x, dout) = (whole(M * N, 1), whole(M * N, 2));
    let y: Vec<f32> = rows_by([&x], |[x]| softmax_of(x)).into_iter().map(|y| y as f32).collect();
    let (from, grad, mut to) = (desk.put(&y)?, desk.put(&dout)?, desk.room(M * N)?);
    SoftmaxBackward { y: from.view([M, N])?, dout: grad.view([M, N])?, dx: to.view_mut([M, N])? }.run(desk.0)?;
    let gradient = |[y, dout]: [&[f32]; 2]| {
        let along: f64 = y.iter().zip(dout).map(|(y, dout)| f64::from(y * dout)).sum();
        y.iter().zip(dout).map(|(&y, &dout)| f64::from(y) * (f64::from(dout) - along)).collect()
    };
    desk.answer(&[&to], rows_by([&y, &dout], gradient))
}

fn sigmoid(x: f32) -> f64 {
    1.0 / (1.0 + f64::from(-x).exp())
}

fn unary(desk: &Desk<'_>) -> Result<Answer> {
    let x = whole(N, 1);
    let (from, mut to) = (desk.put(&x)?, desk.room(N)?);
    Unary { op: UnaryOp::Silu, x: from.view([N])?, out: to.view_mut([N])? }.run(desk.0)?;
    desk.answer(&[&to], x.iter().map(|&x| f64::from(x) * sigmoid(x)).collect())
}

fn unary_backward(desk: &Desk<'_>) -> Result<Answer> {
    let (x, dout) = (whole(N, 1), whole(N, 2));
    let (from, grad, mut to) = (desk.put(&x)?, desk.put(&dout)?, desk.room(N)?);
    UnaryBackward { op: UnaryOp::Silu, x: from.view([N])?, dout: grad.view([N])?, dx: to.view_mut([N])? }.run(desk.0)?;
    let slope = |x: f32| sigmoid(x) * (1.0 + f64::from(x) * (1.0 - sigmoid(x)));
    desk.answer(&[&to], x.iter().zip(&dout).map(|(&x, &dout)| f64::from(dout) * slope(x)).collect())
}

fn binary(desk: &Desk<'_>) -> Result<Answer> {
    let (x, y) = (whole(N, 1), whole(N, 2));
    let (a, b, mut to) = (desk.put(&x)?, desk.put(&y)?, desk.room(N)?);
    Binary { op: BinaryOp::Mul, a: a.view([N])?, b: b.view([N])?, out: to.view_mut([N])? }.run(desk.0)?;
    desk.answer(&[&to], x.iter().zip(&y).map(|(&x, &y)| f64::from(x * y)).collect())
}

fn axpy(desk: &Desk<'_>) -> Result<Answer> {
    let (x, y) = (whole(N, 1), whole(N, 2));
    let (from, mut to) = (desk.put(&x)?, desk.put(&y)?);
    Axpy { alpha: 0.5, x: from.view([N])?, out: to.view_mut([N])? }.run(desk.0)?;
    desk.answer(&[&to], x.iter().zip(&y).map(|(&x, &y)| f64::from(0.5 * x + y)).collect())
}

fn reduce(desk: &Desk<'_>) -> Result<Answer> {
    let x = whole(M * N, 1);
    let (from, mut to) = (desk.put(&x)?, desk.room(M)?);
    Reduce { op: ReduceOp::Sum, x: from.view([M, N])?, axis: 1, out: to.view_mut([M, 1])? }.run(desk.0)?;
    desk.answer(&[&to], x.chunks(N).map(|row| row.iter().sum::<f32>().into()).collect())
}

/// Rows that are looked up: one twice, one not at all.
const LOOKED_UP: [u32; M] = [4, 1, 0, 4, 2];

fn gather(desk: &Desk<'_>) -> Result<Answer> {
    let x = whole(M * N, 1);
    let (table, index, mut to) = (desk.put(&x)?, desk.indices(&LOOKED_UP)?, desk.room(M * N)?);
    Gather { table: table.view([M, N])?, index: index.view([M])?, out: to.view_mut([M, N])? }.run(desk.0)?;
    desk.answer(&[&to], LOOKED_UP.iter().flat_map(|&row| wide(&x[row as usize * N..][..N])).collect())
}

fn scatter_add(desk: &Desk<'_>) -> Result<Answer> {
    let (x, start) = (whole(M * N, 1), whole(M * N, 2));
    let (from, index, mut to) = (desk.put(&x)?, desk.indices(&LOOKED_UP)?, desk.put(&start)?);
    ScatterAdd { index: index.view([M])?, x: from.view([M, N])?, out: to.view_mut([M, N])? }.run(desk.0)?;
    let mut wanted = wide(&start);
    for (from, &row) in LOOKED_UP.iter().enumerate() {
        (0..N).for_each(|i| wanted[row as usize * N + i] += f64::from(x[from * N + i]));
    }
    desk.answer(&[&to], wanted)
}

fn forest(desk: &Desk<'_>) -> Result<Answer> {
    // Trees of one split, by the column of their number: whether it is above 0.
    let (x, leaves) = (whole(M * N, 1), whole(2 * N, 2));
    let nodes: Vec<u32> = (0..N as u32).flat_map(|t| [0, t, 0, 0, Forest::LEAF, 0, 0, Forest::LEAF, 1]).collect();
    let roots: Vec<u32> = (0..N as u32).map(|t| 3 * t).collect();
    let (rows, says, mut to) = (desk.put(&x)?, desk.put(&leaves)?, desk.room(M * N)?);
    let (roots, nodes) = (desk.indices(&roots)?, desk.indices(&nodes)?);
    Forest {
        x: rows.view([M, N])?,
        roots: roots.view([N])?,
        nodes: nodes.view([3 * N, 3])?,
        leaves: says.view([2, N])?,
        scale: 0.5,
        out: to.view_mut([M, N])?,
    }
    .run(desk.0)?;
    let judged = |[x]: [&[f32]; 1]| {
        let above = x.iter().filter(|&&x| x > 0.0).count() as f64;
        let below = N as f64 - above;
        (0..N).map(|c| 0.5 * (below * f64::from(leaves[c]) + above * f64::from(leaves[N + c]))).collect()
    };
    desk.answer(&[&to], rows_by([&x], judged))
}

fn cross_entropy(desk: &Desk<'_>) -> Result<Answer> {
    let x = whole(M * N, 1);
    let (logits, class) = (desk.put(&x)?, desk.indices(&LOOKED_UP)?);
    let (mut loss, mut lse) = (desk.room(M)?, desk.room(M)?);
    let target = Target::Class(class.view([M])?);
    CrossEntropy { logits: logits.view([M, N])?, target, scale: 1.0, loss: loss.view_mut([M])?, lse: lse.view_mut([M])? }
        .run(desk.0)?;
    let totals: Vec<f64> = x.chunks(N).map(|row| log_sum(row.iter().map(|&x| x.into()))).collect();
    let losses = (0..M).map(|row| totals[row] - f64::from(x[row * N + LOOKED_UP[row] as usize]));
    desk.answer(&[&loss, &lse], losses.chain(totals.iter().copied()).collect())
}

fn cross_entropy_backward(desk: &Desk<'_>) -> Result<Answer> {
    let x = whole(M * N, 1);
    let totals: Vec<f32> = x.chunks(N).map(|row| log_sum(row.iter().map(|&x| x.into())) as f32).collect();
    let (logits, class, lse, dloss) = (desk.put(&x)?, desk.indices(&LOOKED_UP)?, desk.put(&totals)?, desk.put(&[2.0; M])?);
    let mut to = desk.room(M * N)?;
    let (target, dlogits) = (Target::Class(class.view([M])?), to.view_mut([M, N])?);
    let (lse, dloss) = (lse.view([M])?, dloss.view([M])?);
    CrossEntropyBackward { logits: logits.view([M, N])?, target, scale: 1.0, lse, dloss, dlogits }.run(desk.0)?;
    let mut wanted: Vec<f64> = rows_by([&x], |[x]| softmax_of(x).into_iter().map(|p| 2.0 * p).collect());
    (0..M).for_each(|row| wanted[row * N + LOOKED_UP[row] as usize] -= 2.0);
    desk.answer(&[&to], wanted)
}

fn random(desk: &Desk<'_>) -> Result<Answer> {
    let mut to = desk.room(5)?;
    let distribution = Distribution::Uniform { low: 0.0, high: 1.0 };
    Random { seed: 0, stream: 0, distribution, out: to.view_mut([5])? }.run(desk.0)?;
    // The first words of Philox-4×32-10 for a counter and a key of zeros (Salmon et al., known answers), and that of counter 1.
    let words = [0x6627_e8d5u32, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8, PHILOX_OF_ONE];
    desk.answer(&[&to], words.map(|word| f64::from(word >> 8) / f64::from(1 << 24)).to_vec())
}

/// First word for counter 1 and key 0.
const PHILOX_OF_ONE: u32 = 0xf8e4_cca4;

fn sgd(desk: &Desk<'_>) -> Result<Answer> {
    let (p, g) = (whole(N, 1), whole(N, 2));
    let (mut param, grad) = (desk.put(&p)?, desk.put(&g)?);
    let (form, param_out) = (Momentum::Heavy, param.view_mut([N])?);
    Sgd { param: param_out, grad: grad.view([N])?, velocity: None, lr: 0.25, momentum: 0.0, form, l2: 0.5, l1: 0.0 }
        .run(desk.0)?;
    desk.answer(&[&param], p.iter().zip(&g).map(|(&p, &g)| f64::from(p - 0.25 * (g + 0.5 * p))).collect())
}

fn adamw(desk: &Desk<'_>) -> Result<Answer> {
    let (p, g) = (whole(N, 1), whole(N, 2));
    let (mut param, grad, mut m, mut v) = (desk.put(&p)?, desk.put(&g)?, desk.room(N)?, desk.room(N)?);
    AdamW {
        param: param.view_mut([N])?,
        grad: grad.view([N])?,
        m: m.view_mut([N])?,
        v: v.view_mut([N])?,
        lr: 0.1,
        beta1: 0.9,
        beta2: 0.99,
        eps: 1e-8,
        weight_decay: 0.5,
        l1: 0.0,
        step: 1,
    }
    .run(desk.0)?;
    // Of the first step m̂ = g and v̂ = g².
    let stepped = |p: f64, g: f64| p - 0.1 * (g / (g.abs() + 1e-8) + 0.5 * p);
    desk.answer(&[&param], p.iter().zip(&g).map(|(&p, &g)| stepped(p.into(), g.into())).collect())
}

fn clip_norm(desk: &Desk<'_>) -> Result<Answer> {
    let x = whole(N, 1);
    let (mut grad, mut norm) = (desk.put(&x)?, desk.room(1)?);
    ClipNorm { grads: &mut [grad.view_mut([N])?], max_norm: 1.0, norm: norm.view_mut([1])? }.run(desk.0)?;
    let length = x.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt();
    desk.answer(&[&grad, &norm], x.iter().map(|&x| f64::from(x) / length).chain([length]).collect())
}
