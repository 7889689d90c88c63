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
use micro::{Before, PackedLeft, Sums, Tile, TileRows, Tiles, run_panels};
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

    /// Makes in `room` what [`Right::panel`] makes and multiplies `tile` with it meanwhile, if that is faster than one after the other.
    /// Returns whether it has.
    ///
    /// # Safety
    /// Rows and sums are what [`micro::run`] asks of them, for this panel.
    unsafe fn panel_with_tile(
        &self,
        _isa: Isa,
        _strip: &Strip,
        _k: Range<usize>,
        _room: &mut [f32],
        _tile: Tile,
        _ahead: Ahead,
    ) -> bool {
        false
    }

    /// What [`Right::panel`] or the micro-kernel will read of memory for rows `k` of a strip, if that is worth to be fetched before.
    fn coming(&self, _isa: Isa, _strip: &Strip, _k: Range<usize>) -> Ahead {
        Ahead::NONE
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
        Plain { tail: columns.len() - (columns.len() - 1) / lanes * lanes, ..self.moved(row, columns.start) }
    }

    /// The part so many rows and columns on, as wide as this.
    #[inline(always)]
    fn moved(self, rows: usize, columns: usize) -> Self {
        let offset = rows * self.row_stride + columns;
        let start = match self.start {
            PlainStart::F32(start) => PlainStart::F32(start.wrapping_add(offset)),
            PlainStart::Bf16(start) => PlainStart::Bf16(start.wrapping_add(offset)),
        };
        Plain { start, ..self }
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
                let kept_from = room.as_ptr();
                // What is read next: panels of the next strips, or deeper ones, or those of the next task.
                let (coming, from) = match (strips.end < group.end, k.end < depth) {
                    (true, _) => (strips.end..group.end, k.start),
                    (false, true) => (group.clone(), k.end),
                    (false, false) => (next.clone(), 0),
                };
                let all_made = made || strips.end == group.end && k.end == depth;
                let coming_is_made = keeps && all_made && group.contains(&coming.start);
                let mut aheads = [Ahead::NONE; TASK_STRIPS];
                for (ahead, at) in aheads.iter_mut().zip(coming.take(self.cuts.strips_at_once)) {
                    let (strip, k) = (self.strip(at), from..right.panel_end(from, depth));
                    let width = strip.vectors * lanes;
                    *ahead = match (coming_is_made, self.cuts.packs_by_task) {
                        (true, true) => Ahead::new(kept_from.wrapping_add(place(at, k.start, width)), k.len() * width),
                        (true, false) => Ahead::NONE,
                        (false, _) => right.coming(self.isa, &strip, k),
                    };
                }
                let part = Part { rows: rows.clone(), k: k.clone(), packed };
                let sums = &mut sums[(first - group.start) * rows.len() * nr(lanes)..];
                let mut panels: [&[f32]; TASK_STRIPS] = [&[]; TASK_STRIPS];
                let mut begun = 0;
                let mut left = &mut room[place(first, 0, 0)..];
                for (panel, at) in panels.iter_mut().zip(strips.clone()) {
                    let strip = self.strip(at);
                    let (own, rest) = left.split_at_mut(strip_floats);
                    left = rest;
                    let (from, len) = (if keeps { k.start } else { 0 }, if own.is_empty() { 0 } else { k.len() });
                    let own = &mut own[from * strip.vectors * lanes..][..len * strip.vectors * lanes];
                    let ahead = aheads[at - first].share(0..mr(lanes), rows.len());
                    let sums = &mut sums[(at - first) * rows.len() * nr(lanes)..];
                    *panel = if made {
                        own
                    } else if begun == at - first && self.begin(right, &part, &strip, own, ahead, sums) {
                        begun += 1;
                        own
                    } else {
                        right.panel(self.isa, &strip, k.clone(), own)
                    };
                }
                self.multiply_part(&part, strips, begun, &panels, &mut aheads, sums);
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

    /// Whether finished sums go to the epilogue, which does not take them as they are, once rows `k` are done.
    fn finishes(&self, k: &Range<usize>) -> bool {
        k.end == self.size.k && self.epilogue.plain().is_none()
    }

    /// A tile of a part: `rows` rows, at most MR, from row `first` on. `sums` begins with the part's sums with the strip. After the last
    /// panel they become the result, if the epilogue takes them as they are.
    ///
    /// # Panics
    /// If the part and the sums do not hold `all` rows from `first` on, those of the tiles that follow.
    fn tile(&self, part: &Part<'_>, first: usize, rows: usize, all: usize, strip: &Strip, sums: &mut [f32]) -> Tile {
        let (lanes, k) = (lanes(self.isa), &part.k);
        let width = strip.vectors * lanes;
        assert!(rows <= mr(lanes) && first + all <= self.rows.len() && k.end <= self.size.k);
        let from_first = first - part.rows.start;
        assert!(sums.len() >= (from_first + all) * width);
        let result = if k.end == self.size.k { self.epilogue.plain() } else { None };
        let packed = |tiles: &[f32]| TileRows::Packed(PackedLeft(tiles[..all * k.len()].as_ptr()));
        Tile {
            size: (rows, strip.vectors),
            depth: k.len(),
            rows: match self.left {
                LeftBlock::Packed(block) => packed(&block[self.rows.len() * k.start + first * k.len()..]),
                LeftBlock::OfTask(_) => packed(&part.packed[from_first * k.len()..]),
                LeftBlock::InPlace(rows) => TileRows::InPlace(rows.at(first, k.start), rows.row_stride),
            },
            sums: Sums {
                at: sums.as_mut_ptr().wrapping_add(from_first * width),
                stride: width,
                before: if k.start == 0 { Before::Zero } else { Before::Sum },
                result: result.map(|plain| plain.part(self.rows.start + first, &strip.columns, lanes)),
            },
        }
    }

    /// Makes the panel of a strip and multiplies it with the first tile of a part meanwhile, if the right factor can. Returns whether it
    /// has.
    fn begin(&self, right: &dyn Right, part: &Part<'_>, strip: &Strip, room: &mut [f32], ahead: Ahead, sums: &mut [f32]) -> bool {
        let (first, rows) = (part.rows.start, part.rows.len().min(mr(lanes(self.isa))));
        let tile = self.tile(part, first, rows, rows, strip, sums);
        // SAFETY: the tile holds so many rows of this depth, packed or in place side by side along k, and so do the sums; a plain
        // result has these rows and columns.
        let begun = unsafe { right.panel_with_tile(self.isa, strip, part.k.clone(), room, tile, ahead) };
        if begun && self.finishes(&part.k) {
            self.finish(first..first + rows, strip, sums);
        }
        begun
    }

    /// Multiplies a part with strips and their panels, but for its first tile with the first `begun` strips, which is done. For each
    /// strip there is room for `rows.len()` · NR sums.
    fn multiply_part(
        &self,
        part: &Part<'_>,
        strips: Range<usize>,
        begun: usize,
        panels: &[&[f32]],
        aheads: &mut [Ahead],
        sums: &mut [f32],
    ) {
        let (mr, nr) = (mr(lanes(self.isa)), nr(lanes(self.isa)));
        let rows = part.rows.clone();
        let whole = rows.end - rows.len() % mr;
        let full = strips.clone().filter(|&at| self.strips.columns(at).len() == nr).count();
        aheads[..begun].iter_mut().for_each(|ahead| *ahead = ahead.share(mr..rows.len(), rows.len()));
        for (some, first) in [(0..begun, rows.start + mr), (begun..full, rows.start), (full..strips.len(), rows.start)] {
            if some.is_empty() {
                continue;
            }
            let sums = &mut sums[some.start * rows.len() * nr..];
            let (strips, panels, aheads) = (strips.clone().skip(some.start), &panels[some.clone()], &mut aheads[some]);
            for (tiles, height) in [(first..whole, mr), (whole..rows.end, rows.end - whole)] {
                self.multiply_tiles(part, tiles, height, strips.clone(), panels, aheads, sums);
            }
        }
    }

    /// Multiplies `rows` of a part, tiles of `height` each, with as many strips as there are panels, all of one width.
    ///
    /// # Panics
    /// If rows, panels or sums are too short.
    #[allow(clippy::too_many_arguments, reason = "a kernel's operands")]
    fn multiply_tiles(
        &self,
        part: &Part<'_>,
        rows: Range<usize>,
        height: usize,
        strips: impl Iterator<Item = usize> + Clone,
        panels: &[&[f32]],
        aheads: &mut [Ahead],
        sums: &mut [f32],
    ) {
        let across = part.rows.len() * nr(lanes(self.isa));
        let Some(strip) = strips.clone().next().map(|at| self.strip(at)) else { return };
        let width = strip.vectors * lanes(self.isa);
        let mut starts = [std::ptr::null(); TASK_STRIPS];
        for (start, panel) in starts.iter_mut().zip(panels) {
            assert!(panel.len() >= part.k.len() * width);
            *start = panel.as_ptr();
        }
        let mut first = rows.start;
        while first < rows.end {
            // Finished sums are taken from L1.
            let all = if self.finishes(&part.k) { height } else { rows.len() };
            assert!(sums.len() >= (panels.len() - 1) * across + (first + all - part.rows.start) * width);
            let tile = self.tile(part, first, height, all, &strip, sums);
            let tiles = Tiles {
                first: tile,
                count: all / height,
                of: (rows.end - first) / height,
                panels: &starts[..panels.len()],
                aheads,
                across,
            };
            // SAFETY: so many tiles hold rows of this depth, packed one after the other or in place side by side along k; panels and
            // sums have been measured; a plain result has these rows and columns.
            unsafe { run_panels(self.isa, self.pairs, tiles) };
            if self.finishes(&part.k) {
                for (at, sums) in strips.clone().zip(sums.chunks(across)).take(panels.len()) {
                    let strip = self.strip(at);
                    let width = strip.vectors * lanes(self.isa);
                    self.finish(first..first + all, &strip, &sums[(first - part.rows.start) * width..][..all * width]);
                }
            }
            first += all;
        }
    }

    /// Hands finished sums of rows of the block to the epilogue.
    fn finish(&self, rows: Range<usize>, strip: &Strip, sums: &[f32]) {
        let rows = self.rows.start + rows.start..self.rows.start + rows.end;
        self.epilogue.finish(self.isa, rows, strip.columns.clone(), sums, strip.vectors);
    }
}

/// Rows of a block that a task multiplies, to columns `k`.
struct Part<'a> {
    rows: Range<usize>,
    k: Range<usize>,
    /// The rows, if tasks pack them.
    packed: &'a [f32],
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
