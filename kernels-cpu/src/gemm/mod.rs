//! The matrix product all dense and quantized kernels share: result = left · right, where the right factor may be stored in any
//! form and the sums go through an epilogue of the op's own.
//!
//! Elements of packed factors have 32 bits: they are f32, or pairs of bf16 that are neighbours along K, where the instruction set
//! multiplies those; depth then counts pairs, and all sizes stay what they are in bytes.
//!
//! Factors and epilogue are trait objects, met once per panel or tile: the kernels below them are compiled once per instruction
//! set, not once per combination of element types.

pub(crate) mod ahead;
pub(crate) mod blocking;
pub(crate) mod integer;
pub(crate) mod micro;
pub(crate) mod pack;
pub(crate) mod pairs;
mod small;
pub(crate) mod stored;

pub(crate) use small::{is_small, multiply_small, small_parts};

use crate::CpuBackend;
use crate::simd::{Bf16Pairs, Isa, Simd, prefetch};
use crate::threads::{Parts, Pool, SERIAL_WORK};
use ahead::Ahead;
use blocking::{Cuts, KC, LINE, Strips, TASK_STRIPS, lanes, mr, nr};
use half::bf16;
use kernels::{DType, Element, Result};
use micro::{Before, PackedLeft, Sums, run_panel, run_panel_in_place};
use pack::Strided;
use std::ops::Range;

/// Rows M, columns N and depth K of a product.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    pub m: usize,
    pub n: usize,
    pub k: usize,
}

impl Size {
    /// Multiply-adds.
    pub fn work(self) -> usize {
        self.m.saturating_mul(self.n).saturating_mul(self.k)
    }
}

/// The left factor [M, K].
pub(crate) trait Left: Sync {
    /// Writes columns `k` of `rows`, at most MR, as elements [k.len(), rows] to `to`, which has that length.
    fn pack(&self, isa: Isa, rows: Range<usize>, k: Range<usize>, to: &mut [f32]);

    /// The factor, if the micro-kernel can read it where it lies: it is of elements as they are multiplied, and neighbours along K lie
    /// side by side. They need not be aligned.
    fn in_place(&self) -> Option<Strided<f32>>;
}

/// The right factor [K, N].
pub(crate) trait Right: Sync {
    /// Where the panel ends that begins at row `start` < `depth`: at most KC rows on.
    fn panel_end(&self, start: usize, depth: usize) -> usize {
        (start + KC).min(depth)
    }

    /// Rows `k`, from one panel's begin to its end, of a strip as elements [k.len(), width]: where they lie, or in `room`, which holds
    /// as many.
    fn panel<'a>(&'a self, isa: Isa, strip: &Strip, k: Range<usize>, room: &'a mut [f32]) -> &'a [f32];

    /// Rows `k` of a strip, if they are stored as [`Right::panel`] gives them and so may be fetched before they are asked for.
    fn stored_panel(&self, _isa: Isa, _strip: &Strip, _k: Range<usize>) -> &[f32] {
        &[]
    }

    /// The token of their products if elements are pairs of bf16; those of the left factor are the same.
    fn pairs(&self) -> Option<Bf16Pairs> {
        None
    }

    /// Whether panels are made anew each time, so that tasks with the same strips had better share them.
    fn makes_panels(&self) -> bool;

    /// Sums of few rows with strips that are better read as stored than made into panels; `false` if this form has no such way.
    /// `packed` is one tile [K, rows]; `sums` gets [strips, rows, width].
    fn sum_few(&self, _isa: Isa, _few: &Few<'_>, _sums: &mut [f32]) -> bool {
        false
    }
}

/// In place of the first strip whose panels are kept, the bits of an f32: none.
const NOTHING_KEPT: f32 = f32::from_bits(u32::MAX);

/// A strip of the right factor.
#[derive(Clone, Debug)]
pub(crate) struct Strip {
    /// Its number.
    pub index: usize,
    /// Its columns.
    pub columns: Range<usize>,
    /// Vectors that hold a row of it.
    pub vectors: usize,
}

/// One tile of left rows, to be multiplied with neighbouring strips.
pub(crate) struct Few<'a> {
    /// The tile [K, rows].
    pub packed: &'a [f32],
    /// Rows, at most MR.
    pub rows: usize,
    /// K.
    pub depth: usize,
    /// The strips, all as wide as the first.
    pub strips: Range<usize>,
    /// Vectors that hold a row of each.
    pub vectors: usize,
}

/// What becomes of the sums.
pub(crate) trait Epilogue: Sync {
    /// Takes finished sums, rows of `vectors` vectors. No other task is given any of these elements of the result.
    fn finish(&self, isa: Isa, rows: Range<usize>, columns: Range<usize>, sums: &[f32], vectors: usize);

    /// The result, if sums become elements of it as they are, but for rounding and [`one_nan`]: they may be stored right there instead.
    fn plain(&self) -> Option<Plain> {
        None
    }
}

/// A result [M, N] to be stored, neighbours in a row side by side. As with [`Epilogue::finish`], all its elements may be written, each
/// by one task.
#[derive(Clone, Copy)]
pub(crate) struct Plain {
    start: PlainStart,
    row_stride: usize,
    /// Columns of the last vector of a row.
    tail: usize,
}

/// Where its first element is.
#[derive(Clone, Copy)]
enum PlainStart {
    F32(*mut f32),
    Bf16(*mut bf16),
}

impl Plain {
    /// The result, if it is of f32 or bf16.
    pub fn of<T: Element>(out: &Parts<'_, T>, offset: usize, row_stride: usize) -> Option<Self> {
        let start = out.as_ptr().wrapping_add(offset);
        let start = match T::DTYPE {
            DType::F32 => PlainStart::F32(start.cast()),
            DType::Bf16 => PlainStart::Bf16(start.cast()),
            _ => return None,
        };
        Some(Plain { start, row_stride, tail: 0 })
    }

    /// The part of `columns` from `row` on, for vectors of so many lanes.
    #[inline(always)]
    fn part(self, row: usize, columns: &Range<usize>, lanes: usize) -> Self {
        let offset = row * self.row_stride + columns.start;
        let start = match self.start {
            PlainStart::F32(start) => PlainStart::F32(start.wrapping_add(offset)),
            PlainStart::Bf16(start) => PlainStart::Bf16(start.wrapping_add(offset)),
        };
        Plain { start, tail: columns.len() - (columns.len() - 1) / lanes * lanes, ..self }
    }
}

impl Plain {
    /// Asks for the cache lines of `columns` columns of row `row`, whether there are so many or not.
    #[inline(always)]
    fn prefetch(self, row: usize, columns: usize) {
        let (start, size) = match self.start {
            PlainStart::F32(start) => (start.cast::<u8>(), 4),
            PlainStart::Bf16(start) => (start.cast::<u8>(), 2),
        };
        let row = start.wrapping_add(row * self.row_stride * size);
        (0..columns * size).step_by(64).for_each(|at| prefetch(row.wrapping_add(at)));
        prefetch(row.wrapping_add(columns * size - 1));
    }
}

/// v with every NaN in the same bits. Which of two NaNs arithmetic passes on depends on the order of operands, which is the compiler's
/// to choose; a row of a batch shall equal the row alone to the bit.
#[inline(always)]
pub(crate) fn one_nan<S: Simd>(s: S, v: S::V) -> S::V {
    s.select(s.is_nan(v), s.splat(f32::NAN), v)
}

/// Rows of a left factor to be read where they lie: more than a tile, which few products have a use for otherwise.
fn in_place(isa: Isa, size: Size, left: &dyn Left) -> Option<Strided<f32>> {
    left.in_place().filter(|_| size.m > mr(lanes(isa)))
}

fn cuts(isa: Isa, size: Size, slots: usize, left: &dyn Left, right: &dyn Right) -> Cuts {
    Cuts::new(lanes(isa), size, slots, in_place(isa, size, left).is_none(), right.makes_panels())
}

/// f32 elements of work space for a product on `slots` threads.
pub(crate) fn scratch_floats(isa: Isa, size: Size, slots: usize, left: &dyn Left, right: &dyn Right) -> usize {
    let cuts = cuts(isa, size, slots, left, right);
    cuts.left_floats() + slots * cuts.task_floats()
}

/// Result = left · right through `epilogue`, on all threads of the backend.
///
/// # Errors
/// `OutOfMemory` for the work space.
pub(crate) fn multiply(cpu: &CpuBackend, size: Size, left: &dyn Left, right: &dyn Right, epilogue: &dyn Epilogue) -> Result<()> {
    let slots = if size.work() < SERIAL_WORK { 1 } else { cpu.pool.threads() };
    let floats = scratch_floats(cpu.isa, size, slots, left, right);
    let mut scratch = cpu.heap.scratch(size_of::<f32>() * floats)?;
    multiply_in(&cpu.pool, cpu.isa, size, left, right, epilogue, scratch.as_mut_slice(), slots);
    Ok(())
}

/// [`multiply`] in the work space given, of [`scratch_floats`] for as many slots. With one slot it runs on this thread.
#[allow(clippy::too_many_arguments, reason = "a kernel's operands")]
pub(crate) fn multiply_in(
    pool: &Pool,
    isa: Isa,
    size: Size,
    left: &dyn Left,
    right: &dyn Right,
    epilogue: &dyn Epilogue,
    scratch: &mut [f32],
    slots: usize,
) {
    let lanes = lanes(isa);
    let (cuts, rows_in_place) = (cuts(isa, size, slots, left, right), in_place(isa, size, left));
    let strips = Strips::new(size.n, lanes);
    let (packed, rest) = scratch.split_at_mut(cuts.left_floats());
    for first in (0..size.m).step_by(cuts.block_rows.max(1)) {
        let rows = first..(first + cuts.block_rows).min(size.m);
        let left = match rows_in_place {
            _ if cuts.packs_by_task => LeftBlock::OfTask(left),
            Some(all) => LeftBlock::InPlace(all.from(rows.start, 0)),
            None => {
                pack_block(pool, isa, slots, left, right, rows.clone(), size.k, packed);
                LeftBlock::Packed(packed)
            }
        };
        let block = Block { isa, pairs: right.pairs(), size, cuts, strips, rows, left, epilogue };
        block.multiply(pool, slots, right, rest);
    }
}

/// A block of left rows.
enum LeftBlock<'a> {
    /// For each panel its columns k of all rows: tiles [k.len(), MR], the last [k.len(), its rows].
    Packed(&'a [f32]),
    /// Rows where they lie, from the block's first.
    InPlace(Strided<f32>),
    /// The factor: each task packs its rows, KC deep at a time, for all its strips.
    OfTask(&'a dyn Left),
}

/// A block of left rows and what is to be done with it.
struct Block<'a> {
    isa: Isa,
    pairs: Option<Bf16Pairs>,
    size: Size,
    cuts: Cuts,
    strips: Strips,
    /// Rows of the block.
    rows: Range<usize>,
    left: LeftBlock<'a>,
    epilogue: &'a dyn Epilogue,
}

impl Block<'_> {
    fn strip(&self, index: usize) -> Strip {
        Strip { index, columns: self.strips.columns(index), vectors: self.strips.vectors(index) }
    }

    /// Multiplies the block with all strips, cut into tasks by groups of strips and of rows.
    fn multiply(&self, pool: &Pool, slots: usize, right: &dyn Right, scratch: &mut [f32]) {
        let strips = self.strips.count();
        let (rows_per_task, strips_per_task) = (self.cuts.task_rows, self.cuts.task_strips);
        let row_cuts = self.rows.len().div_ceil(rows_per_task);
        let groups = strips.div_ceil(strips_per_task);
        let floats = self.cuts.task_floats();
        scratch.iter_mut().step_by(floats).for_each(|kept| *kept = NOTHING_KEPT);
        let scratch = Parts::new(scratch);
        pool.run_slots(slots, groups * row_cuts, &|task, slot| {
            let first = task % row_cuts * rows_per_task;
            let rows = first..(first + rows_per_task).min(self.rows.len());
            // Large groups as equal as can be, small ones as full.
            let cut = |group: usize| match self.cuts.packs_by_task {
                true => strips * group.min(groups) / groups,
                false => (group * strips_per_task).min(strips),
            };
            let group = cut(task / row_cuts)..cut(task / row_cuts + 1);
            // SAFETY: no two running tasks share a slot.
            let (kept, own) = unsafe { scratch.part(slot * floats, floats) }.split_at_mut(LINE);
            let done = self.multiply_few(right, group.clone(), own);
            if done > group.start {
                kept[0] = NOTHING_KEPT;
            }
            // The task that most likely comes next on this thread.
            let next = if rows.end < self.rows.len() { group.clone() } else { group.end..cut(task / row_cuts + 2) };
            self.multiply_group(right, rows, done..group.end, next, &mut kept[0], own);
        });
    }

    /// The block with strips from the group's first on, if it is one packed tile and `right` has a way of its own for so few rows.
    /// Returns the first strip left undone.
    fn multiply_few(&self, right: &dyn Right, group: Range<usize>, own: &mut [f32]) -> usize {
        let (lanes, rows) = (lanes(self.isa), self.rows.len());
        let mut start = group.start;
        let LeftBlock::Packed(packed) = self.left else { return start };
        while rows <= mr(lanes) && start < group.end {
            // The last strip may be narrower than those before it.
            let vectors = self.strips.vectors(start);
            let end = (start..group.end).find(|&at| self.strips.vectors(at) != vectors).unwrap_or(group.end);
            let few = Few { packed, rows, depth: self.size.k, strips: start..end, vectors };
            if !right.sum_few(self.isa, &few, own) {
                break;
            }
            for (at, sums) in (start..end).zip(own.chunks_exact(rows * vectors * lanes)) {
                self.epilogue.finish(self.isa, self.rows.clone(), self.strips.columns(at), sums, vectors);
            }
            start = end;
        }
        start
    }

    /// `rows` of the block with a group of strips, panel by panel: the sums wait in `own` until the last. The strips `next` are those
    /// to be read after these. `kept` says whose panels `own` holds, if tasks keep them.
    fn multiply_group(
        &self,
        right: &dyn Right,
        rows: Range<usize>,
        group: Range<usize>,
        next: Range<usize>,
        kept: &mut f32,
        own: &mut [f32],
    ) {
        if group.is_empty() {
            return;
        }
        let (lanes, depth, keeps) = (lanes(self.isa), self.size.k, self.cuts.keeps());
        let (packed, own) = own.split_at_mut(self.cuts.task_left_floats());
        let (room, sums) = own.split_at_mut(self.cuts.panel_floats());
        let strip_floats = self.cuts.strip_floats();
        // Bits, of which nothing is computed.
        let these = group.start as u32;
        let made = keeps && kept.to_bits() == these;
        *kept = f32::from_bits(these);
        let mut start = 0;
        // Once even for K = 0, which sets the sums to zero.
        loop {
            let k = start..if start < depth { right.panel_end(start, depth) } else { depth };
            self.pack_rows(rows.clone(), k.clone(), packed);
            for first in group.clone().step_by(self.cuts.strips_at_once) {
                let strips = first..(first + self.cuts.strips_at_once).min(group.end);
                // Where kept panels begin.
                let place =
                    |at: usize, k: usize, width: usize| if keeps { (at - group.start) * strip_floats + k * width } else { 0 };
                let mut panels: [&[f32]; TASK_STRIPS] = [&[]; TASK_STRIPS];
                let kept_from = room.as_ptr();
                let mut left = &mut room[place(first, 0, 0)..];
                for (panel, at) in panels.iter_mut().zip(strips.clone()) {
                    let strip = self.strip(at);
                    let (own, rest) = left.split_at_mut(strip_floats);
                    left = rest;
                    let (from, len) = (if keeps { k.start } else { 0 }, if own.is_empty() { 0 } else { k.len() });
                    let own = &mut own[from * strip.vectors * lanes..][..len * strip.vectors * lanes];
                    *panel = if made { own } else { right.panel(self.isa, &strip, k.clone(), own) };
                }
                // What is read next: panels of the next strips, or deeper ones, or those of the next task.
                let (coming, begin) = match (strips.end < group.end, k.end < depth) {
                    (true, _) => (strips.end..group.end, k.start),
                    (false, true) => (group.clone(), k.end),
                    (false, false) => (next.clone(), 0),
                };
                let all_made = made || strips.end == group.end && k.end == depth;
                let coming_is_kept = keeps && self.cuts.packs_by_task && all_made && group.contains(&coming.start);
                let mut ahead = [Ahead::NONE; TASK_STRIPS];
                for (ahead, at) in ahead.iter_mut().zip(coming.take(self.cuts.strips_at_once)) {
                    let (strip, k) = (self.strip(at), begin..right.panel_end(begin, depth));
                    let width = strip.vectors * lanes;
                    *ahead = if coming_is_kept {
                        Ahead::new(kept_from.wrapping_add(place(at, k.start, width)), k.len() * width)
                    } else {
                        let panel = right.stored_panel(self.isa, &strip, k);
                        Ahead::new(panel.as_ptr(), panel.len())
                    };
                }
                let sums = &mut sums[(first - group.start) * rows.len() * nr(lanes)..];
                for first in rows.clone().step_by(mr(lanes)) {
                    let of_tile = first..(first + mr(lanes)).min(rows.end);
                    let from_first = of_tile.start - rows.start..of_tile.end - rows.start;
                    let each = strips.clone().zip(panels).zip(ahead);
                    for (((at, panel), ahead), sums) in each.zip(sums.chunks_mut(rows.len() * nr(lanes))) {
                        let strip = self.strip(at);
                        let sums = &mut sums[from_first.start * strip.vectors * lanes..];
                        let ahead = ahead.share(from_first.clone(), rows.len());
                        let packed = packed.get(from_first.start * k.len()..).unwrap_or_default();
                        self.multiply_tile(of_tile.clone(), k.clone(), &strip, (packed, panel, ahead), sums);
                    }
                }
            }
            start = k.end;
            if start == depth {
                break;
            }
        }
    }

    /// Packs columns `k` of `rows`, tile by tile, if that is each task's to do.
    fn pack_rows(&self, rows: Range<usize>, k: Range<usize>, packed: &mut [f32]) {
        let LeftBlock::OfTask(left) = self.left else { return };
        let mr = mr(lanes(self.isa));
        for (tile, to) in rows.clone().step_by(mr).zip(packed.chunks_mut(mr * k.len().max(1))) {
            let of_tile = tile..(tile + mr).min(rows.end);
            let to = &mut to[..of_tile.len() * k.len()];
            left.pack(self.isa, self.rows.start + of_tile.start..self.rows.start + of_tile.end, k.clone(), to);
        }
    }

    /// sums (+)= tile · panel, for at most MR rows of the block, which are in `packed` if tasks pack them. The first panel starts the
    /// sums; after the last they go to the epilogue. Meanwhile part of a panel is fetched.
    ///
    /// # Panics
    /// If the tile, the panel or the sums are too short.
    fn multiply_tile(
        &self,
        tile: Range<usize>,
        k: Range<usize>,
        strip: &Strip,
        (packed, panel, ahead): (&[f32], &[f32], Ahead),
        sums: &mut [f32],
    ) {
        let lanes = lanes(self.isa);
        let (count, width) = (tile.len(), strip.vectors * lanes);
        assert!(count <= mr(lanes) && tile.end <= self.rows.len() && k.end <= self.size.k && panel.len() >= k.len() * width);
        let sums = &mut sums[..count * width];
        let before = if k.start == 0 { Before::Zero } else { Before::Sum };
        let last = k.end == self.size.k;
        let result = if last { self.epilogue.plain() } else { None };
        let result = result.map(|plain| plain.part(self.rows.start + tile.start, &strip.columns, lanes));
        let to = Sums { at: sums.as_mut_ptr(), stride: width, before, result };
        let (size, panel) = ((count, strip.vectors), panel.as_ptr());
        let packed = match self.left {
            LeftBlock::Packed(all) => &all[self.rows.len() * k.start + tile.start * k.len()..],
            _ => packed,
        };
        match self.left {
            LeftBlock::Packed(_) | LeftBlock::OfTask(_) => {
                let packed = PackedLeft(packed[..count * k.len()].as_ptr());
                // SAFETY: the tile holds `count` ≤ MR rows of this depth; panel and sums have been measured; a plain result has these
                // rows and columns.
                unsafe { run_panel(self.isa, self.pairs, size, k.len(), packed, panel, ahead, to) }
            }
            LeftBlock::InPlace(rows) => {
                let start = rows.at(tile.start, k.start);
                // SAFETY: the factor has these rows to the full depth, side by side along k; the rest as above.
                unsafe { run_panel_in_place(self.isa, self.pairs, size, k.len(), start, rows.row_stride, panel, ahead, to) }
            }
        }
        if last && result.is_none() {
            let rows = self.rows.start + tile.start..self.rows.start + tile.end;
            self.epilogue.finish(self.isa, rows, strip.columns.clone(), sums, strip.vectors);
        }
    }
}

/// Packs `rows` of a left factor as [`LeftBlock::Packed`] has them for the panels of `right`.
#[allow(clippy::too_many_arguments, reason = "a kernel's operands")]
fn pack_block(
    pool: &Pool,
    isa: Isa,
    slots: usize,
    left: &dyn Left,
    right: &dyn Right,
    rows: Range<usize>,
    depth: usize,
    packed: &mut [f32],
) {
    let mr = mr(lanes(isa));
    let parts = Parts::new(packed);
    let slots = if rows.len() * depth < SERIAL_WORK { 1 } else { slots };
    pool.run_slots(slots, rows.len().div_ceil(mr), &|tile, _| {
        let of_tile = tile * mr..(tile * mr + mr).min(rows.len());
        let mut start = 0;
        while start < depth {
            let k = start..right.panel_end(start, depth);
            let at = rows.len() * k.start + of_tile.start * k.len();
            // SAFETY: tiles of different numbers do not meet.
            let to = unsafe { parts.part(at, of_tile.len() * k.len()) };
            left.pack(isa, rows.start + of_tile.start..rows.start + of_tile.end, k.clone(), to);
            start = k.end;
        }
    });
}
