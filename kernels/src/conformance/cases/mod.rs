//! The cases of every op: how a recipe becomes operands, what must come out, and the bound, derived where it is computed.

mod attention;
mod linear;
mod matmul;

use super::case::Case;
use super::draw::Draw;
use super::recipe::Recipe;
use crate::DType;

type Build = Box<dyn Fn(&mut Draw<'_>) -> Case + Send + Sync>;

/// All cases of one op for one dtype (and one weight format or parameter, if they are many).
pub(super) struct Suite {
    pub op: &'static str,
    pub group: String,
    pub dtype: DType,
    pub cases: u32,
    pub build: Build,
    pub directed: Vec<Recipe>,
}

impl Suite {
    fn new(op: &'static str, dtype: DType, cases: u32, build: impl Fn(&mut Draw<'_>) -> Case + Send + Sync + 'static) -> Self {
        Suite { op, group: dtype.to_string(), dtype, cases, build: Box::new(build), directed: Vec::new() }
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
    [matmul::suites(), linear::suites(), attention::suites()].into_iter().flatten().collect()
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
