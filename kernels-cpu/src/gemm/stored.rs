//! Right factors in forms that are widened as they are read: half floats and codes.

use super::blocking::{KC, lanes};
use super::micro::{self, Before, PackedLeft, Sums};
use super::{Few, Right, Strip};
use crate::simd::{Isa, Simd, simd_fn};
use std::ops::Range;

/// Up to this many rows the values are widened in registers, beyond once into a panel.
const DIRECT_ROWS: usize = 2;

/// A right factor whose strips are stored in units of rows.
pub(crate) trait Stored: Sync {
    /// How the micro-kernel reads a strip.
    type Rows<S: Simd>: micro::Strip<S>;
    /// Units of a strip of depth `k`.
    fn units(&self, k: usize) -> usize;
    /// Strip `index`, whose rows are `vectors` vectors.
    fn strip<S: Simd>(&self, index: usize, vectors: usize) -> Self::Rows<S>;
    /// The unit that row `k` lies in.
    fn unit_at(&self, k: usize) -> usize;
    /// First row of a unit, and how many it holds.
    fn span(&self, unit: usize) -> (usize, usize);
    /// Rows of a full unit.
    const UNIT_ROWS: usize;
}

impl<T: Stored> Right for T {
    fn panel_end(&self, start: usize, depth: usize) -> usize {
        let step = KC / T::UNIT_ROWS;
        let first = self.unit_at(start);
        // Units that only fill up a group hold no row; the first holds `start`.
        let units = (first..(first + step).min(self.units(depth))).rev();
        let end = units.map(|unit| self.span(unit)).find(|&(_, rows)| rows > 0).map(|(first_row, rows)| first_row + rows);
        end.unwrap_or(depth)
    }

    fn panel<'a>(&'a self, isa: Isa, strip: &Strip, k: Range<usize>, room: &'a mut [f32]) -> &'a [f32] {
        let first = self.unit_at(k.start);
        let last = if k.is_empty() { first } else { self.unit_at(k.end - 1) + 1 };
        widen(isa, self, strip, first..last, room);
        room
    }

    fn makes_panels(&self) -> bool {
        true
    }

    fn sum_few(&self, isa: Isa, few: &Few<'_>, sums: &mut [f32]) -> bool {
        if few.rows > DIRECT_ROWS {
            return false;
        }
        let each = few.rows * few.vectors * lanes(isa);
        for (strip, sums) in few.strips.clone().zip(sums.chunks_exact_mut(each)) {
            multiply_stored(isa, self, few, strip, sums);
        }
        true
    }
}

simd_fn! {
    /// sums[rows, vectors] = a tile of few rows · a strip, widened in registers.
    fn multiply_stored[R: Stored](s, right: &R, few: &Few<'_>, strip: usize, sums: &mut [f32]) {
        let width = few.vectors * S::LANES;
        assert!(few.rows <= DIRECT_ROWS && sums.len() >= few.rows * width && few.packed.len() >= few.rows * few.depth);
        let tile = PackedLeft(few.packed.as_ptr());
        let strip = right.strip::<S>(strip, few.vectors);
        let units = 0..right.units(few.depth);
        let sums = Sums { at: sums.as_mut_ptr(), stride: width, before: Before::Zero, result: None };
        // SAFETY: the strip has all its units; the tile holds the rows to the full depth; the sums have been measured.
        unsafe {
            match few.rows {
                1 => micro::run_rows::<S, _, _, 1>(s, few.vectors, units, tile, strip, sums),
                _ => micro::run_rows::<S, _, _, 2>(s, few.vectors, units, tile, strip, sums),
            }
        }
    }

    /// Writes `units` of a strip as f32 rows.
    fn widen[R: Stored](s, right: &R, strip: &Strip, units: Range<usize>, panel: &mut [f32]) {
        let rows = units.clone().last().map_or(0, |last| right.span(last).0 + right.span(last).1 - right.span(units.start).0);
        assert!(panel.len() >= rows * strip.vectors * S::LANES);
        let rows = right.strip::<S>(strip.index, strip.vectors);
        // SAFETY: the strip has these units; the panel has been measured.
        unsafe { micro::widen(s, strip.vectors, units, rows, panel.as_mut_ptr()) };
    }
}
