//! Cases of [`Gather`], [`ScatterAdd`] and [`Quantize`].

use super::{Suite, fit, row_recipes};
use crate::conformance::bounds::{U, Want};
use crate::conformance::case::Case;
use crate::conformance::draw::{Draw, Strides};
use crate::conformance::recipe::{Recipe, Spread};
use crate::ops::{Gather, Quantize, ScatterAdd};
use crate::reference::{gather, quantize_row, scatter_add};
use crate::{DType, Op};

pub(super) fn suites() -> Vec<Suite> {
    let sizes = || -> Vec<Recipe> {
        let sizes = [[5, 0, 3], [5, 3, 0], [0, 3, 4], [1, 1, 1], [3, 257, 17], [513, 9, 5], [2, 64, 129]];
        let recipe = |[m, d, v]: [usize; 3]| Recipe::directed([m, d, v, 1, 1], [0, 1, 0, 0]);
        sizes.iter().flat_map(|&size| [recipe(size), recipe(size).spread(Spread::Integers)]).collect()
    };
    let mut suites = Vec::new();
    for dtype in DType::FLOATS {
        suites.push(Suite::new(Gather::NAME, dtype, 256 / 3 + 1, move |d| gather_case(d, dtype)).directed(sizes()));
        suites.push(Suite::new(ScatterAdd::NAME, dtype, 256 / 3 + 1, move |d| scatter_case(d, dtype)).directed(sizes()));
        suites.push(Suite::new(Quantize::NAME, dtype, 256 / 3 + 1, move |d| quantize(d, dtype)).directed(row_recipes()));
    }
    suites
}

fn gather_case(draw: &mut Draw<'_>, dtype: DType) -> Case {
    let [m, d, v] = fit([draw.dim(513), draw.dim(257), draw.dim(129)], 1 << 20);
    // Without rows to choose from there is nothing to choose.
    let m = if v == 0 { 0 } else { m };
    let table = draw.input("table", dtype, [v, d], Strides::LastDense);
    let picks = draw.indices(m, v);
    let index = draw.input_with("index", DType::U32, [m], Strides::Any, picks);
    let out = draw.output("out", dtype, [m, d], Strides::LastDense);
    let mut value = vec![0.0; m * d];
    gather(&table.values(), d, &index.indices(), &mut value);
    let model = draw.model();
    let wants = value.into_iter().map(|value| Want { value, bound: model.flushed() }).collect();
    let mut case = Case::new(vec![table, index], vec![out], vec![wants], |on, mut with| {
        Gather { table: with.input(), index: with.input(), out: with.output() }.run(on)
    });
    case.plain = v < 2 || d < 2 || draw.spread() == Spread::Equal;
    case
}

fn scatter_case(draw: &mut Draw<'_>, dtype: DType) -> Case {
    let [m, d, v] = fit([draw.dim(513), draw.dim(257), draw.dim(129)], 1 << 20);
    let m = if v == 0 { 0 } else { m };
    let wide = draw.pick(2) == 1;
    // Few rows of `out` take all of `x`, or most take none.
    let crowded = draw.pick(2) == 1;
    let picks = draw.indices(m, if crowded { v.min(3) } else { v });
    let index = draw.input_with("index", DType::U32, [m], Strides::Any, picks);
    let x = draw.input("x", dtype, [m, d], Strides::LastDense);
    let out = draw.in_out("out", if wide { DType::F32 } else { dtype }, [v, d], Strides::LastDense);

    let (iv, xv, before) = (index.indices(), x.values(), out.values());
    let mut value = before.clone();
    scatter_add(&xv, d, &iv, &mut value);
    let mut size: Vec<f64> = before.iter().map(|v| v.abs()).collect();
    scatter_add(&xv.iter().map(|v| v.abs()).collect::<Vec<_>>(), d, &iv, &mut size);
    let mut count = vec![0usize; v];
    iv.iter().for_each(|&row| count[row] += 1);
    let (model, exact) = (draw.model(), draw.exact());
    let wants = value.into_iter().zip(size).enumerate().map(|(at, (value, s))| match count[at / d] {
        // A row that takes nothing stays as it is.
        0 => Want { value, bound: model.flushed() },
        _ if exact => Want::exactly(value),
        n => Want::within(value, model.sum(n + 1, s), s),
    });
    let wants = wants.collect();
    let mut case = Case::new(vec![index, x], vec![out], vec![wants], |on, mut with| {
        ScatterAdd { index: with.input(), x: with.input(), out: with.output() }.run(on)
    });
    case.plain = exact || draw.spread() == Spread::Equal;
    case
}

fn quantize(draw: &mut Draw<'_>, dtype: DType) -> Case {
    let [k, m] = fit([draw.dim(513), draw.dim(129)], 1 << 14);
    let x = draw.input("x", dtype, [m, k], Strides::LastDense);
    let q = draw.output("q", DType::I8, [m, k], Strides::LastDense);
    let scale = draw.output("scale", DType::F32, [m], Strides::Any);
    let xv = x.values();
    let (mut q_wants, mut scale_wants) = (Vec::new(), Vec::new());
    for row in 0..m {
        let x = &xv[row * k..][..k];
        let mut codes = vec![0.0; k];
        let scale = quantize_row(x, &mut codes);
        let max = scale * 127.0;
        // 127 / max overflows: the documentation leaves the codes open.
        let open = max > 0.0 && 127.0 / max > f64::from(f32::MAX) / 2.0;
        scale_wants.push(Want { value: scale, bound: 4.0 * U * scale + 2f64.powi(-149) });
        // The factor 127 / max and the product round: near a tie either neighbour is right.
        q_wants.extend(x.iter().map(|x| match (open, max > 0.0) {
            (true, _) => Want { value: 0.0, bound: f64::INFINITY },
            (_, true) => Want { value: x * 127.0 / max, bound: 127.0 * 4.0 * U },
            _ => Want::exactly(0.0),
        }));
    }
    let mut case = Case::new(vec![x], vec![q, scale], vec![q_wants, scale_wants], |on, mut with| {
        Quantize { x: with.input(), q: with.output(), scale: with.output() }.run(on)
    });
    case.rows = &["x", "q", "scale"];
    // Codes beside one huge value are 0; rows of small integers have few scales.
    case.plain = draw.spread() != Spread::Normal;
    case
}
