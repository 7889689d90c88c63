//! Products of bytes with exact sums in i32.
//!
//! The left factor becomes words of four i8 along K, the right one words of four u8 codes; a code stands for code − zero, and the
//! zeros are taken off all at once: every sum starts with −zero · Σx.

pub(crate) mod direct;
pub(crate) mod rows;
pub(crate) mod tile;

use super::ahead::Ahead;
use super::blocking::{Strips, lanes, mc};
use super::pack::Strided;
use crate::CpuBackend;
use crate::matmul::{matrix_offset, matrix_strides, sizes};
use crate::memory::{input, output};
use crate::simd::dot::interleave;
use crate::simd::prefetch;
use crate::threads::{Parts, SERIAL_WORK};
use crate::weight::code::{Bytes, Groups};
use kernels::Result;
use kernels::ops::Matmul;
use rows::RowLayout;
use std::ops::Range;
use tile::{Finish, Tile, sum_tile};

/// Rows of the right factor between those that are packed and those that are fetched.
const AHEAD_ROWS: usize = 64;

/// Rows whose sums with a strip are computed before they are stored.
const TILE_ROWS: usize = 64;

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
    let strips = Strips::new(size.n, lanes);
    let block = mc(lanes, steps).min(size.m);
    let slots = if size.work() < SERIAL_WORK { 1 } else { cpu.pool.threads() };
    let (strip_words, tile_words) = (3 * lanes * steps, TILE_ROWS * 3 * lanes);
    // Packed rows, and per thread a strip of codes and a tile of sums.
    let mut scratch = cpu.heap.scratch(4 * (layout.room(block) + slots * (strip_words + tile_words)))?;
    for index in 0..batch {
        let left = Strided::new(a, matrix_offset(&a_layout, index), a_strides.0, a_strides.1);
        let right = Strided::new(b, matrix_offset(&b_layout, index), b_strides.0, b_strides.1);
        let to = matrix_offset(&out_layout, index);
        for start in (0..size.m).step_by(block.max(1)) {
            let rows = start..(start + block).min(size.m);
            let (room, rest) = scratch.as_mut_slice::<i32>().split_at_mut(layout.room(block));
            let packed = layout.pack(&cpu.pool, cpu.isa, left, rows.clone(), room);
            let rest = Parts::new(rest);
            cpu.pool.run_slots(slots, strips.count(), &|strip, slot| {
                let (columns, vectors) = (strips.columns(strip), strips.vectors(strip));
                let (width, each) = (vectors * lanes, strip_words + tile_words);
                // SAFETY: no two running tasks share a slot.
                let own = unsafe { rest.part(slot * each, each) };
                let (codes, sums) = own.split_at_mut(strip_words);
                let whole = out_strides.1 == 1 && args.beta == 0.0 && columns.len() == width && steps > 0;
                let to_first = |row: usize| to + (rows.start + row) * out_strides.0 + columns.start * out_strides.1;
                pack_codes(right, columns.clone(), width, groups, codes);
                for first in (0..rows.len()).step_by(TILE_ROWS) {
                    let count = (rows.len() - first).min(TILE_ROWS);
                    if steps == 0 {
                        sums.fill(0);
                    } else {
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
                            codes: codes.as_ptr().cast(),
                            stream: false,
                            ahead: Ahead::NONE,
                            width,
                            steps,
                            steps_per_group: steps,
                            finish: Finish::Exact,
                            add: false,
                            soon: (out.as_ptr().wrapping_add(to_first(first)).cast_const().cast(), out_strides.0.wrapping_mul(4)),
                            out: if whole { out.as_ptr().wrapping_add(to_first(first)).cast() } else { sums.as_mut_ptr().cast() },
                            out_stride: if whole { out_strides.0 } else { width },
                            layer: None,
                        };
                        // SAFETY: rows and strip are packed to the full depth; the sums have room for TILE_ROWS rows, and the result
                        // has the rows and columns, which belong to one task.
                        unsafe { sum_tile::<Bytes>(cpu.isa, count, vectors, tile) };
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
