//! The reference gradients are right: each is compared with central differences of the reference forward, in f64.
//!
//! For a scalar loss L = ⟨dout, f(x)⟩ and each input element, (L(x + h) − L(x − h)) / 2h with h = ∛ε·max(1, |x|) has an error of
//! order h² ≈ 4e-11; we ask for 1e-6 of the largest gradient.

use kernels::ops::{Direction, Mask, Momentum, Pairing, UnaryOp};
use kernels::reference as spec;

/// Values around ±1 that depend on seed and place alone.
fn normal(seed: u64, len: usize) -> Vec<f64> {
    spec::random(seed, 0, kernels::ops::Distribution::Normal { mean: 0.0, std: 1.0 }, len)
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// Compares `gradient` with the differences of `loss` at `x`.
fn differs(what: &str, x: &[f64], gradient: &[f64], loss: impl Fn(&[f64]) -> f64) {
    let mut x = x.to_vec();
    let largest = gradient.iter().fold(1e-3, |max: f64, g| max.max(g.abs()));
    for i in 0..x.len() {
        let (at, h) = (x[i], f64::EPSILON.cbrt() * x[i].abs().max(1.0));
        x[i] = at + h;
        let above = loss(&x);
        x[i] = at - h;
        let below = loss(&x);
        x[i] = at;
        let numeric = (above - below) / (2.0 * h);
        let error = (numeric - gradient[i]).abs();
        assert!(error <= 1e-6 * largest, "{what}[{i}]: gradient {}, differences {numeric}", gradient[i]);
    }
}

/// 64 seeds of a check.
fn seeds(check: impl Fn(u64)) {
    (0..64).for_each(check);
}

const UNARY: [UnaryOp; 15] = [
    UnaryOp::Neg,
    UnaryOp::Abs,
    UnaryOp::Square,
    UnaryOp::Sqrt,
    UnaryOp::Rsqrt,
    UnaryOp::Recip,
    UnaryOp::Exp,
    UnaryOp::Log,
    UnaryOp::Tanh,
    UnaryOp::Sigmoid,
    UnaryOp::Relu,
    UnaryOp::Gelu,
    UnaryOp::GeluErf,
    UnaryOp::Silu,
    UnaryOp::Affine { scale: 1.7, shift: -0.3 },
];

#[test]
fn unary() {
    seeds(|seed| {
        for op in UNARY {
            // Away from 0, where some have a kink or a pole.
            let x: Vec<f64> = normal(seed, 8).into_iter().map(|x| x + 0.5f64.copysign(x)).collect();
            let positive = matches!(op, UnaryOp::Sqrt | UnaryOp::Rsqrt | UnaryOp::Log);
            let x: Vec<f64> = if positive { x.into_iter().map(f64::abs).collect() } else { x };
            let dout = normal(seed + 1000, 8);
            let dx: Vec<f64> = x.iter().zip(&dout).map(|(&x, d)| spec::unary_derivative(op, x) * d).collect();
            differs(&format!("{op:?}"), &x, &dx, |x| x.iter().zip(&dout).map(|(&x, d)| spec::unary(op, x) * d).sum());
        }
    });
}

#[test]
fn softmax() {
    seeds(|seed| {
        let (x, dout) = (normal(seed, 9), normal(seed + 1000, 9));
        let forward = |x: &[f64]| {
            let mut y = x.to_vec();
            spec::softmax_row(&mut y);
            y
        };
        let mut dx = vec![0.0; 9];
        spec::softmax_backward_row(&forward(&x), &dout, &mut dx);
        differs("softmax", &x, &dx, |x| dot(&forward(x), &dout));
    });
}

#[test]
fn layer_norm() {
    seeds(|seed| {
        let (x, weight, bias, dout) = (normal(seed, 7), normal(seed + 100, 7), normal(seed + 200, 7), normal(seed + 300, 7));
        let forward = |x: &[f64], weight: &[f64], bias: &[f64]| {
            let mut out = vec![0.0; 7];
            let stats = spec::layer_norm_row(x, weight, Some(bias), 1e-5, &mut out);
            (dot(&out, &dout), stats)
        };
        let stats = forward(&x, &weight, &bias).1;
        let (mut dx, mut dweight, mut dbias) = (vec![0.0; 7], vec![0.0; 7], vec![0.0; 7]);
        spec::layer_norm_backward_row(&x, &weight, stats, &dout, &mut dx, &mut dweight, &mut dbias);
        differs("dx", &x, &dx, |x| forward(x, &weight, &bias).0);
        differs("dweight", &weight, &dweight, |weight| forward(&x, weight, &bias).0);
        differs("dbias", &bias, &dbias, |bias| forward(&x, &weight, bias).0);
    });
}

#[test]
fn rms_norm() {
    seeds(|seed| {
        let (x, weight, dout) = (normal(seed, 7), normal(seed + 100, 7), normal(seed + 300, 7));
        let forward = |x: &[f64], weight: &[f64]| {
            let mut out = vec![0.0; 7];
            let rstd = spec::rms_norm_row(x, weight, 1e-5, &mut out);
            (dot(&out, &dout), rstd)
        };
        let (mut dx, mut dweight) = (vec![0.0; 7], vec![0.0; 7]);
        spec::rms_norm_backward_row(&x, &weight, forward(&x, &weight).1, &dout, &mut dx, &mut dweight);
        differs("dx", &x, &dx, |x| forward(x, &weight).0);
        differs("dweight", &weight, &dweight, |weight| forward(&x, weight).0);
    });
}

#[test]
fn cross_entropy() {
    seeds(|seed| {
        let x = normal(seed, 6);
        let mut weights = normal(seed + 100, 6);
        spec::softmax_row(&mut weights);
        let targets = [
            spec::TargetRow::Class(Some(seed as usize % 6)),
            spec::TargetRow::Class(None),
            spec::TargetRow::Distribution(&weights),
        ];
        for target in targets {
            let lse = spec::cross_entropy_row(&x, target, 0.5).1;
            let mut dx = vec![0.0; 6];
            spec::cross_entropy_backward_row(&x, target, 0.5, lse, 1.5, &mut dx);
            differs("logits", &x, &dx, |x| 1.5 * spec::cross_entropy_row(x, target, 0.5).0);
        }
    });
}

#[test]
fn attention() {
    seeds(|seed| {
        let dims = spec::AttentionDims {
            batch: 2,
            seq_q: 3,
            seq_k: 4,
            heads: 4,
            kv_heads: 2,
            head_dim: 3,
            mask: if seed % 2 == 0 { Mask::None } else { Mask::Causal },
            scale: 0.7,
            lengths: (seed % 3 == 0).then(|| vec![seed as usize % 5, 3]),
        };
        let (q, k, v, dout) = (normal(seed, 72), normal(seed + 100, 48), normal(seed + 200, 48), normal(seed + 300, 72));
        let forward = |q: &[f64], k: &[f64], v: &[f64]| {
            let (mut out, mut lse) = (vec![0.0; 72], vec![0.0; 24]);
            spec::attention(&dims, q, k, v, &mut out, &mut lse);
            (out, lse)
        };
        let loss = |q: &[f64], k: &[f64], v: &[f64]| dot(&forward(q, k, v).0, &dout);
        let (out, lse) = forward(&q, &k, &v);
        let of = spec::Forward { q: &q, k: &k, v: &v, out: &out, lse: &lse, dout: &dout };
        let (mut dq, mut dk, mut dv) = (vec![0.0; 72], vec![0.0; 48], vec![0.0; 48]);
        spec::attention_backward(&dims, of, &mut dq, &mut dk, &mut dv);
        differs("dq", &q, &dq, |q| loss(q, &k, &v));
        differs("dk", &k, &dk, |k| loss(&q, k, &v));
        differs("dv", &v, &dv, |v| loss(&q, &k, v));
    });
}

#[test]
fn rope_backwards_is_its_gradient() {
    seeds(|seed| {
        let dims = [1, 3, 2, 6];
        let pairing = if seed % 2 == 0 { Pairing::Halves } else { Pairing::Interleaved };
        let rotation = |direction| spec::Rotation { position: seed as usize, theta: 100.0, pairing, direction };
        let (x, dout) = (normal(seed, 36), normal(seed + 100, 36));
        let rotate = |direction, x: &[f64]| {
            let mut out = vec![0.0; 36];
            spec::rope(dims, rotation(direction), x, &mut out);
            out
        };
        differs("rope", &x, &rotate(Direction::Backward, &dout), |x| dot(&rotate(Direction::Forward, x), &dout));
    });
}

#[test]
fn scatter_add_is_the_gradient_of_gather() {
    seeds(|seed| {
        let (table, dout) = (normal(seed, 12), normal(seed + 100, 15));
        let index = [1, 3, 1, 0, seed as usize % 4];
        let mut dtable = vec![0.0; 12];
        spec::scatter_add(&dout, 3, &index, &mut dtable);
        differs("table", &table, &dtable, |table| {
            let mut out = vec![0.0; 15];
            spec::gather(table, 3, &index, &mut out);
            dot(&out, &dout)
        });
    });
}

#[test]
fn sgd_descends_the_penalties_it_names() {
    // Without momentum and with lr 1, the step is the gradient of ½·l2·p² + l1·|p|.
    seeds(|seed| {
        let rates = spec::SgdRates { lr: 1.0, momentum: 0.0, form: Momentum::Heavy, l2: 0.3, l1: 0.2 };
        let p: Vec<f64> = normal(seed, 5).into_iter().map(|p| p + 0.1f64.copysign(p)).collect();
        let step = |&p: &f64| {
            let mut after = p;
            spec::sgd(rates, 0.0, &mut after, None);
            p - after
        };
        let steps: Vec<f64> = p.iter().map(step).collect();
        differs("penalty", &p, &steps, |p| p.iter().map(|p| 0.15 * p * p + 0.2 * p.abs()).sum());
    });
}
