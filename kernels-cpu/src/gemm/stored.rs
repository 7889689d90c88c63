//! Right factors in forms that are widened as they are read: half floats and codes.

use super::blocking::KC;
use super::micro::{self, Before, PackedLeft, Strip};
use super::{Part, Right};
use crate::simd::{Isa, Simd, simd_fn};
use std::ops::Range;

/// Up to this many rows the values are widened in registers, beyond once into a panel.
const DIRECT_ROWS: usize = 2;

/// A right factor whose strips are stored in units of rows.
pub(crate) trait Stored: Sync {
    /// How the micro-kernel reads a strip.
    type Rows<S: Simd>: Strip<S>;
    /// Units of a strip of depth `k`.
    fn units(&self, k: usize) -> usize;
    /// Strip `index`, whose rows are `vectors` vectors.
    fn strip<S: Simd>(&self, index: usize, vectors: usize) -> Self::Rows<S>;
    /// First row of a unit, and how many it holds.
    fn span(&self, unit: usize) -> (usize, usize);
    /// Rows of a full unit.
    const UNIT_ROWS: usize;
}

impl<T: Stored> Right for T {
    fn sum_strip(&self, isa: Isa, part: &Part<'_>, panel: &mut [f32], sums: &mut [f32]) {
        if part.rows.len() <= DIRECT_ROWS {
            return multiply_stored(isa, self, part, sums);
        }
        let (units, step) = (self.units(part.depth), KC / T::UNIT_ROWS);
        if units == 0 {
            return part.multiply_panel(isa, 0..0, panel, sums);
        }
        for first in (0..units).step_by(step) {
            let last = (first + step).min(units);
            let (last_start, last_count) = self.span(last - 1);
            let k = self.span(first).0..last_start + last_count;
            widen(isa, self, part, first..last, panel);
            part.multiply_panel(isa, k, panel, sums);
        }
    }
}

simd_fn! {
    /// sums[rows, vectors] = the part's rows · its strip, widened in registers.
    fn multiply_stored[R: Stored](s, right: &R, part: &Part<'_>, sums: &mut [f32]) {
        let width = part.vectors * S::LANES;
        let (rows, first) = (part.rows.len(), part.rows.start);
        assert!(rows <= DIRECT_ROWS && sums.len() >= rows * width && part.packed.len() >= part.rows.end * part.depth);
        let tile = PackedLeft(part.packed[first * part.depth..].as_ptr());
        let strip = right.strip::<S>(part.strip, part.vectors);
        let units = 0..right.units(part.depth);
        // SAFETY: the strip has all its units; a part of so few rows is one tile, which holds them to the full depth; the sums have
        // been measured.
        unsafe {
            match rows {
                1 => micro::run_rows::<S, _, _, 1>(s, part.vectors, units, tile, strip, sums.as_mut_ptr(), width, Before::Zero),
                _ => micro::run_rows::<S, _, _, 2>(s, part.vectors, units, tile, strip, sums.as_mut_ptr(), width, Before::Zero),
            }
        }
    }

    /// Writes `units` of the part's strip as f32 rows.
    fn widen[R: Stored](s, right: &R, part: &Part<'_>, units: Range<usize>, panel: &mut [f32]) {
        assert!(panel.len() >= units.len() * R::UNIT_ROWS * part.vectors * S::LANES);
        let strip = right.strip::<S>(part.strip, part.vectors);
        // SAFETY: the strip has these units, of at most UNIT_ROWS rows each; the panel has been measured.
        unsafe { micro::widen(s, part.vectors, units, strip, panel.as_mut_ptr()) };
    }
}
