//! Cases of [`Forest`].

use super::{Suite, fit};
use crate::conformance::bounds::Want;
use crate::conformance::case::Case;
use crate::conformance::draw::{Draw, Strides};
use crate::conformance::recipe::{Recipe, Spread};
use crate::ops::Forest;
use crate::reference::Trees;
use crate::{DType, Op};

/// Most splits of a tree.
const SPLITS: u32 = 40;

pub(super) fn suites() -> Vec<Suite> {
    // Rows, features, trees, leaves, classes.
    let sizes = [
        [0, 3, 4, 5, 2],
        [3, 0, 4, 5, 2],
        [3, 4, 0, 5, 2],
        [3, 4, 5, 0, 2],
        [3, 4, 5, 6, 0],
        [1, 1, 1, 1, 1],
        [1, 7, 129, 31, 3],
        [129, 5, 63, 9, 10],
        [7, 3, 64, 9, 65],
        [65, 33, 65, 17, 1],
    ];
    let recipe = |size| Recipe::directed(size, [0, 1, 0, 0]);
    let directed = sizes.iter().flat_map(|&size| [recipe(size), recipe(size).spread(Spread::Integers)]).collect();
    vec![Suite::new(Forest::NAME, DType::F32, 256, case).directed(directed)]
}

/// Nodes of a tree whose first splits are made first, and whose leaves are drawn.
fn grow(words: &mut impl Iterator<Item = u32>, nodes: &mut Vec<[u32; 3]>, [features, leaves]: [usize; 2], values: &[u32]) {
    let mut below = |limit: usize| words.next().unwrap_or(0) % limit.max(1) as u32;
    let splits = if features == 0 { 0 } else { below(SPLITS as usize) };
    let root = nodes.len();
    nodes.push([0; 3]);
    // Nodes in their order, some left as leaves on the way, so that trees are not all of one depth.
    let mut at = root;
    for _ in 0..splits {
        while at + 1 < nodes.len() && below(4) == 0 {
            nodes[at] = [below(1 << 16), Forest::LEAF, below(leaves)];
            at += 1;
        }
        let to = nodes.len() - at - 1;
        // Half of the thresholds are values of `x`, so that equality is met.
        let threshold = if below(2) == 0 && !values.is_empty() {
            values[below(values.len()) as usize]
        } else {
            (below(2000) as f32 / 1000.0 - 1.0).to_bits()
        };
        nodes[at] = [threshold, below(features), to as u32];
        nodes.extend([[0; 3]; 2]);
        at += 1;
    }
    for node in &mut nodes[at..] {
        *node = [below(1 << 16), Forest::LEAF, below(leaves)];
    }
}

fn case(draw: &mut Draw<'_>) -> Case {
    let [m, f, t] = fit([draw.dim(257), draw.dim(65), draw.dim(200)], 1 << 16);
    let [l, c] = fit([draw.dim(65), draw.dim(65)], 1 << 12);
    // Without leaves no tree says anything.
    let t = if l == 0 { 0 } else { t };
    let scale = draw.among(&[0.25f32, 1.0, -0.5]);
    let x = draw.input("x", DType::F32, [m, f], Strides::LastDense);
    let xv = x.values();
    let values: Vec<u32> = xv.iter().map(|&x| (x as f32).to_bits()).collect();
    let mut words = draw.words(t * (SPLITS as usize + 1) * 10);
    let (mut roots, mut nodes) = (Vec::new(), Vec::new());
    for _ in 0..t {
        roots.push(nodes.len());
        grow(&mut words, &mut nodes, [f, l], &values);
    }
    let leaves = draw.input("leaves", DType::F32, [l, c], Strides::LastDense);
    let roots_in = draw.input_with("roots", DType::U32, [t], Strides::Any, roots.iter().map(|&root| root as f64));
    let flat = nodes.iter().flatten().map(|&word| f64::from(word));
    let nodes_in = draw.input_with("nodes", DType::U32, [nodes.len(), 3], Strides::LastDense, flat);
    let out = draw.output("out", DType::F32, [m, c], Strides::LastDense);

    let lv = leaves.values();
    let sizes: Vec<f64> = lv.iter().map(|v| v.abs()).collect();
    let trees = Trees { roots: &roots, nodes: &nodes, leaves: &lv, classes: c };
    let (model, exact) = (draw.model(), draw.exact());
    let mut wants = Vec::new();
    for row in 0..m {
        let (mut value, mut size) = (vec![0.0; c], vec![0.0; c]);
        let x = &xv[row * f..][..f];
        let right = trees.judge(x, l, scale.into(), &mut value);
        let right = right.and_then(|()| Trees { leaves: &sizes, ..trees }.judge(x, l, scale.abs().into(), &mut size));
        right.unwrap_or_else(|stray| unreachable!("{stray:?}"));
        // The sum, and one rounding of its product with the scale, which is a power of two: none.
        wants.extend(value.into_iter().zip(size).map(|(value, s)| match exact {
            true => Want::exactly(value),
            false => Want::within(value, model.sum(t, s), s / f64::from(scale.abs())),
        }));
    }
    let mut case = Case::new(vec![x, leaves, roots_in, nodes_in], vec![out], vec![wants], move |on, mut with| {
        let (x, leaves) = (with.input(), with.input());
        Forest { x, leaves, roots: with.input(), nodes: with.input(), scale, out: with.output() }.run(on)
    });
    case.rows = &["x", "out"];
    // Few trees or leaves give few different rows.
    case.plain = true;
    case
}
