//! Decision trees: walks of several rows down one tree, or of one row down several, take their steps together, so that the processor
//! waits for their memory at once.

use crate::CpuBackend;
use crate::memory::{input, output};
use crate::threads::Parts;
use kernels::ops::Forest;
use kernels::{Checked, DType, Error, Launch, Op, Result, Support};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Rows that go through a tree together, so that it stays in the cache.
const BLOCK: usize = 64;
/// Walks that take their steps together.
const LANES: usize = 8;
/// What a step of a walk counts for in [`SERIAL_WORK`](crate::threads::SERIAL_WORK), times the steps of a walk down a usual tree.
const WALK: usize = 64;

/// A matrix whose rows are dense.
#[derive(Clone, Copy)]
struct Rows<'a, T> {
    data: &'a [T],
    first: usize,
    stride: usize,
    count: usize,
    width: usize,
}

impl<'a, T> Rows<'a, T> {
    fn new(data: &'a [T], layout: &kernels::Layout) -> Self {
        let (shape, strides) = (layout.shape(), layout.strides());
        Rows { data, first: layout.offset(), stride: strides[0], count: shape[0], width: shape[1] }
    }

    #[inline]
    fn row(&self, at: usize) -> &'a [T] {
        if self.width == 0 {
            return &[];
        }
        let start = self.first + at * self.stride;
        &self.data[start..start + self.width]
    }
}

/// What a walk comes to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum At {
    Node(usize),
    Leaf(usize),
    /// An index out of range: place in `nodes`, limit, and what it was.
    Astray(usize, usize, u32),
}

#[derive(Clone, Copy)]
struct Trees<'a> {
    nodes: Rows<'a, u32>,
    leaves: Rows<'a, f32>,
}

impl Trees<'_> {
    /// One step of a walk of `x` from a node.
    #[inline]
    fn step(&self, node: usize, x: &[f32]) -> At {
        let &[threshold, feature, to] = self.nodes.row(node).first_chunk::<3>().unwrap_or(&[0, Forest::LEAF, u32::MAX]);
        if let Some(value) = x.get(feature as usize) {
            let limit = self.nodes.count.saturating_sub(node + 2);
            if to as usize >= limit {
                return At::Astray(3 * node + 2, limit, to);
            }
            let left = *value <= f32::from_bits(threshold);
            return At::Node(node + 1 + to as usize + usize::from(!left));
        }
        match feature {
            Forest::LEAF if (to as usize) < self.leaves.count => At::Leaf(to as usize),
            Forest::LEAF => At::Astray(3 * node + 2, self.leaves.count, to),
            _ => At::Astray(3 * node + 1, x.len(), feature),
        }
    }

    /// Where walks of rows from nodes end.
    #[inline]
    fn walk<const N: usize>(&self, from: [usize; N], x: [&[f32]; N]) -> [At; N] {
        let mut at = from.map(At::Node);
        while at.iter().any(|at| matches!(at, At::Node(_))) {
            for (at, x) in at.iter_mut().zip(x) {
                if let At::Node(node) = *at {
                    *at = self.step(node, x);
                }
            }
        }
        at
    }

    /// Adds the leaf a walk ended in. Whether it did.
    #[inline]
    fn add(&self, at: At, out: &mut [f32]) -> bool {
        let At::Leaf(leaf) = at else { return false };
        out.iter_mut().zip(self.leaves.row(leaf)).for_each(|(out, leaf)| *out += leaf);
        true
    }
}

impl Launch<Forest<'_>> for CpuBackend {
    fn support(&self, dtype: DType) -> Support {
        match dtype {
            DType::F32 => Support::Native,
            _ => Support::No("forests are of f32"),
        }
    }

    fn launch(&self, args: Checked<Forest<'_>>) -> Result<()> {
        let Forest { x, roots, nodes, leaves, scale, out } = args.into_inner();
        let (root_data, root_layout) = (input::<u32>(&roots)?, *roots.layout());
        let root = |tree: usize| root_data[root_layout.offset() + tree * root_layout.strides()[0]] as usize;
        let x = Rows::new(input::<f32>(&x)?, x.layout());
        let nodes = Rows::new(input::<u32>(&nodes)?, nodes.layout());
        let trees = Trees { nodes, leaves: Rows::new(input::<f32>(&leaves)?, leaves.layout()) };
        let (rows, classes, count) = (x.count, trees.leaves.width, roots.numel());
        if rows == 0 || classes == 0 {
            return Ok(());
        }
        if let Some(at) = (0..count).find(|&tree| root(tree) >= nodes.count) {
            return Err(Error::Index { op: Forest::NAME, arg: "roots", at, limit: nodes.count, got: root(at) as u64 });
        }
        let (first, stride) = (out.layout().offset(), out.layout().strides()[0]);
        let parts = Parts::new(output::<f32>(out)?);
        // The first row of which a walk went astray.
        let astray = AtomicUsize::new(usize::MAX);
        let work = rows.saturating_mul(count).saturating_mul(WALK + classes);
        self.pool.run_sized(work, rows.div_ceil(BLOCK), &|task| {
            // SAFETY: a row is of one task, and rows of `out` do not overlap; one part of it lives at a time.
            let out = |row: usize| unsafe { parts.part(first + row * stride, classes) };
            let keep = |row: usize, ended: bool| {
                if !ended {
                    astray.fetch_min(row, Relaxed);
                }
            };
            let block = task * BLOCK..((task + 1) * BLOCK).min(rows);
            let together = block.end - block.len() % LANES;
            block.clone().for_each(|row| out(row).fill(0.0));
            for tree in 0..count {
                for begin in (block.start..together).step_by(LANES) {
                    let ends = trees.walk([root(tree); LANES], std::array::from_fn(|lane| x.row(begin + lane)));
                    (begin..).zip(ends).for_each(|(row, end)| keep(row, trees.add(end, out(row))));
                }
            }
            for row in together..block.end {
                for begin in (0..count).step_by(LANES) {
                    let lanes = LANES.min(count - begin);
                    // Beyond the last tree that one again.
                    let from = std::array::from_fn(|lane| root(begin + lane.min(lanes - 1)));
                    let ends: [At; LANES] = trees.walk(from, [x.row(row); LANES]);
                    ends.iter().take(lanes).for_each(|&end| keep(row, trees.add(end, out(row))));
                }
            }
            block.for_each(|row| out(row).iter_mut().for_each(|sum| *sum *= scale));
        });
        let row = astray.into_inner();
        let ends = (0..count).filter(|_| row < rows).map(|tree| trees.walk([root(tree)], [x.row(row)])[0]);
        let strays = ends.filter_map(|end| if let At::Astray(at, limit, got) = end { Some((at, limit, got)) } else { None });
        match { strays }.next() {
            Some((at, limit, got)) => Err(Error::Index { op: Forest::NAME, arg: "nodes", at, limit, got: got.into() }),
            None => Ok(()),
        }
    }
}
