//! Growing one decision tree by histograms over binned columns.

use serde::{Deserialize, Serialize};

use super::bins::{Bins, MAX_BINS};
use crate::random::Random;

/// How many columns a node may choose its split from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ColumnsPerNode {
    /// The square root of their number, rounded down; the usual choice for classification.
    Sqrt,
    /// All of them.
    All,
    /// This many, at least one.
    Count(usize),
}

impl ColumnsPerNode {
    fn of(self, cols: usize) -> usize {
        match self {
            Self::Sqrt => cols.isqrt().max(1),
            Self::All => cols,
            Self::Count(count) => count.max(1),
        }
    }
}

/// Where a tree stops growing.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub columns: ColumnsPerNode,
    pub max_depth: u32,
    /// Smallest weight of either side of a split.
    pub min_leaf: u32,
}

/// One node, 12 bytes so that a step down costs one cache line. `feature` is a column, or one of the two marks of leaves.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Node {
    /// Rows with `value <= threshold` go to `child`, the others to `child + 1`.
    pub threshold: f32,
    pub feature: u32,
    /// First of two neighbours among the nodes; for leaves the class, or the row among the mixed distributions.
    pub child: u32,
}

/// Mark of a leaf with one class, `child`.
pub(super) const PURE: u32 = u32::MAX;
/// Mark of a leaf with several classes: their shares are row `child` of the mixed distributions.
pub(super) const MIXED: u32 = u32::MAX - 1;

/// A grown tree: node 0 is the root, children come after their parents.
pub(super) struct Tree {
    pub nodes: Vec<Node>,
    /// Distributions of the mixed leaves, `[leaves, classes]`.
    pub mixed: Vec<f32>,
}

/// What a row counts for in one tree.
#[derive(Clone, Copy)]
pub(super) struct Example {
    pub class: u32,
    /// How often the bootstrap drew it.
    pub weight: u32,
}

/// Grows a tree on the rows of weight above zero. The split of a node is the one of largest decrease in Gini impurity among
/// randomly drawn columns, in which constant ones do not count.
///
/// # Source
/// Breiman, "Random forests", Machine Learning 45, 2001.
pub(super) fn grow(bins: &Bins, examples: &[Example], classes: usize, limits: Limits, random: &mut Random) -> Tree {
    let mut grower = Grower {
        bins,
        examples,
        classes,
        limits,
        columns: (0..bins.cols()).collect(),
        histogram: vec![0; MAX_BINS * classes],
        left: vec![0; classes],
        rows: (0..bins.rows as u32).filter(|&row| examples[row as usize].weight > 0).collect(),
        tree: Tree { nodes: vec![Node { threshold: 0.0, feature: PURE, child: 0 }], mixed: Vec::new() },
    };
    let mut open = vec![Open { node: 0, start: 0, end: grower.rows.len(), depth: 0 }];
    while let Some(next) = open.pop() {
        open.extend(grower.settle(next, random).into_iter().flatten());
    }
    grower.tree
}

/// A node whose rows are known and whose split is not.
struct Open {
    node: usize,
    start: usize,
    end: usize,
    depth: u32,
}

struct Grower<'a> {
    bins: &'a Bins,
    examples: &'a [Example],
    classes: usize,
    limits: Limits,
    /// All columns, in an order that drawing shuffles.
    columns: Vec<usize>,
    /// Weights by bin and class of one column in one node; zeros between uses.
    histogram: Vec<u32>,
    /// Weights by class left of the split looked at.
    left: Vec<u32>,
    /// The rows of each node are neighbours here.
    rows: Vec<u32>,
    tree: Tree,
}

struct Split {
    column: usize,
    bin: usize,
    score: f64,
}

impl Grower<'_> {
    /// Makes `open` a leaf, or splits it and returns its children.
    fn settle(&mut self, open: Open, random: &mut Random) -> Option<[Open; 2]> {
        let mut totals = vec![0u32; self.classes];
        for &row in &self.rows[open.start..open.end] {
            let Example { class, weight } = self.examples[row as usize];
            totals[class as usize] += weight;
        }
        let is_pure = totals.iter().filter(|&&total| total > 0).count() <= 1;
        let split = if is_pure || open.depth >= self.limits.max_depth { None } else { self.best_split(&open, &totals, random) };
        let Some(Split { column, bin, .. }) = split else {
            self.tree.nodes[open.node] = self.leaf(&totals, is_pure);
            return None;
        };
        let middle = open.start + partition(&mut self.rows[open.start..open.end], self.bins.column(column), bin);
        let child = self.tree.nodes.len();
        let threshold = self.bins.edge(column, bin);
        self.tree.nodes[open.node] = Node { threshold, feature: column as u32, child: child as u32 };
        self.tree.nodes.extend([Node { threshold: 0.0, feature: PURE, child: 0 }; 2]);
        let depth = open.depth + 1;
        let left = Open { node: child, start: open.start, end: middle, depth };
        Some([Open { node: child + 1, start: middle, end: open.end, depth }, left])
    }

    fn leaf(&mut self, totals: &[u32], is_pure: bool) -> Node {
        if is_pure {
            let class = totals.iter().position(|&total| total > 0).unwrap_or(0);
            return Node { threshold: 0.0, feature: PURE, child: class as u32 };
        }
        let weight: u64 = totals.iter().map(|&total| u64::from(total)).sum();
        let row = self.tree.mixed.len() / self.classes;
        self.tree.mixed.extend(totals.iter().map(|&total| (f64::from(total) / weight as f64) as f32));
        Node { threshold: 0.0, feature: MIXED, child: row as u32 }
    }

    fn best_split(&mut self, open: &Open, totals: &[u32], random: &mut Random) -> Option<Split> {
        let wanted = self.limits.columns.of(self.columns.len());
        let (mut best, mut usable) = (None::<Split>, 0);
        for drawn in 0..self.columns.len() {
            if usable == wanted {
                break;
            }
            let at = drawn + random.below(self.columns.len() - drawn);
            self.columns.swap(drawn, at);
            let column = self.columns[drawn];
            if let Some(split) = self.split_of_column(open, column, totals) {
                usable += 1;
                if best.as_ref().is_none_or(|best| split.score > best.score) {
                    best = Some(split);
                }
            }
        }
        best
    }

    /// Best split of one column: the largest Σ left²/|left| + Σ right²/|right| over classes, which is the smallest weighted
    /// Gini impurity. None if all rows are in one bin or a side would be too light.
    fn split_of_column(&mut self, open: &Open, column: usize, totals: &[u32]) -> Option<Split> {
        let codes = self.bins.column(column);
        let rows = &self.rows[open.start..open.end];
        // Most columns of a small node are constant, so this is checked before anything is counted.
        let first = codes[*rows.first()? as usize];
        if rows.iter().all(|&row| codes[row as usize] == first) {
            return None;
        }
        let mut occupied = [0u64; MAX_BINS.div_ceil(64)];
        for &row in rows {
            let bin = usize::from(codes[row as usize]);
            let Example { class, weight } = self.examples[row as usize];
            self.histogram[bin * self.classes + class as usize] += weight;
            occupied[bin / 64] |= 1 << (bin % 64);
        }
        let all: u64 = totals.iter().map(|&total| u64::from(total)).sum();
        let left = &mut self.left;
        left.fill(0);
        let (mut left_weight, mut left_squares) = (0u64, 0u64);
        let mut right_squares: u64 = totals.iter().map(|&total| u64::from(total).pow(2)).sum();
        let (mut best, mut last_bin) = (None::<Split>, None::<usize>);
        for bin in ones(occupied) {
            if let Some(last_bin) = last_bin {
                let right_weight = all - left_weight;
                let score = left_squares as f64 / left_weight as f64 + right_squares as f64 / right_weight as f64;
                let is_heavy = left_weight.min(right_weight) >= u64::from(self.limits.min_leaf);
                if is_heavy && best.as_ref().is_none_or(|best| score > best.score) {
                    // Any edge between the two occupied bins parts these rows alike; the middle one is fairest to unseen rows.
                    best = Some(Split { column, bin: (last_bin + bin - 1) / 2, score });
                }
            }
            let counts = &mut self.histogram[bin * self.classes..(bin + 1) * self.classes];
            for ((count, left), &total) in counts.iter_mut().zip(left.iter_mut()).zip(totals) {
                if *count > 0 {
                    let (before, moved) = (u64::from(*left), u64::from(*count));
                    left_squares += moved * (2 * before + moved);
                    right_squares -= moved * (2 * (u64::from(total) - before) - moved);
                    left_weight += moved;
                    *left += *count;
                    *count = 0;
                }
            }
            last_bin = Some(bin);
        }
        best
    }
}

/// Positions of the ones, ascending.
fn ones<const WORDS: usize>(words: [u64; WORDS]) -> impl Iterator<Item = usize> {
    words.into_iter().enumerate().flat_map(|(at, mut word)| {
        std::iter::from_fn(move || {
            let bit = word.trailing_zeros() as usize;
            word &= word.wrapping_sub(1);
            (bit < 64).then_some(at * 64 + bit)
        })
    })
}

/// Moves the rows of bins up to `bin` to the front and returns how many they are.
fn partition(rows: &mut [u32], codes: &[u8], bin: usize) -> usize {
    let mut front = 0;
    for at in 0..rows.len() {
        if usize::from(codes[rows[at] as usize]) <= bin {
            rows.swap(front, at);
            front += 1;
        }
    }
    front
}
