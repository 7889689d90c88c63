//! Cases of [`Random`].

use super::{Suite, shape};
use crate::conformance::bounds::{U, Want};
use crate::conformance::case::Case;
use crate::conformance::draw::{Draw, Strides};
use crate::ops::{Distribution, Random};
use crate::reference::random;
use crate::{DType, Op};

pub(super) fn suites() -> Vec<Suite> {
    DType::FLOATS.map(|dtype| Suite::new(Random::NAME, dtype, 256 / 3 + 1, move |draw| case(draw, dtype))).into()
}

fn case(draw: &mut Draw<'_>, dtype: DType) -> Case {
    let shape = shape(draw);
    let distribution = draw.among(&[
        Distribution::Uniform { low: 0.0, high: 1.0 },
        Distribution::Normal { mean: 0.0, std: 1.0 },
        Distribution::Uniform { low: -0.3, high: 1.7 },
        Distribution::Normal { mean: 2.5, std: 0.02 },
        Distribution::Uniform { low: 2.0, high: 2.0 },
        Distribution::Normal { mean: -1.0, std: 0.0 },
    ]);
    let words: Vec<u32> = draw.words(4).collect();
    // High words that are not zero, and zero seeds.
    let pair = |at: usize| u64::from(words[at]) << 32 | u64::from(words[at + 1]);
    let (seed, stream) = draw.among(&[(pair(0), pair(2)), (0, 0), (42, 7)]);
    let out = draw.output("out", dtype, shape, Strides::Any);
    let values = random(seed, stream, distribution, out.layout.numel());
    let want = |value: f64| match distribution {
        Distribution::Uniform { .. } => Want::exactly(value),
        Distribution::Normal { std, .. } => Want { value, bound: 8.0 * 2.0 * U * f64::from(std) + U * value.abs() },
    };
    let wants = values.into_iter().map(want).collect();
    let mut case = Case::new(vec![], vec![out], vec![wants], move |on, mut with| {
        Random { seed, stream, distribution, out: with.output() }.run(on)
    });
    case.plain = matches!(distribution, Distribution::Uniform { low: 2.0, .. } | Distribution::Normal { std: 0.0, .. });
    case
}
