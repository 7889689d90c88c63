//! Random forest: many decision trees on bootstrap samples, whose probabilities are averaged.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::bins::Bins;
pub use super::tree::ColumnsPerNode;
use super::tree::{Example, Limits, MIXED, Node, PURE, Tree, grow};
use crate::container::{Container, Header};
use crate::data::{Inputs, Table};
use crate::model::{Classify, Describe, Scale, Store};
use crate::random::Random;
use crate::{Error, Result};

pub(super) const FAMILY: &str = "forest";
/// Rows that go through a tree together, so that it stays in the cache.
const BLOCK_ROWS: usize = 64;
/// Walks that go down trees together.
const LANES: usize = 8;
/// Fewer rows than this are not worth a second thread.
const PARALLEL_ROWS: usize = 4 * BLOCK_ROWS;

/// Which rows a tree is grown on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sampling {
    /// As many as there are, drawn with replacement.
    Bootstrap,
    /// All of them.
    All,
}

/// Settings of a forest. The defaults are those of scikit-learn 1.9.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ForestConfig {
    /// Number of trees.
    pub trees: usize,
    /// Columns tried at each node.
    pub columns: ColumnsPerNode,
    /// Rows each tree sees.
    pub sampling: Sampling,
    /// Splits on the way to a leaf at most; none for no limit.
    pub max_depth: Option<u32>,
    /// Rows (counted as often as drawn) on each side of a split at least.
    pub min_leaf: u32,
    /// The same seed gives the same forest, whatever the number of threads.
    pub seed: u64,
}

impl Default for ForestConfig {
    fn default() -> Self {
        let (columns, sampling) = (ColumnsPerNode::Sqrt, Sampling::Bootstrap);
        Self { trees: 100, columns, sampling, max_depth: None, min_leaf: 1, seed: 42 }
    }
}

/// A fitted random forest. Values that are not a number count as larger than every threshold.
#[derive(Clone, Debug, PartialEq)]
pub struct Forest {
    config: ForestConfig,
    pub(super) classes: usize,
    pub(super) cols: usize,
    /// Where each tree's nodes begin, then the number of nodes.
    pub(super) roots: Vec<u32>,
    /// All trees, one after the other; `child` counts from the first node of the forest.
    pub(super) nodes: Vec<Node>,
    /// Distributions of leaves with several classes, `[leaves, classes]`.
    pub(super) mixed: Vec<f32>,
}

/// What the header says beside the settings.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    classes: usize,
    cols: usize,
    forest: ForestConfig,
}

impl Forest {
    /// Fits on `table`, `[rows, cols]`, with a class below `classes` per row. Trees are grown in parallel.
    ///
    /// # Errors
    /// `Config` for no rows, values that are not finite, labels out of range or not one per row, no trees, or trees too large
    /// for 32-bit node numbers.
    pub fn fit(table: &Table, labels: &[u32], classes: usize, config: ForestConfig) -> Result<Self> {
        check(table, labels, classes, &config)?;
        let bins = Bins::fit(table);
        let limits =
            Limits { columns: config.columns, max_depth: config.max_depth.unwrap_or(u32::MAX), min_leaf: config.min_leaf.max(1) };
        let tree = |index: usize| {
            let mut random = Random::stream(config.seed, index as u64);
            let examples = sample(labels, config.sampling, &mut random);
            grow(&bins, &examples, classes, limits, &mut random)
        };
        let trees: Vec<Tree> = (0..config.trees).into_par_iter().map(tree).collect();
        Self::join(trees, Self { config, classes, cols: table.cols, roots: vec![0], nodes: Vec::new(), mixed: Vec::new() })
    }

    /// Puts `trees` into `forest`, one after the other.
    fn join(trees: Vec<Tree>, mut forest: Self) -> Result<Self> {
        for tree in trees {
            let (first_node, first_mixed) = (forest.nodes.len(), forest.mixed.len() / forest.classes);
            let size = u32::try_from(first_node + tree.nodes.len()).ok().filter(|&size| size < MIXED);
            forest.roots.push(size.ok_or_else(|| Error::config("trees", "the forest has more than 2³² nodes; use fewer trees"))?);
            forest.nodes.extend(tree.nodes.iter().map(|node| match node.feature {
                PURE => *node,
                MIXED => Node { child: node.child + first_mixed as u32, ..*node },
                _ => Node { child: node.child + first_node as u32, ..*node },
            }));
            forest.mixed.extend(tree.mixed);
        }
        Ok(forest)
    }

    /// Settings it was fitted with.
    pub fn config(&self) -> &ForestConfig {
        &self.config
    }

    /// Probabilities of one row, `[cols]`, into `out`, `[classes]`; allocates nothing and starts no thread.
    ///
    /// # Errors
    /// `Config` if a length is wrong.
    pub fn predict_row(&self, row: &[f32], out: &mut [f32]) -> Result<()> {
        if row.len() != self.cols || out.len() != self.classes {
            let what =
                format!("{} values into {} classes; the forest has {} and {}", row.len(), out.len(), self.cols, self.classes);
            return Err(Error::config("row", what));
        }
        self.mean_of_row(row, out);
        Ok(())
    }

    /// Mean over the trees for one row.
    fn mean_of_row(&self, row: &[f32], out: &mut [f32]) {
        out.fill(0.0);
        let (together, rest) = self.roots[..self.config.trees].as_chunks::<LANES>();
        for &roots in together {
            self.walk(roots, row, 0).iter().for_each(|&leaf| self.add_leaf(leaf, out));
        }
        for &root in rest {
            self.walk([root], row, 0).iter().for_each(|&leaf| self.add_leaf(leaf, out));
        }
        self.divide(out);
    }

    /// Mean over the trees for `rows`, `[n, cols]`, into `out`, `[n, classes]`.
    fn mean_of_block(&self, rows: &[f32], out: &mut [f32]) {
        let n = out.len() / self.classes;
        let together = n - n % LANES;
        let (out, out_of_rest) = out.split_at_mut(together * self.classes);
        out.fill(0.0);
        for &root in &self.roots[..self.config.trees] {
            for (group, out) in out.chunks_exact_mut(LANES * self.classes).enumerate() {
                let leaves = self.walk([root; LANES], &rows[group * LANES * self.cols..], self.cols);
                leaves.iter().zip(out.chunks_exact_mut(self.classes)).for_each(|(&leaf, out)| self.add_leaf(leaf, out));
            }
        }
        self.divide(out);
        for (row, out) in (together..n).zip(out_of_rest.chunks_exact_mut(self.classes)) {
            self.mean_of_row(&rows[row * self.cols..(row + 1) * self.cols], out);
        }
    }

    fn divide(&self, out: &mut [f32]) {
        let share = 1.0 / self.config.trees as f32;
        out.iter_mut().for_each(|probability| *probability *= share);
    }

    /// The leaf that each of `N` walks ends in: walk `i` begins at `roots[i]` and reads the row at `rows[i * stride..]`. They
    /// take their steps together, so that the processor waits for their memory at once; those at a leaf stay there.
    #[inline]
    fn walk<const N: usize>(&self, roots: [u32; N], rows: &[f32], stride: usize) -> [Node; N] {
        let mut nodes = roots.map(|root| self.nodes[root as usize]);
        while nodes.iter().any(|node| node.feature < MIXED) {
            for (lane, node) in nodes.iter_mut().enumerate() {
                let is_split = node.feature < MIXED;
                let value = rows[lane * stride + if is_split { node.feature as usize } else { 0 }];
                let is_left = value <= node.threshold;
                let next = self.nodes[if is_split { node.child as usize + usize::from(!is_left) } else { 0 }];
                *node = if is_split { next } else { *node };
            }
        }
        nodes
    }

    #[inline]
    fn add_leaf(&self, leaf: Node, out: &mut [f32]) {
        if leaf.feature == PURE {
            out[leaf.child as usize] += 1.0;
        } else {
            let shares = &self.mixed[leaf.child as usize * self.classes..][..self.classes];
            out.iter_mut().zip(shares).for_each(|(out, share)| *out += share);
        }
    }
}

fn check(table: &Table, labels: &[u32], classes: usize, config: &ForestConfig) -> Result<()> {
    table.check()?;
    if table.rows == 0 || table.rows > u32::MAX as usize || table.cols >= MIXED as usize {
        return Err(Error::config("table", format!("{} rows of {} columns cannot be fitted", table.rows, table.cols)));
    }
    if labels.len() != table.rows || labels.iter().any(|&label| label as usize >= classes) {
        let what = format!("one class below {classes} is needed for each of {} rows", table.rows);
        return Err(Error::config("labels", what));
    }
    if let Some(at) = table.values.iter().position(|value| !value.is_finite()) {
        let what = format!("row {}, column {} is not finite", at / table.cols, at % table.cols);
        return Err(Error::config("table", what));
    }
    if config.trees == 0 {
        return Err(Error::config("trees", "a forest needs at least one"));
    }
    Ok(())
}

/// What each row counts for in one tree.
fn sample(labels: &[u32], sampling: Sampling, random: &mut Random) -> Vec<Example> {
    let weight = u32::from(sampling == Sampling::All);
    let mut examples: Vec<Example> = labels.iter().map(|&class| Example { class, weight }).collect();
    if sampling == Sampling::Bootstrap {
        for _ in 0..labels.len() {
            examples[random.below(labels.len())].weight += 1;
        }
    }
    examples
}

impl Describe for Forest {
    fn family(&self) -> &'static str {
        FAMILY
    }

    fn scale(&self) -> Scale {
        Scale::Small
    }

    /// A threshold per split, a class per pure leaf, a distribution per mixed one.
    fn params(&self) -> u64 {
        let mixed_leaves = self.mixed.len() / self.classes;
        (self.nodes.len() - mixed_leaves + self.mixed.len()) as u64
    }
}

impl Classify for Forest {
    fn classes(&self) -> usize {
        self.classes
    }

    fn predict_proba(&self, inputs: &Inputs) -> Result<Vec<f32>> {
        let table = inputs.table()?;
        if table.cols != self.cols {
            return Err(Error::config("inputs", format!("fitted on {} columns, got {}", self.cols, table.cols)));
        }
        let mut out = vec![0f32; table.rows * self.classes];
        let block = |(index, out): (usize, &mut [f32])| {
            let (first, rows) = (index * BLOCK_ROWS, out.len() / self.classes);
            self.mean_of_block(&table.values[first * self.cols..(first + rows) * self.cols], out);
        };
        if table.rows < PARALLEL_ROWS {
            out.chunks_mut(BLOCK_ROWS * self.classes).enumerate().for_each(block);
        } else {
            out.par_chunks_mut(BLOCK_ROWS * self.classes).enumerate().for_each(block);
        }
        Ok(out)
    }
}

impl Store for Forest {
    fn to_container(&self) -> Result<Container> {
        let stored = Stored { classes: self.classes, cols: self.cols, forest: self.config.clone() };
        let mut header = Header::new(FAMILY, &stored)?;
        header.seed = self.config.seed;
        let mut container = Container::new(header);
        let column = |of: fn(&Node) -> u32| self.nodes.iter().map(of).collect::<Vec<u32>>();
        let thresholds: Vec<f32> = self.nodes.iter().map(|node| node.threshold).collect();
        container.insert("roots", &[self.roots.len()], &self.roots)?;
        container.insert("threshold", &[self.nodes.len()], &thresholds)?;
        container.insert("feature", &[self.nodes.len()], &column(|node| node.feature))?;
        container.insert("child", &[self.nodes.len()], &column(|node| node.child))?;
        container.insert("mixed", &[self.mixed.len() / self.classes, self.classes], &self.mixed)?;
        Ok(container)
    }

    fn from_container(container: &Container) -> Result<Self> {
        let Stored { classes, cols, forest: config } = container.config(FAMILY)?;
        if classes == 0 || cols >= MIXED as usize {
            return Err(container.damage("config", format!("{classes} classes, {cols} columns")));
        }
        let roots: Vec<u32> = container.values("roots", &[None])?;
        let thresholds: Vec<f32> = container.values("threshold", &[None])?;
        let features: Vec<u32> = container.values("feature", &[Some(thresholds.len())])?;
        let children: Vec<u32> = container.values("child", &[Some(thresholds.len())])?;
        let mixed: Vec<f32> = container.values("mixed", &[None, Some(classes)])?;
        let fields = thresholds.into_iter().zip(features).zip(children);
        let nodes = fields.map(|((threshold, feature), child)| Node { threshold, feature, child }).collect();
        let forest = Self { config, classes, cols, roots, nodes, mixed };
        forest.validate(container)?;
        Ok(forest)
    }
}

impl Forest {
    /// What prediction relies on: every index is in range, and children come after their parents, so each walk ends.
    fn validate(&self, container: &Container) -> Result<()> {
        let is_cover = self.roots.first() == Some(&0) && self.roots.last().map(|&end| end as usize) == Some(self.nodes.len());
        let is_ascending = self.roots.windows(2).all(|pair| pair[0] < pair[1]);
        if !is_cover || !is_ascending || self.config.trees == 0 || self.config.trees != self.roots.len() - 1 {
            let what =
                format!("{} roots do not part {} nodes into {} trees", self.roots.len(), self.nodes.len(), self.config.trees);
            return Err(container.damage("roots", what));
        }
        if self.mixed.iter().any(|share| !(0.0..=1.0).contains(share)) {
            return Err(container.damage("mixed", "a share is not between 0 and 1"));
        }
        let mixed_leaves = self.mixed.len() / self.classes;
        for range in self.roots.windows(2).map(|pair| pair[0]..pair[1]) {
            for at in range.clone() {
                let Node { threshold, feature, child } = self.nodes[at as usize];
                let is_sound = match feature {
                    PURE => (child as usize) < self.classes,
                    MIXED => (child as usize) < mixed_leaves,
                    _ => (feature as usize) < self.cols && child > at && child < range.end - 1 && threshold.is_finite(),
                };
                if !is_sound {
                    return Err(container.damage("child", format!("node {at} points outside of its tree or of the classes")));
                }
            }
        }
        Ok(())
    }
}
