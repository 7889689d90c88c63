//! Cases of [`Sgd`], [`AdamW`] and [`ClipNorm`].
//!
//! Bounds count roundings: each value is a short sum of products, so that its error is at most (number of roundings on the longest
//! path)·u times the sum of the absolute terms, carried through the steps that follow.

use super::{Suite, shape};
use crate::conformance::bounds::{U, Want};
use crate::conformance::case::Case;
use crate::conformance::draw::{Draw, Strides};
use crate::conformance::host::Host;
use crate::ops::{AdamW, ClipNorm, Momentum, Sgd};
use crate::reference::{AdamWRates, SgdRates, adamw, clip_norm, sgd};
use crate::{DType, Op};

pub(super) fn suites() -> Vec<Suite> {
    let mut suites = Vec::new();
    for dtype in DType::FLOATS {
        suites.push(Suite::new(Sgd::NAME, dtype, 256 / 3 + 1, move |draw| sgd_case(draw, dtype)));
        suites.push(Suite::new(AdamW::NAME, dtype, 256 / 3 + 1, move |draw| adamw_case(draw, dtype)));
        suites.push(Suite::new(ClipNorm::NAME, dtype, 256 / 3 + 1, move |draw| clip(draw, dtype)));
    }
    suites
}

fn sgd_case(draw: &mut Draw<'_>, dtype: DType) -> Case {
    draw.tame();
    let shape = shape(draw);
    let with_velocity = draw.pick(3) > 0;
    let form = draw.among(&[Momentum::Heavy, Momentum::Nesterov]);
    let (lr, momentum, l2, l1) =
        draw.among(&[(0.1f32, 0.9f32, 0.0f32, 0.0f32), (0.5, 0.0, 0.01, 0.0), (0.01, 0.99, 0.1, 0.05), (0.0, 0.9, 0.0, 0.3)]);
    let grad = draw.input("grad", dtype, shape, Strides::Any);
    let param = draw.in_out("param", DType::F32, shape, Strides::Any);
    let velocity = with_velocity.then(|| draw.in_out("velocity", DType::F32, shape, Strides::Any));

    let rates = SgdRates { lr: lr.into(), momentum: momentum.into(), form, l2: l2.into(), l1: l1.into() };
    let (model, before) = (draw.model(), velocity.as_ref().map(Host::values));
    let (mut param_wants, mut velocity_wants) = (Vec::new(), Vec::new());
    for (i, (g, p)) in grad.values().into_iter().zip(param.values()).enumerate() {
        let mut value = p;
        let mut v = before.as_ref().map(|v| v[i]);
        let size_g = g.abs() + rates.l2 * p.abs() + rates.l1;
        let size_v = v.map_or(0.0, |v| rates.momentum * v.abs()) + size_g;
        sgd(rates, g, &mut value, v.as_mut());
        let step = if form == Momentum::Nesterov && with_velocity { size_g + rates.momentum * size_v } else { size_v };
        let bound = U * (p.abs() + value.abs()) + 8.0 * U * rates.lr * step + 4.0 * model.tiny();
        param_wants.push(Want { value, bound });
        velocity_wants.extend(v.map(|value| Want { value, bound: 5.0 * U * size_v + 4.0 * model.tiny() }));
    }
    let outputs: Vec<Host> = [Some(param), velocity].into_iter().flatten().collect();
    let expect = if with_velocity { vec![param_wants, velocity_wants] } else { vec![param_wants] };
    let mut case = Case::new(vec![grad], outputs, expect, move |on, mut with| {
        let grad = with.input();
        let param = with.output();
        let velocity = with_velocity.then(|| with.output());
        Sgd { param, grad, velocity, lr, momentum, form, l2, l1 }.run(on)
    });
    case.plain = draw.exact();
    case
}

fn adamw_case(draw: &mut Draw<'_>, dtype: DType) -> Case {
    draw.tame();
    let shape = shape(draw);
    let (beta1, beta2) = draw.among(&[(0.9f32, 0.999f32), (0.0, 0.95), (0.9, 0.99)]);
    let (lr, eps) = draw.among(&[(1e-3f32, 1e-8f32), (0.1, 1e-3)]);
    let (weight_decay, l1) = draw.among(&[(0.0f32, 0.0f32), (0.1, 0.0), (0.01, 0.02)]);
    let step = draw.among(&[1u32, 2, 1000, 1_000_000]);
    let grad = draw.input("grad", dtype, shape, Strides::Any);
    let param = draw.in_out("param", DType::F32, shape, Strides::Any);
    let m = draw.in_out("m", DType::F32, shape, Strides::Any);
    let mut v = draw.in_out("v", DType::F32, shape, Strides::Any);
    let squares: Vec<f64> = v.values().into_iter().map(|v| v * v).collect();
    v.set(squares);

    let rates = AdamWRates {
        lr: lr.into(),
        beta1: beta1.into(),
        beta2: beta2.into(),
        eps: eps.into(),
        weight_decay: weight_decay.into(),
        l1: l1.into(),
        step,
    };
    let model = draw.model();
    let corrections = (1.0 - rates.beta1.powf(step.into()), 1.0 - rates.beta2.powf(step.into()));
    let mut wants = [Vec::new(), Vec::new(), Vec::new()];
    for (((g, p), m), v) in grad.values().into_iter().zip(param.values()).zip(m.values()).zip(v.values()) {
        let size_m = rates.beta1 * m.abs() + (1.0 - rates.beta1) * g.abs();
        let (mut p_new, mut m_new, mut v_new) = (p, m, v);
        adamw(rates, g, &mut p_new, &mut m_new, &mut v_new);
        let (e_m, e_v) = (4.0 * U * size_m + 3.0 * model.tiny(), 5.0 * U * v_new + 3.0 * model.tiny());
        // √v̂ carries half the relative error of v.
        let root = (v_new / corrections.1).sqrt();
        let e_root = if v_new > 0.0 { root * (0.5 * e_v / v_new + 3.0 * U) } else { (e_v / corrections.1).sqrt() };
        let denominator = root + rates.eps;
        let update = m_new.abs() / corrections.0 / denominator;
        let e_update = e_m / corrections.0 / denominator + update * (e_root / denominator + 6.0 * U);
        let decay = rates.weight_decay * p.abs() + rates.l1;
        let bound = rates.lr * (e_update + 5.0 * U * (update + decay)) + U * (p.abs() + p_new.abs()) + model.tiny();
        wants[0].push(Want { value: p_new, bound });
        wants[1].push(Want { value: m_new, bound: e_m });
        wants[2].push(Want { value: v_new, bound: e_v });
    }
    let mut case = Case::new(vec![grad], vec![param, m, v], wants.into(), move |on, mut with| {
        let grad = with.input();
        let (param, m, v) = (with.output(), with.output(), with.output());
        AdamW { param, grad, m, v, lr, beta1, beta2, eps, weight_decay, l1, step }.run(on)
    });
    case.plain = draw.exact();
    case
}

fn clip(draw: &mut Draw<'_>, dtype: DType) -> Case {
    let tensors = draw.pick(4) as usize;
    let max_norm = draw.among(&[1.0f32, 1e3, f32::INFINITY, 0.01]);
    let outputs: Vec<Host> = (0..tensors)
        .map(|_| {
            let shape = shape(draw);
            draw.in_out("grads", dtype, shape, Strides::Any)
        })
        .collect();
    let norm_out = draw.output("norm", DType::F32, [1], Strides::Any);
    let before: Vec<Vec<f64>> = outputs.iter().map(Host::values).collect();
    let mut after = before.clone();
    let norm = clip_norm(&mut after, max_norm.into());
    let count: usize = before.iter().map(Vec::len).sum();
    let model = draw.model();
    let relative = 0.5 * model.factor(count) + 4.0 * U;
    // Squares beyond f32 overflow unless blocks are joined early.
    let open = norm.is_finite() && norm * norm > f64::from(f32::MAX) / 4.0;
    // Right at the limit either branch is right, and they agree.
    let near = (norm - f64::from(max_norm)).abs() <= 2.0 * relative * norm;
    let want = |(value, before): (f64, f64)| match (open, value == before && !near) {
        (true, _) => Want { value: 0.0, bound: f64::INFINITY },
        (_, true) => Want { value, bound: model.flushed() },
        _ if before.is_nan() => Want::exactly(before),
        _ => Want { value, bound: before.abs() * (f64::from(max_norm) / norm).min(1.0) * (relative + 5.0 * U) + model.tiny() },
    };
    let mut expect: Vec<Vec<Want>> =
        after.into_iter().zip(before).map(|(after, before)| after.into_iter().zip(before).map(want).collect()).collect();
    let bound = norm * relative + (count as f64 * model.tiny()).sqrt();
    expect.push(vec![if open { Want { value: 0.0, bound: f64::INFINITY } } else { Want { value: norm, bound } }]);
    let outputs = outputs.into_iter().chain([norm_out]).collect();
    let mut case = Case::new(vec![], outputs, expect, move |on, with| {
        let mut grads: Vec<_> = with.outputs().collect();
        // The norm is the last of the outputs.
        match grads.pop() {
            Some(norm) => ClipNorm { grads: &mut grads, max_norm, norm }.run(on),
            None => Ok(()),
        }
    });
    case.plain = draw.spread() != crate::conformance::recipe::Spread::Normal;
    case
}
