//! Cases of [`Unary`], [`UnaryBackward`], [`Binary`] and [`Axpy`].

use super::{Suite, shape};
use crate::conformance::bounds::{Model, U, Want, ulp};
use crate::conformance::case::Case;
use crate::conformance::draw::{Draw, Strides};
use crate::conformance::recipe::{Recipe, Spread};
use crate::ops::{Axpy, Binary, BinaryOp, Unary, UnaryBackward, UnaryOp};
use crate::reference::{binary, unary, unary_derivative};
use crate::{DType, Op};

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

const BINARY: [BinaryOp; 6] = [BinaryOp::Add, BinaryOp::Sub, BinaryOp::Mul, BinaryOp::Div, BinaryOp::Max, BinaryOp::Min];

pub(super) fn suites() -> Vec<Suite> {
    let mut suites = Vec::new();
    for dtype in DType::FLOATS {
        // Every function with every spread of values that its rules speak of.
        let spreads = [Spread::Normal, Spread::NonFinite, Spread::Zeros, Spread::Subnormal, Spread::Largest, Spread::HugeAndTiny];
        let each = |count: usize, spreads: &[Spread]| -> Vec<Recipe> {
            let recipe = |op: usize, &spread: &Spread| Recipe::directed([3, 65, 1, 1, 1], [op as u32, 0, 0, 0]).spread(spread);
            (0..count).flat_map(|op| spreads.iter().map(move |spread| recipe(op, spread))).collect()
        };
        suites.push(Suite::new(Unary::NAME, dtype, 256 / 3 + 1, move |d| unary_case(d, dtype)).directed(each(15, &spreads)));
        suites.push(
            Suite::new(UnaryBackward::NAME, dtype, 256 / 3 + 1, move |d| backward(d, dtype)).directed(each(15, &spreads[..1])),
        );
        suites.push(Suite::new(Binary::NAME, dtype, 256 / 3 + 1, move |d| binary_case(d, dtype)).directed(each(6, &spreads)));
        suites.push(Suite::new(Axpy::NAME, dtype, 256 / 3 + 1, move |d| axpy(d, dtype)).directed(each(1, &spreads)));
    }
    suites.extend(every_narrow_value());
    suites
}

/// What the documentation of [`Unary`] promises of one element.
fn want(model: Model, dtype: DType, op: UnaryOp, x: f64) -> Want {
    let value = unary(op, x);
    // Where f is subnormal the documentation promises no digits.
    let near_zero = 2f64.powi(-126);
    match op {
        // The formula gives −∞·0; an implementation that knows the limit gives 0.
        UnaryOp::Gelu | UnaryOp::GeluErf | UnaryOp::Silu if x == f64::NEG_INFINITY => Want { value: 0.0, bound: f64::INFINITY },
        UnaryOp::Neg | UnaryOp::Abs | UnaryOp::Relu => Want { value, bound: model.flushed() },
        UnaryOp::Square | UnaryOp::Sqrt | UnaryOp::Recip => model.one_rounding(dtype, value),
        UnaryOp::Affine { scale, shift } => {
            let product = (f64::from(scale) * x).abs();
            Want::within(value, 1.01 * U * (product + value.abs()) + U * f64::from(shift).abs() + model.tiny(), product)
        }
        UnaryOp::Gelu | UnaryOp::GeluErf => {
            Want { value, bound: 4.0 * ulp(value) + 2f64.powi(-23) * x.abs().max(1.0) + near_zero }
        }
        _ => Want { value, bound: 4.0 * ulp(value) + near_zero },
    }
}

fn unary_case(draw: &mut Draw<'_>, dtype: DType) -> Case {
    let op = draw.among(&UNARY);
    let shape = shape(draw);
    let mut x = draw.input("x", dtype, shape, Strides::Any);
    let positive = matches!(op, UnaryOp::Sqrt | UnaryOp::Rsqrt | UnaryOp::Log) && !matches!(draw.spread(), Spread::NonFinite);
    if positive {
        // Half of the values below zero would all be NaN.
        let values: Vec<f64> = x.values().into_iter().map(f64::abs).collect();
        x.set(values);
    }
    let out = draw.output("out", dtype, shape, Strides::Any);
    let model = draw.model();
    let wants = x.values().into_iter().map(|x| want(model, dtype, op, x)).collect();
    let mut case =
        Case::new(vec![x], vec![out], vec![wants], move |on, mut with| Unary { op, x: with.input(), out: with.output() }.run(on));
    case.plain = op == UnaryOp::Relu;
    case
}

/// Every value of the two narrow types through every function: 15 × 65,536 elements each, as one case per function.
fn every_narrow_value() -> [Suite; 2] {
    let suite = |dtype: DType| {
        let recipes = (0..15).map(|op| Recipe::directed([1; 5], [op, 0, 0, 0])).collect();
        Suite::new(Unary::NAME, dtype, 0, move |draw| narrow(draw, dtype)).group("every-value").directed(recipes)
    };
    [DType::Bf16, DType::F16].map(suite)
}

fn narrow(draw: &mut Draw<'_>, dtype: DType) -> Case {
    let op = draw.among(&UNARY);
    let value = |bits: u16| match dtype {
        DType::Bf16 => f64::from(half::bf16::from_bits(bits)),
        _ => f64::from(half::f16::from_bits(bits)),
    };
    let x = draw.input_with("x", dtype, [1 << 16], Strides::Any, (0..=u16::MAX).map(value));
    let out = draw.output("out", dtype, [1 << 16], Strides::Any);
    let model = draw.model();
    let wants = x.values().into_iter().map(|x| want(model, dtype, op, x)).collect();
    let mut case =
        Case::new(vec![x], vec![out], vec![wants], move |on, mut with| Unary { op, x: with.input(), out: with.output() }.run(on));
    case.plain = true;
    case
}

/// Error of f′·dout. f′ has few roundings, except where it is a difference: 1 − tanh², 1 − sigmoid and the like lose 2u
/// absolutely, which gelu multiplies by x·(inner slope) until tanh is exactly ±1.
fn derivative_error(op: UnaryOp, x: f64) -> f64 {
    let slope = unary_derivative(op, x);
    let absolute = match op {
        UnaryOp::Tanh | UnaryOp::Sigmoid | UnaryOp::Silu => 4.0 + x.abs().min(20.0),
        UnaryOp::Gelu | UnaryOp::GeluErf => 8.0 + x.abs().min(10.0) * (1.0 + 0.134 * (x * x).min(100.0)),
        _ => 0.0,
    };
    2.0 * U * ((8.0 + (x * x).min(90.0)) * slope.abs() + absolute)
}

fn backward(draw: &mut Draw<'_>, dtype: DType) -> Case {
    let op = draw.among(&UNARY);
    draw.tame();
    let shape = shape(draw);
    let mut x = draw.input("x", dtype, shape, Strides::Any);
    if matches!(op, UnaryOp::Sqrt | UnaryOp::Rsqrt | UnaryOp::Log) {
        let values: Vec<f64> = x.values().into_iter().map(f64::abs).collect();
        x.set(values);
    }
    let dout = draw.input("dout", dtype, shape, Strides::Any);
    let dx = draw.output("dx", dtype, shape, Strides::Any);
    let model = draw.model();
    let pairs = x.values().into_iter().zip(dout.values());
    let wants = pairs.map(|(x, dout)| {
        let value = unary_derivative(op, x) * dout;
        Want::within(
            value,
            derivative_error(op, x) * dout.abs() + 4.0 * ulp(value) + model.tiny(),
            (1.0 / (x * x)).abs() * dout.abs(),
        )
    });
    let wants = wants.collect();
    let mut case = Case::new(vec![x, dout], vec![dx], vec![wants], move |on, mut with| {
        UnaryBackward { op, x: with.input(), dout: with.input(), dx: with.output() }.run(on)
    });
    case.plain = matches!(op, UnaryOp::Relu | UnaryOp::Abs);
    case
}

fn binary_case(draw: &mut Draw<'_>, dtype: DType) -> Case {
    let op = draw.among(&BINARY);
    let shape = shape(draw);
    let a = draw.input("a", dtype, shape, Strides::Any);
    let b = draw.input("b", dtype, shape, Strides::Any);
    let out = draw.output("out", dtype, shape, Strides::Any);
    let model = draw.model();
    let want = |(a, b)| match op {
        BinaryOp::Max | BinaryOp::Min => Want { value: binary(op, a, b), bound: model.flushed() },
        _ => model.one_rounding(dtype, binary(op, a, b)),
    };
    let wants = a.values().into_iter().zip(b.values()).map(want).collect();
    let mut case = Case::new(vec![a, b], vec![out], vec![wants], move |on, mut with| {
        Binary { op, a: with.input(), b: with.input(), out: with.output() }.run(on)
    });
    // Differences of small integers are often 0.
    case.plain = draw.exact();
    case
}

fn axpy(draw: &mut Draw<'_>, dtype: DType) -> Case {
    let shape = shape(draw);
    let alpha = if draw.exact() { -2.0f32 } else { draw.among(&[1.0, -0.3, 0.0, 7.25]) };
    let wide = draw.pick(2) == 1;
    let x = draw.input("x", dtype, shape, Strides::Any);
    let out = draw.in_out("out", if wide { DType::F32 } else { dtype }, shape, Strides::Any);
    let (model, exact) = (draw.model(), draw.exact());
    let want = |(x, before): (f64, f64)| {
        let product = f64::from(alpha) * x;
        let value = product + before;
        if exact {
            return Want::exactly(value);
        }
        Want::within(value, 1.01 * U * (product.abs() + value.abs()) + 2.0 * model.tiny(), product.abs() + before.abs())
    };
    let wants = x.values().into_iter().zip(out.values()).map(want).collect();
    let mut case = Case::new(vec![x], vec![out], vec![wants], move |on, mut with| {
        Axpy { alpha, x: with.input(), out: with.output() }.run(on)
    });
    case.plain = exact;
    case
}
