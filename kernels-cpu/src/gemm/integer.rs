//! Products of bytes with exact sums in i32.
//!
//! The left factor becomes words of four i8 along K, the right one words of four u8 codes; a code stands for code − zero. Every
//! group of inputs begins a new word (see [`Units`]); words that are not full are filled with x = 0.

use super::blocking::{Strips, lanes, mc};
use super::pack::Strided;
use crate::CpuBackend;
use crate::matmul::{matrix_offset, matrix_strides, sizes};
use crate::memory::{input, output};
use crate::simd::Isa;
use crate::simd::dot::{DotTile, dot_tile};
use crate::threads::{Parts, SERIAL_WORK};
use crate::weight::quant::Units;
use kernels::Result;
use kernels::ops::Matmul;

/// Rows of a tile.
pub(crate) const ROWS: usize = 8;

/// Packs a row of x as words, and its sum over each group.
pub(crate) fn pack_row(x: Strided<i8>, row: usize, units: Units, words: &mut [i32], sums: &mut [i32]) {
    for (group, sum) in sums.iter_mut().enumerate() {
        *sum = 0;
        for unit in units.of_group(group) {
            let (start, count) = units.span(unit);
            let mut bytes = [0u8; 4];
            for (i, byte) in bytes.iter_mut().enumerate().take(count) {
                // SAFETY: a matrix has all its elements readable.
                let value = unsafe { *x.at(row, start + i) };
                *byte = value as u8;
                *sum += value as i32;
            }
            words[unit] = i32::from_le_bytes(bytes);
        }
    }
}

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
    let units = Units::new(size.k, usize::MAX, 4);
    let lanes = lanes(cpu.isa);
    let strips = Strips::new(size.n, lanes);
    let block = mc(lanes, units.count()).min(size.m);
    let slots = if size.work() < SERIAL_WORK { 1 } else { cpu.pool.threads() };
    let strip_words = 3 * lanes * units.count();
    // Words [rows, units], their sums [rows], and per thread a strip of codes and a tile of sums.
    let mut scratch = cpu.heap.scratch(4 * (block * (units.count() + 1) + slots * (strip_words + ROWS * 3 * lanes)))?;
    for index in 0..batch {
        let left = Strided::new(a, matrix_offset(&a_layout, index), a_strides.0, a_strides.1);
        let right = Strided::new(b, matrix_offset(&b_layout, index), b_strides.0, b_strides.1);
        let to = matrix_offset(&out_layout, index);
        for start in (0..size.m).step_by(block.max(1)) {
            let rows = start..(start + block).min(size.m);
            let (words, rest) = scratch.as_mut_slice::<i32>().split_at_mut(block * units.count());
            let (sums, rest) = rest.split_at_mut(block);
            for (i, row) in rows.clone().enumerate() {
                let words = &mut words[i * units.count()..(i + 1) * units.count()];
                sums[i] = 0; // K = 0 has no group
                pack_row(left, row, units, words, &mut sums[i..i + units.groups().min(1)]);
            }
            let (words, sums, rest) = (&*words, &*sums, Parts::new(rest));
            cpu.pool.run_slots(slots, strips.count(), &|strip, slot| {
                let (columns, width) = (strips.columns(strip), strips.vectors(strip) * lanes);
                let each = strip_words + ROWS * 3 * lanes;
                // SAFETY: no two running tasks share a slot.
                let own = unsafe { rest.part(slot * each, each) };
                let (codes, tile) = own.split_at_mut(strip_words);
                pack_codes(right, columns.clone(), width, units, codes);
                for first in (0..rows.len()).step_by(ROWS) {
                    let count = (rows.len() - first).min(ROWS);
                    multiply(
                        cpu.isa,
                        (count, strips.vectors(strip)),
                        units,
                        &words[first * units.count()..],
                        &sums[first..],
                        codes,
                        tile,
                    );
                    for i in 0..count {
                        for (j, column) in columns.clone().enumerate() {
                            let at = to + (rows.start + first + i) * out_strides.0 + column * out_strides.1;
                            // SAFETY: each element belongs to one task.
                            let to = unsafe { &mut out.part(at, 1)[0] };
                            let sum = tile[i * width + j];
                            *to = if args.beta == 0.0 { sum } else { to.wrapping_add(sum) };
                        }
                    }
                }
            });
        }
    }
    Ok(())
}

/// Codes of a strip: value + 128, words [units, width].
fn pack_codes(right: Strided<i8>, columns: std::ops::Range<usize>, width: usize, units: Units, codes: &mut [i32]) {
    for unit in 0..units.count() {
        let (start, count) = units.span(unit);
        let row = &mut codes[unit * width..(unit + 1) * width];
        for (j, word) in row.iter_mut().enumerate() {
            let mut bytes = [0u8; 4];
            for (i, byte) in bytes.iter_mut().enumerate().take(if j < columns.len() { count } else { 0 }) {
                // SAFETY: a matrix has all its elements readable.
                *byte = unsafe { *right.at(start + i, columns.start + j) } as u8 ^ 0x80;
            }
            *word = i32::from_le_bytes(bytes);
        }
    }
}

fn multiply(isa: Isa, (rows, vectors): (usize, usize), units: Units, x: &[i32], x_sums: &[i32], codes: &[i32], out: &mut [i32]) {
    let width = vectors * lanes(isa);
    assert!(x.len() >= rows * units.count() && x_sums.len() >= rows && rows <= ROWS && vectors <= 3);
    assert!(codes.len() >= units.count() * width && out.len() >= rows * width);
    let tile = DotTile {
        x: x.as_ptr(),
        x_stride: units.count(),
        x_sums: x_sums.as_ptr(),
        x_sums_stride: 1,
        codes: codes.as_ptr(),
        zeros: None,
        out: out.as_mut_ptr(),
        rows,
        vectors,
    };
    // SAFETY: all operands have been measured.
    unsafe { dot_tile(isa, 0..units.count(), tile) };
}
