//! Cases of [`Rope`].

use super::{Suite, fit};
use crate::conformance::bounds::{U, Want};
use crate::conformance::case::Case;
use crate::conformance::draw::{Draw, Strides};
use crate::conformance::recipe::Recipe;
use crate::ops::{Direction, Pairing, Rope};
use crate::reference::{Rotation, pair, rope};
use crate::{DType, Op};

pub(super) fn suites() -> Vec<Suite> {
    let directed = || {
        let sizes = [[0, 4, 2], [3, 0, 2], [5, 1, 1], [1, 64, 1], [17, 33, 3], [2, 128, 2]];
        sizes.iter().map(|&[seq, half, heads]| Recipe::directed([seq, half, heads, 2, 1], [1, 0, 0, 0])).collect()
    };
    DType::FLOATS
        .map(|dtype| Suite::new(Rope::NAME, dtype, 256 / 3 + 1, move |draw| case(draw, dtype)).directed(directed()))
        .into()
}

fn case(draw: &mut Draw<'_>, dtype: DType) -> Case {
    let [seq, half, heads] = fit([draw.dim(257), draw.dim(128), draw.dim(9)], 1 << 13);
    let batch = draw.dim(3);
    let position = draw.among(&[0, 1, 1000, 100_000]);
    let theta = draw.among(&[10_000f32, 500_000.0, 10.0]);
    let pairing = draw.among(&[Pairing::Interleaved, Pairing::Halves]);
    let direction = draw.among(&[Direction::Forward, Direction::Backward]);
    let dims = [batch, seq, heads, 2 * half];
    let x = draw.input("x", dtype, dims, Strides::LastDense);
    let out = draw.output("out", dtype, dims, Strides::LastDense);

    let rotation = Rotation { position, theta: f64::from(theta), pairing, direction };
    let (xv, d) = (x.values(), 2 * half);
    let mut value = vec![0.0; xv.len()];
    rope(dims, rotation, &xv, &mut value);
    // Rounding of sine and cosine, two products, one sum; and the angle's own error, of which f64 leaves 2⁻⁴⁸ relative.
    let angle = (position + seq) as f64 * 2f64.powi(-48);
    let model = draw.model();
    let mut wants = vec![Want::exactly(0.0); xv.len()];
    for row in 0..xv.len() / d.max(1) {
        for i in 0..half {
            let (a, b) = pair(pairing, i, d);
            let size = xv[row * d + a].abs() + xv[row * d + b].abs();
            for at in [row * d + a, row * d + b] {
                wants[at] = Want::within(value[at], (4.0 * U + angle) * size + 3.0 * model.tiny(), size);
            }
        }
    }
    let mut case = Case::new(vec![x], vec![out], vec![wants], move |on, mut with| {
        Rope { x: with.input(), position, theta, pairing, direction, out: with.output() }.run(on)
    });
    case.rows = &["x", "out"];
    case
}
