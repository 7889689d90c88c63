//! Reference of [`Unary`](crate::ops::Unary) and [`UnaryBackward`](crate::ops::UnaryBackward).

use super::erf::{erf, erfc};
use crate::ops::UnaryOp;
use std::f64::consts::{FRAC_1_SQRT_2, FRAC_2_SQRT_PI, PI};

fn sigmoid(x: f64) -> f64 {
    if x >= 0.0 { 1.0 / (1.0 + (-x).exp()) } else { x.exp() / (1.0 + x.exp()) }
}

/// The normal distribution function and its density.
fn normal(x: f64) -> (f64, f64) {
    let cdf = if x < 0.0 { 0.5 * erfc(-x * FRAC_1_SQRT_2) } else { 0.5 + 0.5 * erf(x * FRAC_1_SQRT_2) };
    (cdf, (-0.5 * x * x).exp() * FRAC_2_SQRT_PI * 0.5 * FRAC_1_SQRT_2)
}

/// √(2/π)·(x + 0.044715·x³) and its derivative.
fn gelu_inner(x: f64) -> (f64, f64) {
    let c = (2.0 / PI).sqrt();
    (c * (x + 0.044715 * x * x * x), c * (1.0 + 3.0 * 0.044715 * x * x))
}

/// f(x).
pub fn unary(op: UnaryOp, x: f64) -> f64 {
    match op {
        UnaryOp::Neg => -x,
        UnaryOp::Abs => x.abs(),
        UnaryOp::Square => x * x,
        UnaryOp::Sqrt => x.sqrt(),
        UnaryOp::Rsqrt => 1.0 / x.sqrt(),
        UnaryOp::Recip => 1.0 / x,
        UnaryOp::Exp => x.exp(),
        UnaryOp::Log => x.ln(),
        UnaryOp::Tanh => x.tanh(),
        UnaryOp::Sigmoid => sigmoid(x),
        UnaryOp::Relu if x.is_nan() => x,
        UnaryOp::Relu => {
            if x > 0.0 {
                x
            } else {
                0.0
            }
        }
        // 0.5·(1 + tanh y) = sigmoid(2y), which keeps its digits where tanh is near −1.
        UnaryOp::Gelu => x * sigmoid(2.0 * gelu_inner(x).0),
        UnaryOp::GeluErf => x * normal(x).0,
        UnaryOp::Silu => x * sigmoid(x),
        UnaryOp::Affine { scale, shift } => f64::from(scale) * x + f64::from(shift),
    }
}

/// f′(x).
pub fn unary_derivative(op: UnaryOp, x: f64) -> f64 {
    match op {
        UnaryOp::Neg => -1.0,
        UnaryOp::Abs if x.is_nan() || x == 0.0 => x * 0.0,
        UnaryOp::Abs => x.signum(),
        UnaryOp::Square => 2.0 * x,
        UnaryOp::Sqrt => 0.5 / x.sqrt(),
        UnaryOp::Rsqrt => -0.5 / (x * x.sqrt()),
        UnaryOp::Recip => -1.0 / (x * x),
        UnaryOp::Exp => x.exp(),
        UnaryOp::Log => 1.0 / x,
        UnaryOp::Tanh => 1.0 / x.cosh().powi(2),
        UnaryOp::Sigmoid => sigmoid(x) * sigmoid(-x),
        UnaryOp::Relu => {
            if x > 0.0 {
                1.0
            } else {
                0.0
            }
        }
        UnaryOp::Gelu => {
            let (inner, slope) = gelu_inner(x);
            let s = sigmoid(2.0 * inner);
            s + x * 2.0 * slope * s * sigmoid(-2.0 * inner)
        }
        UnaryOp::GeluErf => normal(x).0 + x * normal(x).1,
        UnaryOp::Silu => sigmoid(x) * (1.0 + x * sigmoid(-x)),
        UnaryOp::Affine { scale, .. } => f64::from(scale),
    }
}
