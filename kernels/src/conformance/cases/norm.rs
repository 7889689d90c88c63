//! Cases of [`LayerNorm`], [`RmsNorm`] and their gradients.
//!
//! Forward, with e(·) for absolute and r(·) for relative errors, B(N, S) the bound of a sum: e(mean) = B(N, Σ|x|)/N + 2u·|mean|;
//! d = x − mean has e(d) = e(mean) + u·|d|; the variance, a mean of squares, e(var) = Σ(2|d|·e(d) + e(d)²)/N + (factor(N) + 3u)·var;
//! r(rstd) = ½·e(var)/(var + eps) + 8u (a reciprocal root within 4 ULP); out = d·rstd·w + b follows by the product rule. Where
//! e(var) is not small against var + eps (rows all but constant, eps = 0) the result is open.

use super::{Suite, abs, lead, row_recipes, rows};
use crate::conformance::bounds::{Model, U, Want};
use crate::conformance::case::Case;
use crate::conformance::draw::{Draw, Strides};
use crate::conformance::host::Host;
use crate::ops::{LayerNorm, LayerNormBackward, RmsNorm, RmsNormBackward};
use crate::reference::{layer_norm_backward_row, layer_norm_row, rms_norm_backward_row, rms_norm_row};
use crate::{DType, Op};

pub(super) fn suites() -> Vec<Suite> {
    let mut suites = Vec::new();
    for dtype in DType::FLOATS {
        let count = 256 / 3 + 1;
        suites.push(Suite::new(LayerNorm::NAME, dtype, count, move |d| forward(d, dtype, Kind::Layer)).directed(row_recipes()));
        suites.push(Suite::new(RmsNorm::NAME, dtype, count, move |d| forward(d, dtype, Kind::Rms)).directed(row_recipes()));
        suites.push(
            Suite::new(LayerNormBackward::NAME, dtype, count, move |d| backward(d, dtype, Kind::Layer)).directed(row_recipes()),
        );
        suites.push(
            Suite::new(RmsNormBackward::NAME, dtype, count, move |d| backward(d, dtype, Kind::Rms)).directed(row_recipes()),
        );
    }
    suites
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Layer,
    Rms,
}

const OPEN: Want = Want { value: 0.0, bound: f64::INFINITY };

/// Bounds of one row: (mean, relative error of rstd, error of each x − mean, whether the result is open).
fn row_errors(model: Model, kind: Kind, x: &[f64], mean: f64, eps: f64) -> (f64, f64, Vec<f64>, bool) {
    let n = x.len();
    let size: f64 = x.iter().map(|x| x.abs()).sum();
    let e_mean = match kind {
        Kind::Layer => model.sum(n, size) / n as f64 + 2.0 * U * mean.abs(),
        Kind::Rms => 0.0,
    };
    let d: Vec<f64> = x.iter().map(|x| x - mean).collect();
    let e_d: Vec<f64> = d.iter().map(|d| if kind == Kind::Layer { e_mean + U * d.abs() } else { 0.0 }).collect();
    let var = d.iter().map(|d| d * d).sum::<f64>() / n as f64;
    let carried = d.iter().zip(&e_d).map(|(d, e)| 2.0 * d.abs() * e + e * e).sum::<f64>() / n as f64;
    let e_var = carried + (model.factor(n) + 3.0 * U) * var + model.tiny();
    let total = var + eps;
    // Squares beyond f32 overflow.
    let open = e_var > 0.25 * total || d.iter().map(|d| d * d).sum::<f64>() > f64::from(f32::MAX);
    (e_mean, 0.5 * e_var / total * (1.0 + e_var / total) + 8.0 * U, e_d, open)
}

fn forward(draw: &mut Draw<'_>, dtype: DType, kind: Kind) -> Case {
    let (shape, count, width) = rows(draw);
    let eps = draw.among(&[1e-5f32, 1e-6, 0.0, 1.0]);
    let with_bias = kind == Kind::Layer && draw.pick(2) == 1;
    let with_stats = draw.pick(2) == 1;
    let x = draw.input("x", dtype, shape, Strides::LastDense);
    let weight = draw.input("weight", dtype, [width], Strides::Any);
    let bias = with_bias.then(|| draw.input("bias", dtype, [width], Strides::Any));
    let out = draw.output("out", dtype, shape, Strides::LastDense);
    let mean = (with_stats && kind == Kind::Layer).then(|| draw.output("mean", DType::F32, lead(shape), Strides::Any));
    let rstd = with_stats.then(|| draw.output("rstd", DType::F32, lead(shape), Strides::Any));

    let (xv, wv, bv) = (x.values(), weight.values(), bias.as_ref().map(Host::values));
    let (model, eps64) = (draw.model(), f64::from(eps));
    let (mut wants, mut mean_wants, mut rstd_wants) = (Vec::new(), Vec::new(), Vec::new());
    for row in 0..count {
        let x = &xv[row * width..][..width];
        let mut value = vec![0.0; width];
        let (mean, rstd) = match kind {
            Kind::Layer => layer_norm_row(x, &wv, bv.as_deref(), eps64, &mut value),
            Kind::Rms => (0.0, rms_norm_row(x, &wv, eps64, &mut value)),
        };
        let (e_mean, r_rstd, e_d, open) = row_errors(model, kind, x, mean, eps64);
        let open = (open && !mean.is_nan() && !rstd.is_nan()) || width == 0;
        mean_wants.push(if open { OPEN } else { Want { value: mean, bound: e_mean } });
        rstd_wants.push(if open { OPEN } else { Want { value: rstd, bound: rstd * r_rstd } });
        for i in 0..width {
            let (d, w) = ((x[i] - mean).abs(), wv[i].abs());
            let scaled = d * rstd * w;
            let error = w * e_d[i] * rstd * (1.0 + r_rstd) + scaled * (r_rstd + 3.0 * U);
            let shift = bv.as_ref().map_or(0.0, |b| b[i].abs());
            let size = (scaled + shift).max(rstd * d).max(rstd * w);
            let bound = error + U * (scaled + shift) + 3.0 * model.tiny() * w.max(1.0);
            wants.push(if open { OPEN } else { Want::within(value[i], bound, size) });
        }
    }
    let (has_mean, has_rstd) = (mean.is_some(), rstd.is_some());
    let inputs = [Some(x), Some(weight), bias].into_iter().flatten().collect();
    let expect = [Some(wants), has_mean.then_some(mean_wants), has_rstd.then_some(rstd_wants)];
    let outputs: Vec<Host> = [Some(out), mean, rstd].into_iter().flatten().collect();
    let mut case = Case::new(inputs, outputs, expect.into_iter().flatten().collect(), move |on, mut with| {
        let (x, weight) = (with.input(), with.input());
        let bias = with_bias.then(|| with.input());
        let out = with.output();
        let mean = has_mean.then(|| with.output());
        let rstd = has_rstd.then(|| with.output());
        match kind {
            Kind::Layer => LayerNorm { x, weight, bias, eps, out, mean, rstd }.run(on),
            Kind::Rms => RmsNorm { x, weight, eps, out, rstd }.run(on),
        }
    });
    if shape.rank() > 1 {
        case.rows = &["x", "out", "mean", "rstd"];
    }
    // One element is its own mean; equal statistics follow from repeated rows.
    case.plain = width < 3 || with_stats;
    case
}

fn backward(draw: &mut Draw<'_>, dtype: DType, kind: Kind) -> Case {
    draw.tame();
    let (shape, count, width) = rows(draw);
    let with_bias = kind == Kind::Layer && draw.pick(2) == 1;
    let x = draw.input("x", dtype, shape, Strides::LastDense);
    let weight = draw.input("weight", dtype, [width], Strides::Any);
    let (xv, wv) = (x.values(), weight.values());
    let stats = (0..count).map(|row| {
        let x = &xv[row * width..][..width];
        let mut out = vec![0.0; width];
        match kind {
            Kind::Layer => layer_norm_row(x, &wv, None, 1e-5, &mut out),
            Kind::Rms => (0.0, rms_norm_row(x, &wv, 1e-5, &mut out)),
        }
    });
    let (means, rstds): (Vec<f64>, Vec<f64>) = stats.unzip();
    let mean = (kind == Kind::Layer).then(|| draw.input_with("mean", DType::F32, lead(shape), Strides::Any, means));
    let rstd = draw.input_with("rstd", DType::F32, lead(shape), Strides::Any, rstds);
    let dout = draw.input("dout", dtype, shape, Strides::LastDense);
    let dx = draw.output("dx", dtype, shape, Strides::LastDense);
    let dweight = draw.output("dweight", dtype, [width], Strides::Any);
    let dbias = with_bias.then(|| draw.output("dbias", dtype, [width], Strides::Any));

    let (mv, rv, gv) = (mean.as_ref().map_or(vec![0.0; count], Host::values), rstd.values(), dout.values());
    let model = draw.model();
    let (mut value, mut dw, mut db) = (vec![0.0; xv.len()], vec![0.0; width], vec![0.0; width]);
    let (mut dw_size, mut db_size) = (vec![0.0; width], vec![0.0; width]);
    let mut wants = Vec::new();
    for row in 0..count {
        let at = row * width..(row + 1) * width;
        let (x, dout, mean, rstd) = (&xv[at.clone()], &gv[at.clone()], mv[row], rv[row]);
        match kind {
            Kind::Layer => layer_norm_backward_row(x, &wv, (mean, rstd), dout, &mut value[at.clone()], &mut dw, &mut db),
            Kind::Rms => rms_norm_backward_row(x, &wv, rstd, dout, &mut value[at.clone()], &mut dw),
        }
        // x̂ and g round twice and once; the two means are sums over the row; the result adds three terms.
        let hat: Vec<f64> = x.iter().map(|x| ((x - mean) * rstd).abs()).collect();
        let g: Vec<f64> = dout.iter().zip(&wv).map(|(d, w)| (d * w).abs()).collect();
        let n = width.max(1) as f64;
        let (size_g, size_gx) = (g.iter().sum::<f64>(), g.iter().zip(&hat).map(|(g, h)| g * h).sum::<f64>());
        let with_mean = if kind == Kind::Layer { 1.0 } else { 0.0 };
        let e_g = with_mean * (model.sum(width, size_g) + 2.0 * U * size_g) / n;
        let e_gx = (model.sum(width, size_gx) + 5.0 * U * size_gx) / n;
        for i in 0..width {
            let terms = g[i] + with_mean * size_g / n + hat[i] * size_gx / n;
            let error = rstd * (e_g + hat[i] * e_gx + 6.0 * U * terms);
            wants.push(Want { value: value[row * width + i], bound: error + 4.0 * model.tiny() * rstd.max(1.0) });
            dw_size[i] += dout[i].abs() * hat[i];
            db_size[i] += dout[i].abs();
        }
    }
    let columns = |value: Vec<f64>, size: Vec<f64>, roundings: f64| -> Vec<Want> {
        let bound = |s: f64| model.sum(count, s) + roundings * U * s + model.tiny();
        value.into_iter().zip(size).map(|(value, s)| Want { value, bound: bound(s) }).collect()
    };
    let exact_bias = draw.exact();
    let dw_wants = columns(dw, dw_size, 4.0);
    let db_wants = match exact_bias {
        true => db.into_iter().map(Want::exactly).collect(),
        false => columns(db, abs(&db_size), 0.0),
    };
    let with_mean = mean.is_some();
    let inputs = [Some(x), Some(weight), mean, Some(rstd), Some(dout)].into_iter().flatten().collect();
    let outputs: Vec<Host> = [Some(dx), Some(dweight), dbias].into_iter().flatten().collect();
    let expect = [Some(wants), Some(dw_wants), with_bias.then_some(db_wants)].into_iter().flatten().collect();
    let mut case = Case::new(inputs, outputs, expect, move |on, mut with| {
        let (x, weight) = (with.input(), with.input());
        let mean = with_mean.then(|| with.input());
        let (rstd, dout) = (with.input(), with.input());
        let (dx, dweight) = (with.output(), with.output());
        let dbias = with_bias.then(|| with.output());
        match mean {
            Some(mean) => LayerNormBackward { x, weight, mean, rstd, dout, dx, dweight, dbias }.run(on),
            None => RmsNormBackward { x, weight, rstd, dout, dx, dweight }.run(on),
        }
    });
    // One element has no gradient through its own statistics; sums of few integers are often 0.
    case.plain = width < 3 || count < 3 || with_bias;
    case
}
