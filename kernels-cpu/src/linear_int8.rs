//! Fully connected layer in integers of 8 bits: exact sums per group in i32, scaled and added in f32.

use crate::CpuBackend;
use crate::gemm::Epilogue;
use crate::gemm::ahead::Lines;
use crate::gemm::blocking::{Strips, lanes, nr};
use crate::gemm::integer::direct::{self, Direct, sum_direct};
use crate::gemm::integer::rows::{RowLayout, Rows};
use crate::gemm::integer::tile::{Finish, Layer, Tile, sum_tile, unpack, widen_bytes};
use crate::gemm::pack::Strided;
use crate::linear::{LinearOut, packed_weight};
use crate::memory::{input, output};
use crate::threads::{Parts, SERIAL_WORK};
use crate::weight::PackedWeight;
use crate::weight::code::{Bytes, Code, CodeKind, with_code};
use crate::weight::minima::BLOCK_GROUPS;
use crate::weight::quant::QuantStrips;
use kernels::ops::{Act, LinearInt8};
use kernels::{Checked, DType, Error, Launch, Op, Result, Support};
use std::ops::Range;

impl Launch<LinearInt8<'_>> for CpuBackend {
    fn support(&self, dtype: DType) -> Support {
        if dtype == DType::I8 { Support::Native } else { Support::No("x is i8, from quantize") }
    }

    fn launch(&self, args: Checked<LinearInt8<'_>>) -> Result<()> {
        let args = args.into_inner();
        match packed_weight(LinearInt8::NAME, args.weight)? {
            PackedWeight::Quant(weight) => linear_int8(self, args, weight),
            _ => {
                let (arg, wanted, got) = ("weight", "of integer codes", args.weight.format().to_owned());
                Err(Error::Value { op: LinearInt8::NAME, arg, wanted, got })
            }
        }
    }
}

/// Most rows that are packed, and summed with a strip, at a time, and most bytes of them.
const BLOCK_ROWS: usize = 512;
const BLOCK_BYTES: usize = 1 << 20;

/// Rows of a block: whole tiles.
fn block_rows(k: usize) -> usize {
    (BLOCK_BYTES / k.max(1) / 64 * 64).clamp(64, BLOCK_ROWS)
}

/// Fewest rows of a cut that a thread has to itself: it reads all codes for them, as others do for theirs.
const ROWS_ALONE: usize = 64;

/// Codes of fewer than eight bits in groups that [`direct`] has no way for are unpacked to bytes for more rows than this.
const DIRECT_ROWS: usize = 2;

/// Bytes of codes, unpacked, that several tiles of rows are multiplied with in turn: with the rows that pass by they stay in L1.
const PANEL_BYTES: usize = 24 << 10;

/// The same of codes that are used as they are: a whole strip, where it leaves room for rows in L2.
const PLAIN_PANEL_BYTES: usize = 512 << 10;

/// Rows at a time where a panel is the whole strip: sums that tiles do not finish are finished while they are in L1.
const CHUNK_ROWS: usize = 32;

/// Most groups of a panel.
const PANEL_GROUPS: usize = 512;

fn linear_int8(cpu: &CpuBackend, args: LinearInt8<'_>, weight: &QuantStrips) -> Result<()> {
    let (m, n) = (args.out.shape()[0], args.out.shape()[1]);
    if args.out.numel() == 0 {
        return Ok(());
    }
    let x = Strided::new(input::<i8>(&args.x)?, args.x.layout().offset(), args.x.layout().strides()[0], 1);
    let scale = Strided::new(input::<f32>(&args.x_scale)?, args.x_scale.layout().offset(), args.x_scale.layout().strides()[0], 0);
    let bias = match &args.bias {
        Some(bias) => Some(Strided::new(input::<f32>(bias)?, bias.layout().offset(), 0, bias.layout().strides()[0])),
        None => None,
    };
    let (offset, row_stride) = (args.out.layout().offset(), args.out.layout().strides()[0]);
    let out = Parts::new(output::<f32>(args.out)?);
    let epilogue = LinearOut { out: &out, offset, row_stride, scale: Some(scale), column_scales: None, bias, act: args.act };

    let lanes = lanes(cpu.isa);
    let strips = Strips::new(n, lanes);
    let groups = weight.groups;
    let start_factor = if weight.zeros.is_some() { -1 } else { -i32::from(weight.zero) };
    let layout = RowLayout { groups, start_factor, sums: weight.minima.is_some() };
    let slots = if m * n * groups.steps() < SERIAL_WORK { 1 } else { cpu.pool.threads() };
    let block = m.min(block_rows(groups.k));
    let panel = Panel::of(weight, lanes, block);
    let each = panel.room() + panel.chunk * nr(lanes) * if panel.cuts_groups { 2 } else { 1 };
    let mut scratch = cpu.heap.scratch(4 * (layout.room(block) + slots * each))?;
    for block_start in (0..m).step_by(block) {
        let rows = block_start..(block_start + block).min(m);
        let (room, rest) = scratch.as_mut_slice::<i32>().split_at_mut(layout.room(block));
        let packed = layout.pack(&cpu.pool, cpu.isa, x, rows.clone(), room);
        let parts = Parts::new(bytemuck::cast_slice_mut::<i32, f32>(rest));
        // Rows are cut where there are enough for all threads, so that each multiplies those it has packed, and where few strips would
        // leave threads idle.
        let few = if strips.count() < 2 * slots { (2 * slots).div_ceil(strips.count()).min(rows.len().div_ceil(8)) } else { 1 };
        let cuts = if slots > 1 { few.max(slots.min(rows.len() / ROWS_ALONE)) } else { 1 };
        let rows_per_cut = rows.len().div_ceil(cuts).next_multiple_of(8);
        let cuts = rows.len().div_ceil(rows_per_cut);
        cpu.pool.run_slots(slots, cuts * strips.count(), &|task, slot| {
            let (first, strip) = (task / strips.count() * rows_per_cut, task % strips.count());
            let last = (first + rows_per_cut).min(rows.len());
            // SAFETY: no two running tasks share a slot.
            let own = unsafe { parts.part(slot * each, each) };
            let (room, sums) = own.split_at_mut(panel.room());
            let (start, vectors) = (strip * nr(lanes), strips.vectors(strip));
            let (sums, partial) = sums.split_at_mut(panel.chunk * nr(lanes));
            for from in (first..last).step_by(panel.chunk) {
                let rows = from..last.min(from + panel.chunk);
                let width = vectors * lanes;
                let sums = &mut sums[..rows.len() * width];
                let stream = from == first;
                let at = offset + (block_start + rows.start) * row_stride + start;
                let soon = (epilogue.out.as_ptr().wrapping_add(at).cast_const().cast(), row_stride.wrapping_mul(4));
                let whole = strips.columns(strip).len() == width;
                let stored = if whole { stored(&epilogue, block_start + rows.start, start) } else { None };
                let work = Work {
                    cpu,
                    weight,
                    packed: &packed,
                    rows: rows.clone(),
                    cut: first..last,
                    stream,
                    soon,
                    start,
                    vectors,
                    width,
                    stored,
                };
                if with_code!(weight.kind, C => work.sum::<C>(panel, room, partial, sums)) {
                    continue;
                }
                epilogue.finish(cpu.isa, block_start + rows.start..block_start + rows.end, strips.columns(strip), sums, vectors);
            }
        });
    }
    Ok(())
}

/// A result that tiles finish and store where it belongs.
#[derive(Clone, Copy)]
struct Stored {
    layer: Layer,
    at: *mut f32,
    row_stride: usize,
}

/// The part of the result from `row` and `column` on, if tiles can finish it: nothing follows the bias, whose values lie side by side.
fn stored(epilogue: &LinearOut<'_, f32>, row: usize, column: usize) -> Option<Stored> {
    let scale = epilogue.scale.filter(|_| epilogue.act == Act::None && epilogue.bias.is_none_or(|bias| bias.col_stride == 1))?;
    let bias = epilogue.bias.map(|bias| bias.at(0, column));
    let at = epilogue.out.as_ptr().wrapping_add(epilogue.offset + row * epilogue.row_stride + column);
    Some(Stored {
        layer: Layer { scales: scale.at(row, 0), stride: scale.row_stride, bias },
        at,
        row_stride: epilogue.row_stride,
    })
}

/// Codes and factors of a strip that are worked on at a time: some groups, or a part of a long one.
#[derive(Clone, Copy)]
struct Panel {
    groups: usize,
    /// Steps of the codes of these groups.
    steps: usize,
    /// Whether groups are longer.
    cuts_groups: bool,
    quads_per_step: usize,
    nr: usize,
    /// Whether the codes are used where they lie.
    plain: bool,
    /// Rows that are summed with it before the next panel, and finished after the last.
    chunk: usize,
}

impl Panel {
    fn of(weight: &QuantStrips, lanes: usize, rows: usize) -> Self {
        let (groups, nr, plain) = (weight.groups, nr(lanes), weight.kind == CodeKind::Bytes);
        let (per_group, quads_per_step) = (groups.steps_per_group.max(1), groups.quads);
        let bytes = if plain { PLAIN_PANEL_BYTES } else { PANEL_BYTES };
        let fitting = bytes / (4 * nr * groups.quads);
        if per_group > fitting {
            return Panel { groups: 1, steps: fitting, cuts_groups: true, quads_per_step, nr, plain, chunk: rows };
        }
        let most = (fitting / per_group).min(PANEL_GROUPS);
        // Groups of 32 have room for many blocks.
        let most = if weight.minima.is_some() { most / BLOCK_GROUPS * BLOCK_GROUPS } else { most };
        let chunk = if plain && most >= groups.count() { rows.min(CHUNK_ROWS) } else { rows };
        Panel { groups: most, steps: most * per_group, cuts_groups: false, quads_per_step, nr, plain, chunk }
    }

    /// Words it needs: codes, scales and zero points.
    fn room(self) -> usize {
        let codes = if self.plain { 0 } else { self.steps * self.quads_per_step };
        self.nr * (codes + 2 * self.groups)
    }
}

/// Some rows with one strip.
struct Work<'a> {
    cpu: &'a CpuBackend,
    weight: &'a QuantStrips,
    packed: &'a Rows<'a>,
    /// Those among the rows of the block, and all that this thread will multiply with the strip.
    rows: Range<usize>,
    cut: Range<usize>,
    /// Whether they are the first with this strip, which then comes from memory.
    stream: bool,
    /// Where their results will be stored, and bytes from row to row.
    soon: (*const u8, usize),
    /// Where tiles may store them.
    stored: Option<Stored>,
    /// First column of the strip, vectors of a row of it, and their lanes.
    start: usize,
    vectors: usize,
    width: usize,
}

impl Work<'_> {
    /// Writes the sums over all groups to `sums`, [rows, width], or finishes and stores them, and returns whether it did.
    /// `partial` is work space for as many, where the panel cuts groups.
    fn sum<C: Code>(&self, panel: Panel, room: &mut [f32], partial: &mut [f32], sums: &mut [f32]) -> bool {
        let (isa, width, groups) = (self.cpu.isa, self.width, self.weight.groups);
        let rows = self.rows.len();
        if groups.count() == 0 {
            sums.fill(0.0);
        }
        if direct::takes::<C>(rows, lanes(isa)) && groups.count() > 0 && self.is_direct::<C>() {
            self.sum_direct::<C>(sums);
            return self.stored.is_some();
        }
        // Sums of several panels are added to each other first.
        let stored = self.stored.filter(|_| (1..=panel.groups).contains(&groups.count()));
        let direct = rows <= DIRECT_ROWS || (C::PLAIN && rows <= 8);
        let (codes_room, rest) = room.split_at_mut(if C::PLAIN { 0 } else { panel.steps * panel.quads_per_step * panel.nr });
        let (scales_room, rest) = rest.split_at_mut(panel.groups * panel.nr);
        let zeros_room = &mut rest[..panel.groups * panel.nr];
        for first in (0..groups.count()).step_by(panel.groups) {
            let these = first..(first + panel.groups).min(groups.count());
            let step = first * groups.steps_per_group;
            let steps = (these.len() * groups.steps_per_group).min(groups.steps() - step);
            let scales = self.weight.scales.expanded(isa, (self.start, width), these.clone(), scales_room);
            let zeros = self.weight.zeros(self.start, width).map(|zeros| {
                let zeros = &zeros[these.start * width..these.end * width];
                widen_bytes(isa, zeros, &mut zeros_room[..zeros.len()]);
                zeros_room.as_ptr()
            });
            let (starts, x_sums) = self.packed.starts(self.rows.start);
            let minima = self.weight.minima.as_ref().map(|minima| (minima.rows(self.start, width), x_sums));
            // What every tile of rows reads again is cut to the size of the panel.
            let piece = if panel.cuts_groups && !direct { panel.steps } else { steps };
            for done in (0..steps).step_by(piece.max(1)) {
                let (some, words) = (piece.min(steps - done), self.weight.words(self.start, width, step + done));
                let last = done + some == steps;
                let at_last = stored.filter(|_| last);
                // The next piece, or that of the next strip, lies behind this one.
                let len = some * C::WORDS * width;
                let ahead = Lines::new(words.as_ptr().wrapping_add(len), len).share(self.rows_of_cut(), self.cut.len());
                let tile = Tile {
                    x: self.packed.words(self.rows.start),
                    x_stride: self.packed.stride,
                    starts,
                    group_stride: self.packed.groups,
                    quad: (step + done) * groups.quads,
                    group: first,
                    zeros,
                    short: groups.size <= 255,
                    resume: (done > 0).then_some(partial.as_ptr()),
                    codes: words.as_ptr(),
                    stream: self.stream,
                    ahead,
                    width,
                    steps: some,
                    steps_per_group: groups.steps_per_group.min(piece),
                    finish: if last { Finish::Scaled { scales: scales.as_ptr(), minima } } else { Finish::Exact },
                    add: first > 0,
                    soon: self.soon,
                    out: match at_last {
                        Some(stored) => stored.at,
                        None if last => sums.as_mut_ptr(),
                        None => partial.as_mut_ptr(),
                    },
                    out_stride: at_last.map_or(width, |stored| stored.row_stride),
                    layer: at_last.map(|stored| stored.layer),
                };
                if C::PLAIN || direct {
                    // SAFETY: the weight's strip and the packed rows hold these groups; factors have been expanded for them; the
                    // sums, and the partial ones where groups are cut, have as many rows as this work, and so has the result, whose
                    // elements belong to one task.
                    unsafe { sum_tile::<C>(isa, rows, self.vectors, tile) };
                    continue;
                }
                // SAFETY: the strip has these steps, and the panel room for as many; the rest as above.
                unsafe {
                    unpack::<C>(isa, words.as_ptr(), some, width, codes_room.as_mut_ptr());
                    let (steps, steps_per_group) = (some * C::QUADS, tile.steps_per_group * C::QUADS);
                    let tile = Tile { codes: codes_room.as_ptr(), stream: false, steps, steps_per_group, ..tile };
                    sum_tile::<Bytes>(isa, rows, self.vectors, tile);
                }
            }
        }
        stored.is_some()
    }

    /// The rows, counted from the first of the cut.
    fn rows_of_cut(&self) -> Range<usize> {
        self.rows.start - self.cut.start..self.rows.end - self.cut.start
    }

    /// Whether [`direct`] has a way for such groups.
    fn is_direct<C: Code>(&self) -> bool {
        let groups = self.weight.groups;
        let (whole, short) = (groups.steps().is_multiple_of(groups.steps_per_group), groups.size <= 255);
        whole && short && groups.steps_per_group.is_multiple_of(direct::steps_at_once::<C>())
    }

    /// Writes the sums over all groups to `sums`, or finishes and stores them if tiles may.
    fn sum_direct<C: Code>(&self, sums: &mut [f32]) {
        let (weight, groups) = (self.weight, self.weight.groups);
        let (starts, x_sums) = self.packed.starts(self.rows.start);
        let words = weight.words(self.start, self.width, 0);
        assert!(sums.len() >= self.rows.len() * self.width);
        let op = Direct {
            x: self.packed.words(self.rows.start),
            x_stride: self.packed.stride,
            starts,
            sums: x_sums,
            codes: words.as_ptr(),
            width: self.width,
            groups: groups.count(),
            steps_per_group: groups.steps_per_group,
            scales: weight.scales.rows(self.start, self.width),
            zeros: weight.zeros(self.start, self.width).map(<[u8]>::as_ptr),
            minima: weight.minima.as_ref().map(|minima| minima.rows(self.start, self.width)),
            out: self.stored.map_or(sums.as_mut_ptr(), |stored| stored.at),
            out_stride: self.stored.map_or(self.width, |stored| stored.row_stride),
            layer: self.stored.map(|stored| stored.layer),
            ahead: Lines::new(words.as_ptr_range().end, words.len()).share(self.rows_of_cut(), self.cut.len()),
        };
        // SAFETY: the strip and the packed rows hold all groups, which are of one size and short; the sums have been measured, and the
        // part of the result belongs to one task.
        unsafe { sum_direct::<C>(self.cpu.isa, self.rows.len(), self.vectors, op) };
    }
}

#[cfg(test)]
mod tests;
