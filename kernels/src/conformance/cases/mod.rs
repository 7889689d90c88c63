//! The cases of every op: how a recipe becomes operands, what must come out, and the bound, derived where it is computed.

mod attention;
mod elementwise;
mod forest;
mod index;
mod linear;
mod matmul;
mod memory;
mod norm;
mod optimizer;
mod random;
mod reduce;
mod rope;
mod softmax;

use super::case::Case;
use super::draw::Draw;
use super::recipe::Recipe;
use crate::{DType, Shape};

type Build = Box<dyn Fn(&mut Draw<'_>) -> Case + Send + Sync>;

/// All cases of one op for one dtype (and one weight format or parameter, if they are many).
pub(super) struct Suite {
    pub op: &'static str,
    pub group: String,
    pub dtype: DType,
    pub cases: u32,
    pub build: Build,
    pub directed: Vec<Recipe>,
    /// Whether this is the first suite of its op.
    pub leads: bool,
}

impl Suite {
    fn new(op: &'static str, dtype: DType, cases: u32, build: impl Fn(&mut Draw<'_>) -> Case + Send + Sync + 'static) -> Self {
        Suite { op, group: dtype.to_string(), dtype, cases, build: Box::new(build), directed: Vec::new(), leads: false }
    }

    /// `op/dtype`, or `op/dtype/format`.
    pub fn name(&self) -> String {
        format!("{}/{}", self.op, self.group)
    }

    fn group(mut self, group: impl std::fmt::Display) -> Self {
        self.group = format!("{}/{group}", self.dtype);
        self
    }

    fn directed(mut self, recipes: Vec<Recipe>) -> Self {
        self.directed = recipes;
        self
    }
}

/// Every suite.
pub(super) fn suites() -> Vec<Suite> {
    let mut suites: Vec<Suite> = [
        memory::suites(),
        matmul::suites(),
        linear::suites(),
        attention::suites(),
        rope::suites(),
        norm::suites(),
        softmax::suites(),
        elementwise::suites(),
        reduce::suites(),
        index::suites(),
        forest::suites(),
        random::suites(),
        optimizer::suites(),
    ]
    .into_iter()
    .flatten()
    .collect();
    for at in 0..suites.len() {
        suites[at].leads = !suites[..at].iter().any(|before| before.op == suites[at].op);
    }
    suites
}

/// A shape of up to four dimensions and 2¹⁶ elements, for ops that look at no dimension.
fn shape(draw: &mut Draw<'_>) -> Shape {
    let [a, b, c, d] = fit([draw.dim(513), draw.dim(513), draw.dim(65), draw.dim(9)], 1 << 14);
    match draw.pick(4) {
        0 => Shape::from([a, b]),
        1 => Shape::from([a]),
        2 => Shape::from([c, a, b.min(17)]),
        _ => Shape::from([d, a.min(65), c.min(9), b.min(17)]),
    }
}

/// Leading dimensions and width of an op that works on rows.
fn rows(draw: &mut Draw<'_>) -> (Shape, usize, usize) {
    let [width, a, b] = fit([draw.dim(513), draw.dim(129), draw.dim(9)], 1 << 14);
    match draw.pick(3) {
        0 => (Shape::from([a, width]), a, width),
        1 => (Shape::from([a, b, width]), a * b, width),
        _ => (Shape::from([width]), 1, width),
    }
}

/// The leading dimensions of a shape.
fn lead(shape: Shape) -> Shape {
    Shape::new(&shape[..shape.rank() - 1]).unwrap_or(shape)
}

/// Sizes of rows that every op on rows must take: none, one, one element, odd ones, long ones.
fn row_recipes() -> Vec<Recipe> {
    let sizes = [[0, 3], [3, 0], [1, 1], [1, 7], [7, 1], [513, 2], [257, 5], [64, 129]];
    sizes.iter().map(|&[width, rows]| Recipe::directed([width, rows, 1, 1, 1], [0; 4])).collect()
}

fn abs(values: &[f64]) -> Vec<f64> {
    values.iter().map(|v| v.abs()).collect()
}

/// Halves the largest sizes until their product is at most `budget`, so that no case takes long.
fn fit<const N: usize>(mut dims: [usize; N], budget: usize) -> [usize; N] {
    while dims.iter().product::<usize>() > budget {
        if let Some(largest) = dims.iter_mut().max() {
            *largest = largest.div_ceil(2);
        }
    }
    dims
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::OP_NAMES;

    #[test]
    fn every_op_has_its_number_of_cases() {
        let count = |filter: &dyn Fn(&Suite) -> bool| suites().iter().filter(|s| filter(s)).map(|s| s.cases).sum::<u32>();
        for op in OP_NAMES {
            let cases = count(&|suite| suite.op == *op);
            let wanted = if matches!(*op, "matmul" | "attention" | "attention_backward") { 1024 } else { 256 };
            assert!(cases >= wanted, "{op} has {cases} generated cases, not {wanted}");
        }
        let sparse = |suite: &Suite| ["csr", "block", "2:4"].iter().any(|format| suite.group.contains(format));
        assert!(count(&|suite| suite.op == "linear" && sparse(suite)) >= 1024);
        assert!(count(&|suite| suite.op == "linear" && !sparse(suite)) >= 1024);
    }

    #[test]
    fn names_are_unique() {
        let mut names: Vec<String> = suites().iter().map(Suite::name).collect();
        names.sort();
        assert!(names.windows(2).all(|pair| pair[0] != pair[1]));
    }
}
