//! Cases of [`Softmax`], [`CrossEntropy`] and their gradients.
//!
//! With p = softmax(x) and the error ε_exp of the exponential: r(p_i) = ε_exp(x_i − max) + Σ p_j·ε_exp(x_j − max) + factor(N) + 3u.
//! The log-sum-exp has the error Σ p_j·(expm1(2u·|x_j|) + ε_exp(x_j − max)) + factor(N) + 4u·(1 + |lse| + |max|), where 2u·|x_j| is
//! the rounding of scale·logits; a loss adds that of its own terms.

use super::{Suite, row_recipes, rows};
use crate::conformance::bounds::{Model, U, Want, exp_error};
use crate::conformance::case::Case;
use crate::conformance::draw::{Draw, Strides};
use crate::conformance::host::Host;
use crate::conformance::recipe::Spread;
use crate::ops::{CrossEntropy, CrossEntropyBackward, Softmax, SoftmaxBackward, Target};
use crate::reference::{TargetRow, cross_entropy_backward_row, cross_entropy_row, softmax_backward_row, softmax_row};
use crate::{DType, Op, View};

pub(super) fn suites() -> Vec<Suite> {
    let mut suites = Vec::new();
    for dtype in DType::FLOATS {
        let count = 256 / 3 + 1;
        suites.push(Suite::new(Softmax::NAME, dtype, count, move |d| softmax(d, dtype)).directed(row_recipes()));
        suites.push(Suite::new(SoftmaxBackward::NAME, dtype, count, move |d| softmax_backward(d, dtype)).directed(row_recipes()));
        suites.push(Suite::new(CrossEntropy::NAME, dtype, count, move |d| cross_entropy(d, dtype)).directed(row_recipes()));
        suites.push(
            Suite::new(CrossEntropyBackward::NAME, dtype, count, move |d| cross_entropy_backward(d, dtype))
                .directed(row_recipes()),
        );
    }
    suites
}

const OPEN: Want = Want { value: 0.0, bound: f64::INFINITY };

fn max_of(x: &[f64]) -> f64 {
    x.iter().copied().fold(f64::NEG_INFINITY, f64::max)
}

fn softmax(draw: &mut Draw<'_>, dtype: DType) -> Case {
    let (shape, _, width) = rows(draw);
    let x = draw.input("x", dtype, shape, Strides::LastDense);
    let out = draw.output("out", dtype, shape, Strides::LastDense);
    let model = draw.model();
    let mut wants = Vec::new();
    for x in x.values().chunks_exact(width.max(1)) {
        let mut p = x.to_vec();
        softmax_row(&mut p);
        let max = max_of(x);
        let common: f64 = x.iter().zip(&p).map(|(x, p)| if *p > 0.0 { p * exp_error(x - max) } else { 0.0 }).sum();
        let error = |x: f64| exp_error(x - max) + common + model.factor(width) + 3.0 * U;
        wants.extend(x.iter().zip(&p).map(|(&x, &p)| match p == 0.0 {
            true => Want { value: 0.0, bound: 2f64.powi(-126) },
            false => Want { value: p, bound: p * error(x) + 2f64.powi(-126) },
        }));
    }
    let mut case =
        Case::new(vec![x], vec![out], vec![wants], move |on, mut with| Softmax { x: with.input(), out: with.output() }.run(on));
    if shape.rank() > 1 {
        case.rows = &["x", "out"];
    }
    case.plain = width < 3 || matches!(draw.spread(), Spread::Equal | Spread::HugeAndTiny | Spread::Largest | Spread::Subnormal);
    case
}

fn softmax_backward(draw: &mut Draw<'_>, dtype: DType) -> Case {
    draw.tame();
    let (shape, _, width) = rows(draw);
    let mut scores = draw.input("x", DType::F32, shape, Strides::LastDense).values();
    scores.chunks_exact_mut(width.max(1)).for_each(|row| {
        softmax_row(row);
    });
    let y = draw.input_with("y", dtype, shape, Strides::LastDense, scores);
    let dout = draw.input("dout", dtype, shape, Strides::LastDense);
    let dx = draw.output("dx", dtype, shape, Strides::LastDense);
    let model = draw.model();
    let mut wants = Vec::new();
    for (y, dout) in y.values().chunks_exact(width.max(1)).zip(dout.values().chunks_exact(width.max(1))) {
        let mut value = vec![0.0; width];
        softmax_backward_row(y, dout, &mut value);
        let dot: f64 = y.iter().zip(dout).map(|(y, d)| y * d).sum();
        let size: f64 = y.iter().zip(dout).map(|(y, d)| (y * d).abs()).sum();
        for i in 0..width {
            let error = y[i] * (model.sum(width, size) + 2.0 * U * (dout[i].abs() + dot.abs())) + 2.0 * model.tiny();
            wants.push(Want { value: value[i], bound: error });
        }
    }
    let mut case = Case::new(vec![y, dout], vec![dx], vec![wants], move |on, mut with| {
        SoftmaxBackward { y: with.input(), dout: with.input(), dx: with.output() }.run(on)
    });
    if shape.rank() > 1 {
        case.rows = &["y", "dout", "dx"];
    }
    // The only element of a row, and rows of equal gradients, have gradient 0.
    case.plain = true;
    case
}

/// Targets of M rows over V classes: classes, some left out, or distributions.
struct Targets {
    host: Host,
    classes: bool,
    width: usize,
    values: Vec<f64>,
}

impl Targets {
    fn draw(draw: &mut Draw<'_>, rows: usize, width: usize) -> Self {
        let classes = draw.pick(2) == 0;
        let host = if classes {
            let mut class = draw.indices(rows, width);
            let skip: Vec<u32> = draw.words(rows).collect();
            class
                .iter_mut()
                .zip(skip)
                .filter(|(_, word)| width == 0 || word % 5 == 0)
                .for_each(|(c, _)| *c = f64::from(u32::MAX));
            draw.input_with("target", DType::U32, [rows], Strides::Any, class)
        } else {
            let mut weights = draw.values(Spread::Normal, DType::F32, rows * width);
            weights.chunks_exact_mut(width.max(1)).for_each(|row| {
                softmax_row(row);
            });
            draw.input_with("target", DType::F32, [rows, width], Strides::LastDense, weights)
        };
        let values = host.values();
        Targets { host, classes, width, values }
    }

    fn row(&self, row: usize) -> TargetRow<'_> {
        match self.classes {
            true => TargetRow::Class(Some(self.values[row] as usize).filter(|&class| class != u32::MAX as usize)),
            false => TargetRow::Distribution(&self.values[row * self.width..][..self.width]),
        }
    }
}

fn target(view: View<'_>, classes: bool) -> Target<'_> {
    if classes { Target::Class(view) } else { Target::Distribution(view) }
}

/// Error of the log-sum-exp of scale·logits.
fn lse_error(model: Model, logits: &[f64], scale: f64, lse: f64) -> f64 {
    let max = max_of(&logits.iter().map(|x| scale * x).collect::<Vec<_>>());
    let terms = logits.iter().map(|x| scale * x).filter(|x| x.is_finite());
    let carried: f64 = terms
        .map(|x| (x, (x - lse).exp()))
        // Scores of no weight carry nothing, however large.
        .filter(|(_, p)| *p > 0.0)
        .map(|(x, p)| p * ((2.0 * U * x.abs()).exp_m1() + exp_error(x - max)))
        .sum();
    carried + model.factor(logits.len()) + 4.0 * U * (1.0 + lse.abs() + max.abs()) + model.tiny()
}

fn cross_entropy(draw: &mut Draw<'_>, dtype: DType) -> Case {
    let (_, rows, width) = rows(draw);
    let scale = draw.among(&[1.0f32, 0.5, 0.25]);
    let logits = draw.input("logits", dtype, [rows, width], Strides::LastDense);
    let targets = Targets::draw(draw, rows, width);
    let loss = draw.output("loss", DType::F32, [rows], Strides::Any);
    let lse = draw.output("lse", DType::F32, [rows], Strides::Any);

    let (lv, model, scale64) = (logits.values(), draw.model(), f64::from(scale));
    let (mut loss_wants, mut lse_wants) = (Vec::new(), Vec::new());
    for row in 0..rows {
        let (x, target) = (&lv[row * width..][..width], targets.row(row));
        let (loss, lse) = cross_entropy_row(x, target, scale64);
        let (infinite, nan) = (x.iter().any(|x| x.is_infinite()), x.iter().any(|x| x.is_nan()));
        // ∞ in a row makes ∞ − ∞ in some orders of evaluation and ∞ in others.
        let open = infinite && !nan;
        let error = lse_error(model, x, scale64, lse);
        let term = |x: f64| error + 2.0 * U * ((scale64 * x).abs() + lse.abs());
        let loss_error = match target {
            TargetRow::Class(None) => 0.0,
            TargetRow::Class(Some(class)) => term(x[class]) + U * loss.abs(),
            TargetRow::Distribution(weights) => {
                let sizes = x.iter().zip(weights).map(|(x, w)| (w * term(*x), (w * (lse - scale64 * x)).abs() * 2.0));
                let (carried, size) = sizes.fold((0.0, 0.0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
                // Σ w·lse − Σ w·x is as good an order: its terms are larger.
                let larger: f64 = x.iter().zip(weights).map(|(x, w)| w * ((scale64 * x).abs() + lse.abs())).sum();
                carried + model.sum(2 * width + 1, size + larger)
            }
        };
        let left_out = target.is_left_out();
        loss_wants.push(match (left_out, open) {
            (true, _) => Want::exactly(0.0),
            (_, true) => OPEN,
            _ => Want::within(loss, loss_error, lse.abs()),
        });
        lse_wants.push(if left_out || open { OPEN } else { Want::within(lse, error, lse.abs()) });
    }
    let classes = targets.classes;
    let mut case = Case::new(vec![logits, targets.host], vec![loss, lse], vec![loss_wants, lse_wants], move |on, mut with| {
        let (logits, view) = (with.input(), with.input());
        CrossEntropy { logits, target: target(view, classes), scale, loss: with.output(), lse: with.output() }.run(on)
    });
    case.rows = &["logits", "target", "loss", "lse"];
    // One class, or rows left out.
    case.plain = width < 3 || rows < 12 || draw.spread() == Spread::Equal;
    case
}

fn cross_entropy_backward(draw: &mut Draw<'_>, dtype: DType) -> Case {
    draw.tame();
    let (_, rows, width) = rows(draw);
    let scale = draw.among(&[1.0f32, 0.5, 0.25]);
    let logits = draw.input("logits", dtype, [rows, width], Strides::LastDense);
    let targets = Targets::draw(draw, rows, width);
    let (lv, scale64) = (logits.values(), f64::from(scale));
    let of = |row: usize| &lv[row * width..][..width];
    let lse = (0..rows).map(|row| cross_entropy_row(of(row), targets.row(row), scale64).1).collect::<Vec<_>>();
    let lse = draw.input_with("lse", DType::F32, [rows], Strides::Any, lse);
    let dloss = draw.input("dloss", DType::F32, [rows], Strides::Any);
    let dlogits = draw.output("dlogits", dtype, [rows, width], Strides::LastDense);

    let (model, lse_v, dloss_v) = (draw.model(), lse.values(), dloss.values());
    let mut wants = Vec::new();
    for row in 0..rows {
        let (x, target) = (of(row), targets.row(row));
        let mut value = vec![0.0; width];
        cross_entropy_backward_row(x, target, scale64, lse_v[row], dloss_v[row], &mut value);
        let total: f64 = (0..width).map(|v| target.of(v)).sum();
        for v in 0..width {
            let p = (scale64 * x[v] - lse_v[row]).exp();
            let r = 2.0 * U * (scale64 * x[v]).abs() + exp_error(scale64 * x[v] - lse_v[row]) + model.factor(width);
            let error = p * total * r + 3.0 * U * (p * total + target.of(v)) + model.tiny();
            let bound = (dloss_v[row] * scale64).abs() * error * 1.01 + 2.0 * model.tiny();
            wants.push(if target.is_left_out() { Want::exactly(0.0) } else { Want { value: value[v], bound } });
        }
    }
    let classes = targets.classes;
    let inputs = vec![logits, targets.host, lse, dloss];
    let mut case = Case::new(inputs, vec![dlogits], vec![wants], move |on, mut with| {
        let (logits, view) = (with.input(), with.input());
        let (lse, dloss) = (with.input(), with.input());
        CrossEntropyBackward { logits, target: target(view, classes), scale, lse, dloss, dlogits: with.output() }.run(on)
    });
    case.rows = &["logits", "target", "lse", "dloss", "dlogits"];
    case.plain = true;
    case
}
