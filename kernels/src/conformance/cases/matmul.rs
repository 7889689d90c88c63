//! Cases of [`Matmul`].

use super::{Suite, abs, fit};
use crate::conformance::bounds::{Want, flushed};
use crate::conformance::case::Case;
use crate::conformance::draw::{Draw, Strides};
use crate::conformance::recipe::{Recipe, Spread};
use crate::ops::Matmul;
use crate::reference::{MatmulDims, matmul, wrap_i32};
use crate::{DType, Op};

pub(super) fn suites() -> Vec<Suite> {
    let directed = || {
        let mut recipes = Vec::new();
        // [M, N, K, batch]: no terms, no rows, no columns, no batch, one row, the edges of tiles, one long dimension at a time.
        let sizes = [
            [3, 5, 0, 1],
            [0, 5, 3, 1],
            [3, 0, 4, 1],
            [3, 5, 4, 0],
            [1, 1, 1, 1],
            [1, 64, 64, 1],
            [64, 1, 64, 1],
            [16, 17, 513, 1],
            [513, 7, 9, 1],
            [5, 513, 8, 1],
            [129, 65, 33, 1],
            [97, 97, 97, 1],
            [31, 33, 257, 2],
            [8, 8, 8, 5],
        ];
        for [m, n, k, batch] in sizes {
            for beta in 0..4 {
                recipes.push(Recipe::directed([m, n, k, batch, 1], [0, beta, 0, 0]));
                recipes.push(Recipe::directed([m, n, k, batch, 1], [0, beta, 0, 0]).spread(Spread::Integers));
            }
        }
        recipes
    };
    [DType::F32, DType::Bf16, DType::F16, DType::I8]
        .map(|dtype| Suite::new(Matmul::NAME, dtype, 1024 / 4, move |draw| case(draw, dtype)).directed(directed()))
        .into()
}

fn case(draw: &mut Draw<'_>, dtype: DType) -> Case {
    let [m, n, k] = fit([draw.dim(513), draw.dim(513), draw.dim(513)], 1 << 19);
    let batch = draw.dim(5);
    // A size of 1 in the second leading dimension, so that ranks above 3 are seen too.
    let lead: &[usize] = if draw.pick(2) == 0 { &[batch] } else { &[batch, 1] };
    let shape = |rows, columns| crate::Shape::new(&[lead, &[rows, columns]].concat()).unwrap_or_else(|e| unreachable!("{e}"));
    let integer = dtype == DType::I8;
    let beta = draw.among(&[0.0f32, 1.0, if integer { 0.0 } else { -2.0 }, if integer { 1.0 } else { 0.5 }]);
    let alpha = if integer { 1.0 } else { draw.among(&[1.0f32, 1.0, -2.0, 0.5, 0.0]) };
    let wide = draw.pick(2) == 1;
    let out_dtype = if integer {
        DType::I32
    } else if wide {
        DType::F32
    } else {
        dtype
    };
    let a = draw.input("a", dtype, shape(m, k), Strides::Any);
    let b = draw.input("b", dtype, shape(k, n), Strides::Any);
    // Not read if beta = 0: then it stays full of NaN.
    let out = match beta == 0.0 {
        true => draw.output("out", out_dtype, shape(m, n), Strides::Any),
        false => draw.in_out("out", out_dtype, shape(m, n), Strides::Any),
    };

    let dims = MatmulDims { batch, m, n, k };
    let (av, bv, before) = (a.values(), b.values(), out.values());
    let (alpha64, beta64) = (f64::from(alpha), f64::from(beta));
    let mut value = before.clone();
    matmul(dims, &av, &bv, alpha64, beta64, &mut value);
    let wants = if integer || draw.exact() {
        value.into_iter().map(|c| Want::exactly(if integer { wrap_i32(c) } else { c })).collect()
    } else {
        let mut size = abs(&before);
        // alpha = 0 comes too late for a sum that has overflowed.
        matmul(dims, &abs(&av), &abs(&bv), alpha64.abs().max(1e-30), beta64.abs(), &mut size);
        let model = draw.model().tensor_cores(dtype).products(dtype);
        // What sums flush is flushed before alpha enlarges it: K·tiny each time that |alpha| exceeds 1.
        let enlarged = (alpha64.abs() - 1.0).max(0.0) * k as f64 * model.tiny();
        let cores = draw.model().tensor_cores(dtype);
        let lost = |at: usize| {
            let (i, j) = (at / n, at % n);
            let factors = || (0..k).map(|l| (av[i * k + l], bv[(i / m * k + l) * n + j]));
            enlarged + alpha64.abs() * (flushed(dtype, factors()) + cores.factor(k) * cores.raised(dtype, factors()))
        };
        // alpha may shrink what has already overflowed.
        let largest = |s: f64| s / alpha64.abs().clamp(1e-30, 1.0);
        let sums = value.into_iter().zip(size).enumerate();
        // alpha·Σ and beta·out round once each and are added: two more terms.
        sums.map(|(at, (c, s))| Want::within(c, model.sum(k + 2, s) + lost(at), largest(s))).collect()
    };
    let mut case = Case::new(vec![a, b], vec![out], vec![wants], move |on, mut with| {
        Matmul { a: with.input(), b: with.input(), alpha, beta, out: with.output() }.run(on)
    });
    case.plain = k == 0 || alpha == 0.0 || draw.spread() == Spread::Equal;
    case
}
