//! Cases of [`Reduce`].

use super::{Suite, shape};
use crate::conformance::bounds::{U, Want};
use crate::conformance::case::Case;
use crate::conformance::draw::{Draw, Strides};
use crate::conformance::recipe::{Recipe, Spread};
use crate::ops::{Reduce, ReduceOp};
use crate::reference::reduce;
use crate::{DType, Op};

pub(super) fn suites() -> Vec<Suite> {
    let directed = || {
        let mut recipes = Vec::new();
        for op in 0..3 {
            for axis in 0..2 {
                for [a, b] in [[0, 3], [3, 0], [1, 1], [513, 3], [3, 513], [64, 65]] {
                    let recipe = Recipe::directed([a, b, 1, 1, 1], [0, op, axis, 0]);
                    recipes.extend([recipe.clone(), recipe.spread(Spread::Integers)]);
                }
            }
        }
        recipes
    };
    DType::FLOATS
        .map(|dtype| Suite::new(Reduce::NAME, dtype, 256 / 3 + 1, move |draw| case(draw, dtype)).directed(directed()))
        .into()
}

fn case(draw: &mut Draw<'_>, dtype: DType) -> Case {
    let shape = shape(draw);
    let op = draw.among(&[ReduceOp::Sum, ReduceOp::Mean, ReduceOp::Max]);
    let axis = draw.pick(4) as usize % shape.rank();
    let wide = draw.pick(2) == 1;
    let x = draw.input("x", dtype, shape, Strides::Any);
    let out = draw.output("out", if wide { DType::F32 } else { dtype }, shape.with(axis, 1), Strides::Any);

    let n = shape[axis];
    let inner: usize = shape[axis + 1..].iter().product();
    let outer: usize = shape[..axis].iter().product();
    let (xv, model) = (x.values(), draw.model());
    let mut wants = Vec::new();
    for at in 0..outer * inner {
        let line: Vec<f64> = (0..n).map(|i| xv[(at / inner * n + i) * inner + at % inner]).collect();
        let value = reduce(op, line.iter().copied());
        let size: f64 = line.iter().map(|x| x.abs()).sum();
        let exact = draw.exact() && (op == ReduceOp::Sum || n.is_power_of_two());
        wants.push(match op {
            ReduceOp::Max => Want { value, bound: model.flushed() },
            _ if exact => Want::exactly(value),
            ReduceOp::Sum => Want::within(value, model.sum(n, size), size),
            // The division, or the rounded 1/n and its product.
            ReduceOp::Mean => {
                Want::within(value, model.sum(n, size) / n.max(1) as f64 + 4.0 * U * value.abs() + model.tiny(), size)
            }
        });
    }
    let mut case = Case::new(vec![x], vec![out], vec![wants], move |on, mut with| {
        Reduce { op, x: with.input(), axis, out: with.output() }.run(on)
    });
    // The largest of many small integers is the same everywhere; an empty sum is 0.
    case.plain = n == 0 || draw.exact() || draw.spread() == Spread::Equal || op == ReduceOp::Max;
    case
}
