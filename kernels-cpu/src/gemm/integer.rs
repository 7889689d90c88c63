//! Products of bytes with exact sums in i32.
//!
//! The left factor is taken as words of four i8 along K, packed or where they lie, the right one becomes words of four u8 codes; a code stands for code − zero, and the
//! zeros are taken off all at once: every sum starts with −zero · Σx.

pub(crate) mod direct;
mod in_place;
pub(crate) mod rows;
pub(crate) mod tile;

use super::ahead::Lines;
use super::blocking::{Strips, lanes, mc};
use super::pack::Strided;
use crate::CpuBackend;
use crate::matmul::{matrix_offset, matrix_strides, sizes};
use crate::memory::{input, output};
use crate::simd::dot::interleave;
use crate::simd::prefetch;
use crate::threads::{Parts, SERIAL_WORK};
use crate::weight::code::{Bytes, Groups};
use in_place::{InPlace, start_rows, sum_in_place};
use kernels::Result;
use kernels::ops::Matmul;
use rows::{RowLayout, Rows};
use std::ops::Range;
use tile::{Finish, Tile, sum_tile};

/// Rows of the right factor between those that are packed and those that are fetched.
const AHEAD_ROWS: usize = 64;

/// Bytes that are summed in about the time of one element operation.
const BYTES_AT_ONCE: usize = 8;

/// Rows whose sums with a strip are computed before they are stored.
const TILE_ROWS: usize = 64;

/// Tasks that each thread should have: where there are fewer strips, rows are cut.
const TASKS_EACH: usize = 12;

/// Words of a cache line.
const LINE_WORDS: usize = 16;

/// out = a · b (+ out), i8 × i8 summed in i32, wrapping.
///
/// # Errors
/// `OutOfMemory` for the work space.
pub(crate) fn matmul(cpu: &CpuBackend, args: Matmul<'_>) -> Result<()> {
    let (size, batch) = sizes(&args);
    let (a_layout, b_layout, out_layout) = (*args.a.layout(), *args.b.layout(), *args.out.layout());
    let (a, b) = (input::<i8>(&args.a)?, input::<i8>(&args.b)?);
    let out = Parts::new(output::<i32>(args.out)?);
    let (a_strides, b_strides, out_strides) = (matrix_strides(&a_layout), matrix_strides(&b_layout), matrix_strides(&out_layout));
    let groups = Groups::new(size.k, usize::MAX, 1);
    let (steps, lanes) = (groups.steps(), lanes(cpu.isa));
    let layout = RowLayout { groups, start_factor: -128, sums: false };
    // Rows of whole words serve as they lie.
    let in_place = a_strides.1 == 1 && size.k.is_multiple_of(4);
    let strips = Strips::new(size.n, lanes);
    let block = if in_place { size.m } else { mc(lanes, steps).min(size.m) };
    let slots = if size.work() < SERIAL_WORK { 1 } else { cpu.pool.threads() };
    let (strip_words, tile_words) = (3 * lanes * steps, TILE_ROWS * 3 * lanes);
    // A line for the number of the strip, which a thread keeps from task to task.
    let each = LINE_WORDS + (strip_words + tile_words).next_multiple_of(LINE_WORDS);
    let row_words = if in_place { block.next_multiple_of(16) } else { layout.room(block) };
    // What sums of rows start with, or packed rows; per thread a strip of codes and a tile of sums.
    let mut scratch = cpu.heap.scratch(4 * (row_words + slots * each))?;
    for index in 0..batch {
        let left = Strided::new(a, matrix_offset(&a_layout, index), a_strides.0, a_strides.1);
        let right = Strided::new(b, matrix_offset(&b_layout, index), b_strides.0, b_strides.1);
        let to = matrix_offset(&out_layout, index);
        for start in (0..size.m).step_by(block.max(1)) {
            let rows = start..(start + block).min(size.m);
            let (room, rest) = scratch.as_mut_slice::<i32>().split_at_mut(row_words);
            let left = if in_place {
                let starts = &mut room[..rows.len()];
                let x = left.from(rows.start, 0);
                start_in_place(cpu, x, size.k, starts);
                LeftRows::InPlace(x, starts)
            } else {
                LeftRows::Packed(layout.pack(&cpu.pool, cpu.isa, left, rows.clone(), room))
            };
            rest.iter_mut().step_by(each).for_each(|kept| *kept = -1);
            let rest = Parts::new(rest);
            let cuts = if slots > 1 { (TASKS_EACH * slots).div_ceil(strips.count()) } else { 1 };
            let rows_per_cut = rows.len().div_ceil(cuts).next_multiple_of(TILE_ROWS);
            let cuts = rows.len().div_ceil(rows_per_cut);
            cpu.pool.run_slots(slots, strips.count() * cuts, &|task, slot| {
                let (strip, cut) = (task / cuts, task % cuts * rows_per_cut);
                let (columns, vectors) = (strips.columns(strip), strips.vectors(strip));
                let width = vectors * lanes;
                // SAFETY: no two running tasks share a slot.
                let own = unsafe { rest.part(slot * each, each) };
                let (kept, own) = own.split_at_mut(LINE_WORDS);
                let (codes, sums) = own.split_at_mut(strip_words);
                let whole = out_strides.1 == 1 && args.beta == 0.0 && columns.len() == width && steps > 0;
                let to_first = |row: usize| to + (rows.start + row) * out_strides.0 + columns.start * out_strides.1;
                if kept[0] != strip as i32 {
                    pack_codes(right, columns.clone(), width, groups, codes);
                    kept[0] = strip as i32;
                }
                let last = (cut + rows_per_cut).min(rows.len());
                for first in (cut..last).step_by(TILE_ROWS) {
                    let count = (last - first).min(TILE_ROWS);
                    let (to, to_stride) = if whole {
                        (out.as_ptr().wrapping_add(to_first(first)).cast(), out_strides.0)
                    } else {
                        (sums.as_mut_ptr().cast(), width)
                    };
                    let codes = codes.as_ptr().cast();
                    match &left {
                        _ if steps == 0 => sums.fill(0),
                        LeftRows::InPlace(x, starts) => {
                            let op = InPlace {
                                x: x.at(first, 0),
                                x_stride: x.row_stride,
                                starts: starts[first..].as_ptr(),
                                codes,
                                width,
                                steps,
                                out: to,
                                out_stride: to_stride,
                            };
                            // SAFETY: the rows have `steps` whole words and starts, the strip is packed to the full depth; the sums
                            // have room for TILE_ROWS rows, and the result has the rows and columns, which belong to one task.
                            unsafe { sum_in_place(cpu.isa, count, vectors, op) };
                        }
                        LeftRows::Packed(packed) => {
                            let tile = Tile {
                                x: packed.words(first),
                                x_stride: packed.stride,
                                starts: packed.starts(first).0,
                                group_stride: packed.groups,
                                quad: 0,
                                group: 0,
                                zeros: None,
                                short: false,
                                resume: None,
                                codes,
                                stream: false,
                                ahead: Lines::NONE,
                                width,
                                steps,
                                steps_per_group: steps,
                                finish: Finish::Exact,
                                add: false,
                                soon: (to.cast_const().cast(), to_stride.wrapping_mul(4)),
                                out: to,
                                out_stride: to_stride,
                                layer: None,
                            };
                            // SAFETY: as above, of packed rows.
                            unsafe { sum_tile::<Bytes>(cpu.isa, count, vectors, tile) };
                        }
                    }
                    if whole {
                        continue;
                    }
                    for i in 0..count {
                        let at = to_first(first + i);
                        let sums = &sums[i * width..][..columns.len()];
                        if out_strides.1 == 1 && args.beta == 0.0 {
                            // SAFETY: these elements belong to one task, and the view's layout is within its buffer.
                            unsafe { out.part(at, sums.len()) }.copy_from_slice(sums);
                            continue;
                        }
                        for (j, &sum) in sums.iter().enumerate() {
                            // SAFETY: as above.
                            let to = unsafe { &mut *out.as_ptr().add(at + j * out_strides.1) };
                            *to = if args.beta == 0.0 { sum } else { to.wrapping_add(sum) };
                        }
                    }
                }
            });
        }
    }
    Ok(())
}

/// Rows of the left factor.
enum LeftRows<'a> {
    /// Where they lie, and what their sums start with.
    InPlace(Strided<i8>, &'a [i32]),
    Packed(Rows<'a>),
}

/// Fills the starts of rows of `k` bytes side by side.
fn start_in_place(cpu: &CpuBackend, x: Strided<i8>, k: usize, starts: &mut [i32]) {
    let (count, starts) = (starts.len(), Parts::new(starts));
    cpu.pool.run_sized(count * k / BYTES_AT_ONCE, count.div_ceil(TILE_ROWS), &|task| {
        let first = task * TILE_ROWS;
        // SAFETY: each row belongs to one task, and the matrix has it.
        unsafe {
            let starts = starts.part(first, (count - first).min(TILE_ROWS));
            start_rows(cpu.isa, x.at(first, 0), x.row_stride, k, -128, starts);
        }
    });
}

/// Codes of a strip: value + 128, words [steps, width], 0 beyond the columns and rows there are.
fn pack_codes(right: Strided<i8>, columns: Range<usize>, width: usize, groups: Groups, codes: &mut [i32]) {
    for step in 0..groups.steps() {
        let (start, count) = groups.span(step, 4);
        let words = &mut codes[step * width..(step + 1) * width];
        let mut j = 0;
        if right.col_stride == 1 && count == 4 {
            // Rows are far apart, so that no hardware sees where the next ones are.
            (0..4).for_each(|i| prefetch(right.at(start + AHEAD_ROWS + i, columns.start)));
            while j + 16 <= columns.len() {
                let rows = [0, 1, 2, 3].map(|i| right.at(start + i, columns.start + j));
                // SAFETY: a matrix has all its elements readable; 16 words follow `j`.
                unsafe { interleave(rows, -128, words[j..j + 16].as_mut_ptr()) };
                j += 16;
            }
        }
        for (j, word) in words.iter_mut().enumerate().skip(j) {
            let mut bytes = [0u8; 4];
            for (i, byte) in bytes.iter_mut().enumerate().take(if j < columns.len() { count } else { 0 }) {
                // SAFETY: a matrix has all its elements readable.
                *byte = unsafe { *right.at(start + i, columns.start + j) } as u8 ^ 0x80;
            }
            *word = i32::from_le_bytes(bytes);
        }
    }
}
