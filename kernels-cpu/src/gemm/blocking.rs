//! The sizes of the five loops, one table for all instruction sets.
//!
//! | loop | step | what stays where |
//! |---|---|---|
//! | rows | block | a left block, packed unless it is read where it lies, in L3 and shared by all threads |
//! | rows and strips of a task | TASK_ROWS, TASK_STRIPS | the sums of a task in L2, until the last panel is done |
//! | depth | KC | the task's panels [KC, NR], one of each strip, in L2, and those after them on their way there; made ones wait for the next task |
//! | rows | MR | the left tile [MR, KC] in L1, the next on its way to L2 |
//! | strips | NR | a panel on its way through L1 |
//! | depth of the panel | 1 | the result tile [MR, NR] in registers |
//!
//! | instruction set | registers | MR | NR | why |
//! |---|---|---|---|---|
//! | AVX-512 | 32 of 16 lanes | 8 | 48 | 24 accumulators, 3 for the panel row; 11 loads per 24 multiply-adds |
//! | AVX2, scalar | 16 of 8 lanes | 4 | 24 | 12 accumulators, 3 for the panel row, 1 for the left element |
//!
//! An element of the result is one chain of fused multiply-adds over k = 0, 1, …, K − 1 whatever these sizes are, or of pairs of bf16
//! over k = 0, 2, …: no choice of block, path or thread changes a bit of it, and a row of a batch equals the row alone.
//!
//! Sizes count elements of 32 bits. Pairs are such, so that they have the same tiles and blocks, twice as deep in k.

use super::Size;
use crate::simd::simd_fn;
use std::ops::Range;

/// Vectors in a row of the result tile.
pub(crate) const NV: usize = 3;

/// Elements of a cache line.
pub(crate) const LINE: usize = 16;

/// Depth of a panel: a left tile fills a third to a half of L1, four panels of 96 KiB stay in an L2 of 1 MiB beside their sums.
/// The four that are fetched ahead come on top, and the sums of TASK_ROWS rows.
///
/// The tile in L1 takes the broadcasts, the panels stream from L2: a loop that holds the panel and streams tiles is as fast on a core
/// of its own, and slower by a tenth where another thread of the core wants its share of L1.
pub(crate) const KC: usize = 512;

/// Largest packed left block, unless MR rows are larger.
const LEFT_BYTES: usize = 32 << 20;

/// Most bytes of each strip's panels that a thread makes for itself and keeps from task to task. Deeper ones are made KC at a time, anew for
/// each task. Nothing that is made passes from one core to another: between cores that share no cache it would take as long as making
/// it.
const KEPT_BYTES: usize = 4 << 20;

/// Left factors of more bytes come from memory for each group of strips. Zen 4 fetches 4 MiB from L3 by itself as fast, and gains 3 %
/// by being told of 16. Tests meet such a factor sooner.
const NEAR_BYTES: usize = if cfg!(test) { 512 << 10 } else { 8 << 20 };

/// Most strips whose panels are kept where left rows come from far: two halve how often those are read. With four, panels would come
/// from there themselves.
const KEPT_STRIPS: usize = 2;

/// Most rows of a block of bytes: the right factor is packed anew for each.
const MOST_BLOCK_ROWS: usize = 512;

/// Most rows of a task: each panel is read once for as many.
const TASK_ROWS: usize = 256;

/// Fewest rows of a task when rows are cut so that tasks may have TASK_STRIPS strips.
const CUT_ROWS: usize = 64;

/// Most strips of a task: each costs 96 KiB of panel and as much of sums, and saves reading the rows once. For few rows they are as
/// many streams, which keep the memory busy.
pub(crate) const TASK_STRIPS: usize = 4;

simd_fn! {
    /// f32 lanes of a vector.
    pub(crate) fn lanes(_s) -> usize { S::LANES }
}

/// Rows of the result tile.
pub(crate) const fn mr(lanes: usize) -> usize {
    if lanes >= 16 { 8 } else { 4 }
}

/// Columns of a strip.
pub(crate) const fn nr(lanes: usize) -> usize {
    NV * lanes
}

/// Rows of a left block of depth `k`: a multiple of MR.
pub(crate) fn mc(lanes: usize, k: usize) -> usize {
    let fitting = (LEFT_BYTES / size_of::<f32>() / k.max(1)).min(MOST_BLOCK_ROWS);
    fitting.next_multiple_of(mr(lanes)).max(mr(lanes))
}

/// How a product is cut into blocks and tasks. No result depends on it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cuts {
    lanes: usize,
    k: usize,
    packs_left: bool,
    makes_panels: bool,
    /// Rows packed at a time.
    pub block_rows: usize,
    keeps: bool,
    /// Whether left rows come from memory for each group of strips: those read in place are worth fetching then, and kept panels.
    pub left_is_far: bool,
    /// Most rows of a task.
    pub task_rows: usize,
    /// Most strips of a task.
    pub task_strips: usize,
}

impl Cuts {
    /// Cuts for as many threads as `slots`. `packs_left`: whether left rows are packed; `makes_panels`: whether the right factor's
    /// panels cost something to get.
    pub fn new(lanes: usize, size: Size, slots: usize, packs_left: bool, makes_panels: bool) -> Self {
        let Size { m, n, k } = size;
        let (mr, strips) = (mr(lanes), Strips::new(n, lanes).count().max(1));
        let fitting = if packs_left { LEFT_BYTES / size_of::<f32>() / k.max(1) / mr * mr } else { m };
        let block_rows = fitting.max(mr).min(m).max(1);
        let may_keep = makes_panels && k.saturating_mul(size_of::<f32>() * nr(lanes)) <= KEPT_BYTES;
        // Enough tasks to end at about the same time on all threads.
        let wanted = if slots > 1 { 8 * slots } else { 1 };
        let tiles = block_rows.div_ceil(mr);
        let most_rows = TASK_ROWS / mr;
        let mut row_cuts = tiles.div_ceil(most_rows);
        if slots > 1 {
            // Panels that a task makes for itself alone had better serve all rows.
            let most_cuts = if makes_panels && !may_keep { 1 } else { tiles * mr / CUT_ROWS };
            let to_share_rows = (wanted * TASK_STRIPS).div_ceil(strips).min(most_cuts);
            let to_work_at_all = (2 * slots).div_ceil(strips).min(tiles);
            row_cuts = row_cuts.max(to_share_rows).max(to_work_at_all);
        }
        let keeps = may_keep && row_cuts > 1;
        let left_is_far = m.saturating_mul(k) > NEAR_BYTES / size_of::<f32>();
        let most_strips = match keeps {
            true if left_is_far => KEPT_STRIPS,
            true => 1,
            false => TASK_STRIPS,
        };
        let task_strips = (strips * row_cuts / wanted).clamp(1, most_strips).min(strips);
        let task_rows = tiles.div_ceil(row_cuts) * mr;
        Cuts { lanes, k, packs_left, makes_panels, block_rows, keeps, left_is_far, task_rows, task_strips }
    }

    /// Whether a task makes the panels of its strips to the full depth, for the tasks after it to use.
    pub fn keeps(self) -> bool {
        self.keeps
    }
    /// Elements of the packed block: whole cache lines, as everything here, so that what follows begins one.
    pub fn left_floats(self) -> usize {
        if self.packs_left { (self.block_rows * self.k).next_multiple_of(LINE) } else { 0 }
    }
    /// Elements of the panels that a task makes.
    pub fn panel_floats(self) -> usize {
        let depth = if self.keeps { self.k } else { KC.min(self.k) };
        if self.makes_panels { self.task_strips * nr(self.lanes) * depth } else { 0 }
    }
    /// Elements a task needs: a line that says whose panels these are, the panels and sums.
    pub fn task_floats(self) -> usize {
        LINE + (self.panel_floats() + self.task_strips * nr(self.lanes) * self.task_rows).next_multiple_of(LINE)
    }
}

/// The columns of a matrix, cut into strips.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Strips {
    columns: usize,
    lanes: usize,
}

impl Strips {
    pub fn new(columns: usize, lanes: usize) -> Self {
        Strips { columns, lanes }
    }
    /// How many strips.
    pub fn count(self) -> usize {
        self.columns.div_ceil(nr(self.lanes))
    }
    /// Columns of strip `index`.
    pub fn columns(self, index: usize) -> Range<usize> {
        let start = index * nr(self.lanes);
        start..(start + nr(self.lanes)).min(self.columns)
    }
    /// Vectors that hold a row of strip `index`; the last may be partly filled.
    pub fn vectors(self, index: usize) -> usize {
        self.columns(index).len().div_ceil(self.lanes)
    }
    /// Elements of a row over all strips, the padding of the last among them.
    pub fn padded(self) -> usize {
        self.columns.next_multiple_of(self.lanes)
    }
}
