//! The sizes of the five loops, one table for all instruction sets.
//!
//! | loop | step | what stays where |
//! |---|---|---|
//! | rows | block | a left block, in L3 and shared by all threads: packed, unless rows are read where they lie or tasks pack them |
//! | rows and strips of a task | TASK_ROWS, TASK_STRIPS | the sums of a task in L2, until the last panel is done |
//! | the same if it packs its rows | PACKED_ROWS, MOST_STRIPS | the sums in L3, those of the next tile on their way to L1 |
//! | depth | KC | the rows [PACKED_ROWS, KC] that are packed in L2 |
//! | strips | TASK_STRIPS, 1 with packed rows | panels [KC, NR] in L2, and those after them on their way there; made ones wait for the next task |
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
/// The tile in L1 takes the broadcasts, the panels stream from L2.
pub(crate) const KC: usize = 512;

/// Largest packed left block, unless MR rows are larger.
const LEFT_BYTES: usize = 32 << 20;

/// Most bytes of a strip's panels that a thread makes for itself and keeps from task to task. Deeper ones are made KC at a time, anew
/// for each task. Nothing that is made passes from one core to another: between cores that share no cache it would take as long as
/// making it.
const KEPT_BYTES: usize = if cfg!(test) { 1 << 20 } else { 4 << 20 };

/// Most bytes of kept panels by threads: their sum for any number, then the least and most for one.
const KEPT_BY_ALL: usize = 64 << 20;
const KEPT_BY_ONE: (usize, usize) = if cfg!(test) { (1 << 20, 2 << 20) } else { (8 << 20, 32 << 20) };

/// Left factors of more bytes are packed by each task, KC deep at a time, for all its strips. Read in place, eight streams at a time,
/// they would come from L3 or memory for each strip. Tests meet such a factor sooner, and cut it finer.
const NEAR_BYTES: usize = if cfg!(test) { 512 << 10 } else { 4 << 20 };

/// Rows that a task packs, or half of them: 256 KiB at a time stay in L2, beside the panel in use and the next.
const PACKED_ROWS: usize = if cfg!(test) { 64 } else { 128 };

/// Fewest strips of a task that packs its rows, which takes about half the time of one strip.
const FEWEST_STRIPS: usize = if cfg!(test) { 2 } else { 8 };

/// Most strips of such a task: their sums take 1.5 MiB.
const MOST_STRIPS: usize = 64;

/// Most rows of a block of bytes: the right factor is packed anew for each.
const MOST_BLOCK_ROWS: usize = 512;

/// Most rows of a task that packs none: each panel is read once for as many.
const TASK_ROWS: usize = 256;

/// Fewest rows of a task when rows are cut so that tasks may have TASK_STRIPS strips.
const CUT_ROWS: usize = 64;

/// Most strips of a task that packs no rows, and most that a tile meets one after the other: each costs 96 KiB of panel and as much of
/// sums, and saves reading the rows once. For few rows they are as many streams, which keep the memory busy.
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
    /// Rows of a block.
    pub block_rows: usize,
    keeps: bool,
    /// Whether each task packs its left rows.
    pub packs_by_task: bool,
    /// Strips that a left tile meets one after the other, from L1.
    pub strips_at_once: usize,
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
        let strip_bytes = k.saturating_mul(size_of::<f32>() * nr(lanes));
        let may_keep = makes_panels && strip_bytes <= KEPT_BYTES;
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
        let task_strips = (strips * row_cuts / wanted).clamp(1, if keeps { 1 } else { TASK_STRIPS }).min(strips);
        let task_rows = tiles.div_ceil(row_cuts) * mr;
        let (packs_by_task, strips_at_once) = (false, TASK_STRIPS);
        let cuts =
            Cuts { lanes, k, packs_left, packs_by_task, makes_panels, block_rows, keeps, strips_at_once, task_rows, task_strips };
        let is_far = m > mr && m.saturating_mul(k) > NEAR_BYTES / size_of::<f32>();
        let by_task = if is_far { cuts.packed_by_task(m, strips, slots, strip_bytes) } else { None };
        by_task.unwrap_or(cuts)
    }

    /// The same product cut so that each task packs its rows, if there are strips enough for each to pay, tasks enough for all threads to
    /// end at about the same time, and room for the panels.
    fn packed_by_task(self, m: usize, strips: usize, slots: usize, strip_bytes: usize) -> Option<Self> {
        let mr = mr(self.lanes);
        let tiles = m.div_ceil(mr);
        let keeps = self.makes_panels && tiles > PACKED_ROWS / mr;
        let kept_bytes = (KEPT_BY_ALL / slots).clamp(KEPT_BY_ONE.0, KEPT_BY_ONE.1);
        let fitting = if keeps { kept_bytes / strip_bytes } else { strips }.min(MOST_STRIPS);
        if fitting.min(strips) < FEWEST_STRIPS {
            return None;
        }
        let groups = strips.div_ceil(fitting.min(strips.div_ceil(slots)).max(FEWEST_STRIPS));
        let row_cuts = [PACKED_ROWS, PACKED_ROWS / 2].map(|rows| tiles.div_ceil(rows / mr)).into_iter().find(|row_cuts| {
            let (tasks, rounds) = (groups * row_cuts, (groups * row_cuts).div_ceil(slots));
            slots == 1 || rounds >= 4 && rounds * slots - tasks <= tasks / 16
        })?;
        let (task_rows, task_strips) = (tiles.div_ceil(row_cuts) * mr, strips.div_ceil(groups));
        Some(Cuts {
            packs_left: false,
            packs_by_task: true,
            block_rows: m,
            keeps,
            strips_at_once: 1,
            task_rows,
            task_strips,
            ..self
        })
    }

    /// Whether a task makes the panels of its strips to the full depth, for the tasks after it to use.
    pub fn keeps(self) -> bool {
        self.keeps
    }
    /// Elements of the packed block: whole cache lines, as everything here, so that what follows begins one.
    pub fn left_floats(self) -> usize {
        if self.packs_left { (self.block_rows * self.k).next_multiple_of(LINE) } else { 0 }
    }
    /// Elements of a strip's panels that a task makes, if it makes them.
    pub fn strip_floats(self) -> usize {
        let depth = if self.keeps { self.k } else { KC.min(self.k) };
        if self.makes_panels { nr(self.lanes) * depth } else { 0 }
    }
    /// Elements of all of them: of each strip that is kept, or else that is met at once.
    pub fn panel_floats(self) -> usize {
        let strips = if self.keeps { self.task_strips } else { self.task_strips.min(self.strips_at_once) };
        strips * self.strip_floats()
    }
    /// Elements of the left rows that a task packs.
    pub fn task_left_floats(self) -> usize {
        if self.packs_by_task { (self.task_rows * KC.min(self.k)).next_multiple_of(LINE) } else { 0 }
    }
    /// Elements a task needs: a line that says whose panels these are, the left rows, the panels and sums.
    pub fn task_floats(self) -> usize {
        let sums = self.task_strips * nr(self.lanes) * self.task_rows;
        LINE + (self.task_left_floats() + self.panel_floats() + sums).next_multiple_of(LINE)
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Threads are neither left idle for long nor given room without bound.
    #[test]
    fn far_rows_are_packed_by_tasks_that_end_together() {
        for lanes in [8, 16] {
            for (m, n, k) in [(260, 340, 580), (260, 500, 1100), (260, 101, 1061), (1900, 421, 1031), (4096, 4096, 4096)] {
                for slots in [1, 2, 3, 7, 16, 64] {
                    for (packs_left, makes_panels) in [(false, false), (false, true), (true, true)] {
                        let cuts = Cuts::new(lanes, Size { m, n, k }, slots, packs_left, makes_panels);
                        let strips = Strips::new(n, lanes).count();
                        let tasks = strips.div_ceil(cuts.task_strips) * m.div_ceil(cuts.task_rows);
                        let case = format!("{m} x {n} x {k}, {lanes} lanes, {slots} threads, {cuts:?}");
                        // Other tests count on these.
                        assert!(cuts.packs_by_task || slots > 2, "{case}");
                        if cuts.packs_by_task {
                            assert!(slots == 1 || 17 * tasks >= 16 * tasks.next_multiple_of(slots), "{tasks} tasks: {case}");
                            let kept_bytes = (KEPT_BY_ALL / slots).clamp(KEPT_BY_ONE.0, KEPT_BY_ONE.1);
                            assert!(!cuts.keeps || 4 * cuts.panel_floats() <= kept_bytes, "{case}");
                            assert!(4 * (cuts.task_floats() - cuts.panel_floats()) <= 2 << 20, "{case}");
                        }
                    }
                }
            }
        }
    }
}
