//! Decision trees.

use super::{Check, Window};
use crate::op::operands;
use crate::{Cost, DType, Op, Result, View, ViewMut};

/// Mean (or sum) over trees of the leaf that each row of `x` ends in.
///
/// out\[m\] = scale · Σₜ leaves[leaf(t, x\[m\])], added in rising t. A walk begins at node roots\[t\]; node n is (threshold, feature, to):
/// - feature = [`Forest::LEAF`]: the walk ends in row `to` of `leaves`;
/// - else it goes on to node n + 1 + to if x[m, feature] ≤ threshold, and to the node after that if not, as for NaN. So every walk
///   goes forward and ends.
///
/// | argument | shape | dtype |
/// |---|---|---|
/// | `x` | [M, F], last stride 1 | f32 |
/// | `roots` | \[T\] | u32, each below N |
/// | `nodes` | [N, 3], last stride 1: bits of the threshold, feature, to | u32 |
/// | `leaves` | [L, C], last stride 1 | f32 |
/// | `out` | [M, C], last stride 1; overwritten | f32 |
///
/// Without trees `out` is 0. Precision: comparisons are exact; γ of the T terms and one rounding. Cost: data-dependent; counted as
/// M·T·C additions, and every operand once.
///
/// # Errors
/// `Shape`, `DType`, `Layout`; `Value` if `scale` is not finite; `Index` for a root that is no node, or a node that a walk comes to
/// and that names no column of `x`, no later node or no leaf, from this call or (asynchronous devices) from the next that waits.
///
/// # Source
/// Breiman, *Random Forests* (2001); Asadi, Lin, de Vries, *Runtime Optimizations for Tree-based Machine Learning Models* (2014),
/// for walks that take their steps together.
pub struct Forest<'a> {
    /// Rows to judge.
    pub x: View<'a>,
    /// Where each tree begins.
    pub roots: View<'a>,
    /// Nodes of all trees.
    pub nodes: View<'a>,
    /// What leaves say.
    pub leaves: View<'a>,
    /// Factor of the sum, 1/T for the mean.
    pub scale: f32,
    /// Result.
    pub out: ViewMut<'a>,
}

impl Forest<'_> {
    /// In place of a feature: the node is a leaf.
    pub const LEAF: u32 = u32::MAX;
}

impl Op for Forest<'_> {
    const NAME: &'static str = "forest";
    operands!(x, roots, nodes, leaves, out);

    fn check(&self) -> Result<()> {
        let check = Check(Self::NAME);
        let [m, _] = check.dims("x", &self.x, "[M, F]")?;
        check.dtype("x", &self.x, DType::F32)?;
        check.last_dense("x", &self.x)?;
        let [_] = check.dims("roots", &self.roots, "[T]")?;
        check.dtype("roots", &self.roots, DType::U32)?;
        let [n, _] = check.dims("nodes", &self.nodes, "[N, 3]")?;
        check.shape("nodes", &self.nodes, &[n, 3])?;
        check.dtype("nodes", &self.nodes, DType::U32)?;
        check.last_dense("nodes", &self.nodes)?;
        let [_, c] = check.dims("leaves", &self.leaves, "[L, C]")?;
        check.dtype("leaves", &self.leaves, DType::F32)?;
        check.last_dense("leaves", &self.leaves)?;
        check.finite("scale", self.scale)?;
        check.shape("out", &self.out, &[m, c])?;
        check.dtype("out", &self.out, DType::F32)?;
        check.last_dense("out", &self.out)?;
        check.writable("out", &self.out)
    }

    fn cost(&self) -> Cost {
        let flop = self.out.numel() as u64 * (self.roots.numel() as u64 + 1);
        let tables = self.roots.bytes() + self.nodes.bytes() + self.leaves.bytes();
        Cost { flop, bytes: self.x.bytes() + tables + self.out.bytes() }
    }

    fn dtype(&self) -> DType {
        self.x.dtype()
    }
}
