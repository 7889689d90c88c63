//! Reference of [`Linear`](crate::ops::Linear) and [`LinearInt8`](crate::ops::LinearInt8).

use super::unary::unary;
use crate::Weight;
use crate::ops::{Act, UnaryOp};

/// The activation of a linear layer.
pub fn activate(act: Act, x: f64) -> f64 {
    match act {
        Act::None => x,
        Act::Relu => unary(UnaryOp::Relu, x),
        Act::Gelu => unary(UnaryOp::Gelu, x),
        Act::GeluErf => unary(UnaryOp::GeluErf, x),
        Act::Silu => unary(UnaryOp::Silu, x),
    }
}

/// The values a weight stores, row by row, as (column, value): all of them for dense and quantized weights.
pub fn stored(weight: &Weight) -> Vec<Vec<(usize, f64)>> {
    let mut rows = vec![Vec::new(); weight.n()];
    match weight {
        Weight::Sparse(sparse) => sparse.for_each(|n, k, at| rows[n].push((k, f64::from(sparse.value(n, at))))),
        _ => {
            let dense = weight.to_f32();
            for (n, row) in rows.iter_mut().enumerate() {
                *row = (0..weight.k()).map(|k| (k, f64::from(dense[n * weight.k() + k]))).collect();
            }
        }
    }
    rows
}

/// `out[m, n] = Σₖ x[m, k] · w[n, k] + bias[n]` over the stored values, before the activation. `x` is `[M, K]`.
pub fn linear(x: &[f64], k: usize, weight: &[Vec<(usize, f64)>], bias: Option<&[f64]>, out: &mut [f64]) {
    let n = weight.len();
    for (i, out) in out.iter_mut().enumerate() {
        let (m, n) = (i / n, i % n);
        let dot: f64 = weight[n].iter().map(|&(column, w)| x[m * k + column] * w).sum();
        *out = dot + bias.map_or(0.0, |bias| bias[n]);
    }
}
