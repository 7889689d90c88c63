//! Cases of [`Linear`]: dense views, dense, quantized, block and sparse packed weights; and of [`LinearInt8`].

use super::{Suite, abs, fit};
use crate::conformance::bounds::{Model, U, Want, activation_error, flushed};
use crate::conformance::case::Case;
use crate::conformance::draw::{Draw, Strides};
use crate::conformance::recipe::{Recipe, Spread};
use crate::ops::{Act, Linear, LinearInt8};
use crate::reference::{activate, linear, stored};
use crate::weight::{Bits, BlockFormat, Blocks, Coded, Group, Pattern, Quant, QuantScheme, Sparse, SparseValues, Values, Zero};
use crate::{DType, Op, Weight, WeightRef};

/// How a suite stores its weight.
#[derive(Clone, Copy, Debug)]
enum Stored {
    View,
    Dense,
    Quant(QuantScheme),
    Blocks(BlockFormat),
    Sparse(Form, DType),
}

/// Which values a sparse weight stores.
#[derive(Clone, Copy, Debug)]
enum Form {
    Csr,
    Block(usize, usize),
    TwoOfFour,
}

const ACTS: [Act; 5] = [Act::None, Act::Relu, Act::Gelu, Act::GeluErf, Act::Silu];

const fn scheme(bits: Bits, group_size: usize, zero: Zero) -> Stored {
    Stored::Quant(QuantScheme { bits, group_size, zero })
}

pub(super) fn suites() -> Vec<Suite> {
    use {Bits::*, Zero::*};
    let coded = [
        ("int8-channel", scheme(Int8, usize::MAX, Symmetric)),
        ("int8-g64", scheme(Int8, 64, Symmetric)),
        ("int8-g32-asym", scheme(Int8, 32, Asymmetric)),
        ("int4-channel", scheme(Int4, usize::MAX, Symmetric)),
        ("int4-g32", scheme(Int4, 32, Symmetric)),
        ("int4-g64-asym", scheme(Int4, 64, Asymmetric)),
        ("int4-g5", scheme(Int4, 5, Symmetric)),
    ];
    let blocks = BlockFormat::ALL.map(|format| (format.name(), Stored::Blocks(format)));
    let dense: Vec<(&str, Stored)> =
        [("view", Stored::View), ("packed", Stored::Dense)].into_iter().chain(coded).chain(blocks).collect();
    let sparse = [
        ("csr", Form::Csr),
        ("block16x1", Form::Block(16, 1)),
        ("block4x4", Form::Block(4, 4)),
        ("block3x5", Form::Block(3, 5)),
        ("2:4", Form::TwoOfFour),
    ];
    let mut suites = Vec::new();
    for dtype in DType::FLOATS {
        for &(name, form) in &dense {
            suites.push((dtype, name.to_string(), form, 1024 / 3 / dense.len()));
        }
        for (name, form) in sparse {
            suites.push((dtype, name.to_string(), Stored::Sparse(form, dtype), 1024 / 3 / sparse.len()));
        }
    }
    // Stored values of another dtype than the activations.
    suites.push((DType::F32, "csr-bf16".into(), Stored::Sparse(Form::Csr, DType::Bf16), 32));
    suites.push((DType::F32, "2:4-f16".into(), Stored::Sparse(Form::TwoOfFour, DType::F16), 32));
    suites.push((DType::Bf16, "block16x1-f32".into(), Stored::Sparse(Form::Block(16, 1), DType::F32), 32));
    for (dtype, cases) in [(DType::F32, 64), (DType::Bf16, 32)] {
        for (name, form) in sparse {
            suites.push((dtype, format!("{name}-int8"), Stored::Sparse(form, DType::I8), cases));
        }
    }
    let mut all: Vec<Suite> = suites
        .into_iter()
        .map(|(dtype, name, form, cases)| {
            Suite::new(Linear::NAME, dtype, cases as u32 + 1, move |draw| case(draw, dtype, form))
                .group(name)
                .directed(directed())
        })
        .collect();
    for (name, form) in coded.into_iter().chain(blocks) {
        all.push(Suite::new(LinearInt8::NAME, DType::I8, 64, move |draw| int8(draw, form)).group(name).directed(directed()));
    }
    all
}

fn directed() -> Vec<Recipe> {
    // [M, K, N]: no inputs, no rows, no outputs; one row (decoding); odd sizes; groups that end early.
    let sizes =
        [[3, 0, 5], [0, 8, 5], [3, 8, 0], [1, 64, 48], [1, 513, 33], [2, 33, 17], [17, 65, 31], [5, 129, 127], [64, 96, 1]];
    let recipe = |[m, k, n]: [usize; 3], act| Recipe::directed([m, k, n, 1, 1], [act, 1, 0, 0]);
    sizes
        .iter()
        .enumerate()
        .flat_map(|(i, &size)| [recipe(size, i as u32 % 5), recipe(size, 0).spread(Spread::Integers)])
        .collect()
}

/// Codes, scales and zero points as a calibrated weight has them; scales are powers of two in exact mode.
fn quantized(draw: &mut Draw<'_>, n: usize, k: usize, scheme: QuantScheme) -> Weight {
    let groups = scheme.groups(k);
    let exact = draw.exact();
    let mut codes: Vec<u8> = draw.words(n * scheme.row_bytes(k)).map(|w| (w >> 13) as u8).collect();
    if exact && scheme.bits == Bits::Int8 {
        codes.iter_mut().for_each(|code| *code = 120 + *code % 16);
    }
    let scale = |w: u32| if exact { [0.5, 1.0, 2.0][w as usize % 3] } else { (1 + (w >> 8)) as f32 / (1u32 << 31) as f32 };
    let scales = draw.words(n * groups).map(scale).collect();
    let zero = |w: u32| if exact && scheme.bits == Bits::Int8 { 125 + (w % 8) as u8 } else { (w >> 9) as u8 & scheme.max_code() };
    let zeros = if scheme.zero == Zero::Asymmetric { n * groups } else { 0 };
    let zero_points = draw.words(zeros).map(zero).collect();
    Weight::Quant(Quant::new(n, k, scheme, codes, scales, zero_points).unwrap_or_else(|e| unreachable!("{e}")))
}

/// Blocks of random codes whose scales are as a calibrated weight has them. In exact mode scales are powers of two and everything else
/// is so small that sums are exact.
fn blocks(draw: &mut Draw<'_>, n: usize, k: usize, format: BlockFormat) -> Weight {
    let (exact, size) = (draw.exact(), format.block_bytes());
    let mut bytes: Vec<u8> = draw.words(n * (k / format.block_size()) * size).map(|w| (w >> 13) as u8).collect();
    let scales: Vec<u32> = draw.words(2 * n * (k / format.block_size())).collect();
    for (block, words) in bytes.chunks_exact_mut(size).zip(scales.chunks_exact(2)) {
        if exact {
            let signed = |byte: &mut u8, below: u8| *byte = (*byte % below).wrapping_sub(below / 2);
            match format {
                BlockFormat::Q4_0 => {}
                BlockFormat::Q8_0 => block[2..].iter_mut().for_each(|q| signed(q, 16)),
                BlockFormat::Q4K | BlockFormat::Q5K => block[4..16].iter_mut().for_each(|factors| *factors &= 0x33),
                BlockFormat::Q6K => block[192..208].iter_mut().for_each(|factor| signed(factor, 4)),
            }
        }
        let scale = |w: u32| if exact { [0.5, 1.0][w as usize % 2] } else { (1 + w % 1024) as f32 / (1u32 << 17) as f32 };
        let at = if format == BlockFormat::Q6K { 208 } else { 0 };
        for (i, &word) in words.iter().enumerate().take(1 + usize::from(format.has_minima())) {
            block[at + 2 * i..][..2].copy_from_slice(&half::f16::from_f32(scale(word)).to_le_bytes());
        }
    }
    Weight::Blocks(Blocks::new(n, k, format, bytes).unwrap_or_else(|e| unreachable!("{e}")))
}

/// A weight of integer codes, and K as its format allows it.
fn coded(draw: &mut Draw<'_>, n: usize, k: usize, form: Stored) -> Weight {
    match form {
        Stored::Quant(scheme) => quantized(draw, n, k, scheme),
        Stored::Blocks(format) => blocks(draw, n, k, format),
        _ => unreachable!("not a form of integer codes"),
    }
}

/// The nearest K above that a form allows.
fn allowed_k(k: usize, form: Stored) -> usize {
    match form {
        Stored::Blocks(format) => k.next_multiple_of(format.block_size()),
        _ => k,
    }
}

/// In exact mode one that does not round.
fn activation(draw: &mut Draw<'_>) -> Act {
    let drawn = draw.among(&ACTS);
    if draw.exact() && drawn != Act::Relu { Act::None } else { drawn }
}

/// Values of the recipe's spread, as a weight stores them.
fn values(draw: &mut Draw<'_>, dtype: DType, count: usize) -> Values {
    let spread = draw.spread();
    let values: Vec<f32> = draw.values(spread, dtype, count).into_iter().map(|v| v as f32).collect();
    // The dtypes of suites are floats.
    Values::from_f32(dtype, &values).unwrap_or(Values::F32(values))
}

/// Codes and scales as a calibrated weight has them; in exact mode scales are powers of two and codes small.
fn sparse_codes(draw: &mut Draw<'_>, n: usize, count: usize) -> SparseValues {
    let exact = draw.exact();
    let code = |w: u32| if exact { ((w >> 13) % 16) as i8 - 8 } else { (w >> 13) as i8 };
    let codes = draw.words(count).map(code).collect();
    let scale = |w: u32| if exact { [0.5, 1.0, 2.0][w as usize % 3] } else { (1 + (w >> 8)) as f32 / (1u32 << 31) as f32 };
    SparseValues::Int8 { codes, scales: draw.words(n).map(scale).collect() }
}

/// A weight that stores about 40 % of its places.
fn sparse(draw: &mut Draw<'_>, n: usize, k: usize, form: Form, dtype: DType) -> Weight {
    let (rows, cols) = match form {
        Form::Block(rows, cols) => (n.div_ceil(rows), k.div_ceil(cols)),
        _ => (n, k),
    };
    let keep: Vec<u32> = draw.words(rows * cols).collect();
    let (mut row_ptr, mut col) = (vec![0u32], Vec::new());
    for row in 0..rows {
        col.extend((0..cols).filter(|c| (keep[row * cols + c] >> 9) % 5 < 2).map(|c| c as u32));
        row_ptr.push(col.len() as u32);
    }
    let stored = col.len();
    let (pattern, count) = match form {
        Form::Csr => (Pattern::Csr { row_ptr, col }, stored),
        Form::Block(rows, cols) => (Pattern::Block { rows, cols, row_ptr, col }, rows * cols * stored),
        Form::TwoOfFour => {
            const PLACES: [u8; 6] = [0b0100, 0b1000, 0b1100, 0b1001, 0b1101, 0b1110];
            let places: Vec<u8> = draw.words(n * k.div_ceil(4)).map(|w| PLACES[(w >> 9) as usize % 6]).collect();
            let count = 2 * places.len();
            (Pattern::TwoOfFour { places }, count)
        }
    };
    let values = if dtype == DType::I8 { sparse_codes(draw, n, count) } else { values(draw, dtype, count).into() };
    Weight::Sparse(Sparse::new(n, k, pattern, values).unwrap_or_else(|e| unreachable!("{e}")))
}

/// |act(x̂) − act(x)| for a sum x̂ within `bound` of x, where Σ|terms| = `size`.
fn activated(model: Model, act: Act, x: f64, bound: f64, size: f64) -> Want {
    let value = activate(act, x);
    let bound = match act {
        Act::None | Act::Relu => bound,
        Act::Gelu | Act::GeluErf | Act::Silu => 1.13 * bound + activation_error(x, value) + model.tiny(),
    };
    // gelu computes x³; an infinite argument is given to the formula as it stands, 0·∞ included.
    match act {
        Act::Gelu | Act::GeluErf | Act::Silu if x == f64::NEG_INFINITY => Want { value: 0.0, bound: f64::INFINITY },
        Act::Gelu => Want::within(value, bound, size.max(size.abs().powi(3))),
        _ => Want::within(value, bound, size),
    }
}

fn case(draw: &mut Draw<'_>, dtype: DType, form: Stored) -> Case {
    if matches!(form, Stored::Quant(_) | Stored::Blocks(_) | Stored::Sparse(_, DType::I8)) {
        // Scales are finite and of a calibrated weight's size.
        draw.only(|spread| !matches!(spread, Spread::Largest));
    }
    let [m, k, n] = fit([draw.dim(257), draw.dim(513), draw.dim(257)], 1 << 18);
    let k = allowed_k(k, form);
    let act = activation(draw);
    let with_bias = draw.pick(2) == 1;
    let x = draw.input("x", dtype, [m, k], Strides::LastDense);
    let view = matches!(form, Stored::View).then(|| draw.input("weight", dtype, [n, k], Strides::Any));
    let weight = match form {
        Stored::View | Stored::Dense => Weight::dense(n, k, values(draw, dtype, n * k)).unwrap_or_else(|e| unreachable!("{e}")),
        Stored::Quant(_) | Stored::Blocks(_) => coded(draw, n, k, form),
        Stored::Sparse(form, stored) => sparse(draw, n, k, form, stored),
    };
    let bias = with_bias.then(|| draw.input("bias", dtype, [n], Strides::Any));
    let out = draw.output("out", dtype, [m, n], Strides::LastDense);

    let rows: Vec<Vec<(usize, f64)>> = match &view {
        Some(view) => {
            let values = view.values();
            (0..n).map(|n| (0..k).map(|k_at| (k_at, values[n * k + k_at])).collect()).collect()
        }
        None => stored(&weight),
    };
    let (xv, bv) = (x.values(), bias.as_ref().map(|b| b.values()));
    let mut value = vec![0.0; m * n];
    linear(&xv, k, &rows, bv.as_deref(), &mut value);
    let abs_rows: Vec<Vec<(usize, f64)>> = rows.iter().map(|row| row.iter().map(|&(k, w)| (k, w.abs())).collect()).collect();
    let mut size = vec![0.0; m * n];
    linear(&abs(&xv), k, &abs_rows, bv.as_deref().map(abs).as_deref(), &mut size);
    // Only products of bf16 rows with a dense weight of bf16 may be those of instructions for such pairs.
    let product = if matches!(form, Stored::View | Stored::Dense) { dtype } else { DType::F32 };
    let cores = draw.model().tensor_cores(dtype);
    let lost = |i: usize| {
        let factors = || rows[i % n].iter().map(|&(k_at, w)| (xv[i / n * k + k_at], w));
        flushed(product, factors()) + cores.factor(k) * cores.raised(dtype, factors())
    };
    let (model, exact) =
        (draw.model().tensor_cores(dtype).products(product), draw.exact() && matches!(act, Act::None | Act::Relu));
    // Kernels may take scale, zero point and minimum out of the sum over a group, scale·(Σ x·code − zero·Σ x) − min·Σ x. With
    // w = scale·(code − zero) − min the terms' sizes sum to at most Σ|x·w| + 2·(scale·zero + |min|)·Σ|x|, and each group adds three
    // roundings.
    let (terms, growth) = match (&weight, weight.coded()) {
        (_, Some(coded)) => (2 * k + 3 * coded.groups() + 1, growth(coded)),
        // A kernel may scale Σ x·code, one rounding more; and what the reference multiplies, scale·code, has been rounded.
        (Weight::Sparse(sparse), None) if sparse.values().scales().is_some() => (k + 3, 0.0),
        _ => (k + 1, 0.0),
    };
    let wants = value.into_iter().zip(size).enumerate().map(|(i, (c, s))| {
        let s = if growth > 0.0 { s + growth * row_size(&xv, i / n, k) } else { s };
        if exact { Want::exactly(activate(act, c)) } else { activated(model, act, c, model.sum(terms, s) + lost(i), s) }
    });
    let wants = if m * n == 0 { Vec::new() } else { wants.collect() };

    let by_view = view.is_some();
    let inputs = [Some(x), view, bias].into_iter().flatten().collect();
    let mut case = Case::new(inputs, vec![out], vec![wants], move |on, mut with| {
        let x = with.input();
        let weight = if by_view { WeightRef::Dense(with.input()) } else { WeightRef::Packed(with.packed()) };
        let bias = with_bias.then(|| with.input());
        Linear { x, weight, bias, act, out: with.output() }.run(on)
    });
    case.rows = &["x", "out"];
    case.weight = (!by_view).then_some(weight);
    // ReLU and short sparse rows give zeros by right.
    case.plain = k < 8 || act == Act::Relu || draw.spread() == Spread::Equal;
    case
}

/// Σₖ |x[m, k]|.
fn row_size(x: &[f64], m: usize, k: usize) -> f64 {
    x[m * k..(m + 1) * k].iter().map(|x| x.abs()).sum()
}

/// Largest 2·(scale·zero + |min|) of a group.
fn growth(coded: Coded<'_>) -> f64 {
    let groups = (0..coded.n()).flat_map(|n| (0..coded.groups()).map(move |g| coded.group(n, g)));
    let size = |group: Group| f64::from(group.scale.abs()) * f64::from(group.zero) + f64::from(group.min.abs());
    2.0 * groups.map(size).fold(0.0, f64::max)
}

fn int8(draw: &mut Draw<'_>, form: Stored) -> Case {
    let [m, k, n] = fit([draw.dim(129), draw.dim(513), draw.dim(257)], 1 << 18);
    let k = allowed_k(k, form);
    draw.only(|spread| spread == Spread::Integers || spread == Spread::Normal);
    let act = activation(draw);
    let with_bias = draw.pick(2) == 1;
    let x = draw.input("x", DType::I8, [m, k], Strides::LastDense);
    let x_scale = draw.input("x_scale", DType::F32, [m], Strides::Any);
    let weight = coded(draw, n, k, form);
    let bias = with_bias.then(|| draw.input("bias", DType::F32, [n], Strides::Any));
    let out = draw.output("out", DType::F32, [m, n], Strides::LastDense);

    let (xv, sv, bv) = (x.values(), x_scale.values(), bias.as_ref().map(|b| b.values()));
    let Some(codes) = weight.coded() else { unreachable!("`coded` makes weights of integer codes") };
    let (groups, group_size) = (codes.groups(), codes.group_size());
    let (model, exact) = (draw.model(), draw.exact() && matches!(act, Act::None | Act::Relu));
    let mut wants = Vec::new();
    for i in 0..m {
        for j in 0..n {
            let (mut sum, mut size) = (0.0, 0.0);
            for g in 0..groups {
                let group = codes.group(j, g);
                let span = g * group_size..k.min((g + 1) * group_size);
                let term = |at: usize| xv[i * k + at] * (f64::from(codes.code(j, at)) - f64::from(group.zero));
                let dot = f64::from(group.scale) * span.clone().map(term).sum::<f64>();
                let min = f64::from(group.min) * span.map(|at| xv[i * k + at]).sum::<f64>();
                sum += dot - min;
                size += dot.abs() + min.abs();
            }
            let b = bv.as_ref().map_or(0.0, |b| b[j]);
            let (c, s) = (sv[i] * sum + b, (sv[i] * size).abs() + b.abs());
            // Per group: conversions of two i32, products with scale and minimum, sums; then x_scale and the bias.
            let bound = model.sum(2 * groups + 4, s) + 3.0 * U * s;
            wants.push(if exact { Want::exactly(activate(act, c)) } else { activated(model, act, c, bound, s) });
        }
    }
    let inputs = [Some(x), Some(x_scale), bias].into_iter().flatten().collect();
    let mut case = Case::new(inputs, vec![out], vec![wants], move |on, mut with| {
        let (x, x_scale) = (with.input(), with.input());
        let bias = with_bias.then(|| with.input());
        LinearInt8 { x, x_scale, weight: with.packed(), bias, act, out: with.output() }.run(on)
    });
    case.rows = &["x", "x_scale", "out"];
    case.weight = Some(weight);
    case.plain = k < 8 || act == Act::Relu;
    case
}
