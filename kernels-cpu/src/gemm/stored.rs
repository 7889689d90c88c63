//! Right factors in forms that are widened as they are read: half floats and codes.

use super::blocking::{KC, NV as MAX_NV};
use super::micro::{LeftTile, PackedLeft};
use super::{Few, Right, Strip};
use crate::simd::{Isa, Simd, keep_rolled, simd_fn};
use std::ops::Range;

/// Up to this many rows the values are widened in registers, beyond once into a panel.
const DIRECT_ROWS: usize = 2;

/// A right factor whose strips are stored in units of rows.
pub(crate) trait Stored: Sync {
    /// How a strip is read.
    type Rows<S: Simd>: Widened<S>;
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

/// A strip of a stored factor: rows of up to NR columns in units of one or more, and groups of units that have factors in common.
pub(crate) trait Widened<S: Simd>: Copy {
    /// Rows of a unit.
    const ROWS: usize;
    /// What the units of a group share, in registers.
    type Group<const NV: usize>: Copy;
    /// A unit in registers.
    type Unit<const NV: usize>: Copy;

    /// The group that unit `unit` is of.
    fn group_of(self, unit: usize) -> usize;
    /// Units and rows of a group: its last units may hold fewer rows than others, or none, and not all be there.
    fn group_span(self, group: usize) -> (Range<usize>, Range<usize>);
    /// Loads what the units of a group share.
    ///
    /// # Safety
    /// The strip has this group and NV vectors.
    unsafe fn group<const NV: usize>(self, s: S, group: usize) -> Self::Group<NV>;
    /// Loads a unit.
    ///
    /// # Safety
    /// The strip has this unit and NV vectors.
    unsafe fn unit<const NV: usize>(self, s: S, unit: usize) -> Self::Unit<NV>;
    /// Row ROW < ROWS of a loaded unit, in f32.
    fn row<const NV: usize, const ROW: usize>(self, s: S, group: &Self::Group<NV>, unit: Self::Unit<NV>) -> [S::V; NV];
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
        sum_stored(isa, self, few, sums);
        true
    }
}

/// Runs `$body` for the first `$count` rows of a unit: unrolled for a full unit, so that a row's place in it is a constant.
macro_rules! for_rows {
    ($strip:ident, $s:ident, $group:expr, $unit:ident, $count:ident, |$place:ident, $row:ident| $body:block) => {
        if $count >= B::ROWS {
            for_rows!(@ $strip $s $group, $unit |$place, $row| $body; 0 1 2 3 4 5 6 7);
        } else {
            for $place in 0..$count {
                let $row = match $place {
                    0 => $strip.row::<NV, 0>($s, $group, $unit),
                    1 => $strip.row::<NV, 1>($s, $group, $unit),
                    2 => $strip.row::<NV, 2>($s, $group, $unit),
                    3 => $strip.row::<NV, 3>($s, $group, $unit),
                    4 => $strip.row::<NV, 4>($s, $group, $unit),
                    5 => $strip.row::<NV, 5>($s, $group, $unit),
                    _ => $strip.row::<NV, 6>($s, $group, $unit),
                };
                $body
            }
        }
    };
    (@ $strip:ident $s:ident $group:expr, $unit:ident |$place:ident, $row:ident| $body:block; $($at:literal)*) => {
        $(if $at < B::ROWS {
            let ($place, $row) = ($at, $strip.row::<NV, $at>($s, $group, $unit));
            $body
        })*
    };
}

simd_fn! {
    /// sums[strips, rows, vectors] = a tile of few rows · each strip, widened in registers.
    fn sum_stored[R: Stored](s, right: &R, few: &Few<'_>, sums: &mut [f32]) {
        let each = few.rows * few.vectors * S::LANES;
        assert!(few.rows <= DIRECT_ROWS && few.packed.len() >= few.rows * few.depth);
        let (tile, units) = (PackedLeft(few.packed.as_ptr()), right.units(few.depth));
        for (strip, sums) in few.strips.clone().zip(sums.chunks_exact_mut(each)) {
            let strip = right.strip::<S>(strip, few.vectors);
            let to = sums.as_mut_ptr();
            // SAFETY: the strip has all its units; the tile holds the rows to the full depth; there is room for the sums.
            unsafe {
                match (few.rows, few.vectors) {
                    (1, 1) => sum_rows::<S, _, 1, 1>(s, units, tile, strip, to),
                    (1, 2) => sum_rows::<S, _, 1, 2>(s, units, tile, strip, to),
                    (1, MAX_NV) => sum_rows::<S, _, 1, MAX_NV>(s, units, tile, strip, to),
                    (2, 1) => sum_rows::<S, _, 2, 1>(s, units, tile, strip, to),
                    (2, 2) => sum_rows::<S, _, 2, 2>(s, units, tile, strip, to),
                    (2, MAX_NV) => sum_rows::<S, _, 2, MAX_NV>(s, units, tile, strip, to),
                    (rows, vectors) => debug_assert!(false, "{rows} rows and {vectors} vectors"),
                }
            }
        }
    }

    /// Writes `units` of a strip as f32 rows.
    fn widen[R: Stored](s, right: &R, strip: &Strip, units: Range<usize>, panel: &mut [f32]) {
        let rows = units.clone().last().map_or(0, |last| right.span(last).0 + right.span(last).1 - right.span(units.start).0);
        assert!(panel.len() >= rows * strip.vectors * S::LANES);
        let rows = right.strip::<S>(strip.index, strip.vectors);
        let to = panel.as_mut_ptr();
        // SAFETY: the strip has these units; the panel has been measured.
        unsafe {
            match strip.vectors {
                1 => widen_rows::<S, _, 1>(s, units, rows, to),
                2 => widen_rows::<S, _, 2>(s, units, rows, to),
                MAX_NV => widen_rows::<S, _, MAX_NV>(s, units, rows, to),
                vectors => debug_assert!(false, "a panel of {vectors} vectors"),
            }
        }
    }
}

/// sums[i, j] = Σ a[i, k] · b[k, j] over the rows of the first `units` units, one chain of products added in rising k.
///
/// # Safety
/// The strip has so many units and NV vectors, `a` MR rows as deep; the sums are writable.
#[inline(always)]
unsafe fn sum_rows<S: Simd, B: Widened<S>, const MR: usize, const NV: usize>(
    s: S,
    units: usize,
    a: PackedLeft,
    b: B,
    sums: *mut f32,
) {
    let mut sum = [[s.zero(); NV]; MR];
    let (mut group, mut at) = (0, 0);
    // SAFETY: all accesses are those the contract of this function grants.
    unsafe {
        while at < units {
            let (of_group, rows) = b.group_span(group);
            let shared = b.group::<NV>(s, group);
            let mut k = rows.start;
            for unit in at..of_group.end.min(units) {
                keep_rolled();
                let (unit, count) = (b.unit::<NV>(s, unit), rows.end.saturating_sub(k));
                for_rows!(b, s, &shared, unit, count, |place, row| {
                    for (i, sum) in sum.iter_mut().enumerate() {
                        let x = s.splat(a.at::<MR>(i, k + place));
                        for (v, &w) in sum.iter_mut().zip(&row) {
                            *v = s.fma(x, w, *v);
                        }
                    }
                });
                k += B::ROWS;
            }
            (group, at) = (group + 1, of_group.end);
        }
        for (i, row) in sum.iter().enumerate() {
            for (j, &v) in row.iter().enumerate() {
                s.store(sums.add((i * NV + j) * S::LANES), v);
            }
        }
    }
}

/// Writes the rows of `units` to a panel whose rows are NV vectors.
///
/// # Safety
/// The strip has these units and NV vectors; `panel` is writable for their rows, from the first.
#[inline(always)]
unsafe fn widen_rows<S: Simd, B: Widened<S>, const NV: usize>(s: S, units: Range<usize>, b: B, panel: *mut f32) {
    let (mut to, mut at) = (panel, units.start);
    let mut group = b.group_of(at);
    // SAFETY: the units exist; the panel has room for all their rows.
    unsafe {
        while at < units.end {
            let (of_group, rows) = b.group_span(group);
            let shared = b.group::<NV>(s, group);
            let mut k = rows.start + (at - of_group.start) * B::ROWS;
            for unit in at..of_group.end.min(units.end) {
                let (unit, count) = (b.unit::<NV>(s, unit), rows.end.saturating_sub(k));
                for_rows!(b, s, &shared, unit, count, |_place, row| {
                    for (j, &v) in row.iter().enumerate() {
                        s.store(to.add(j * S::LANES), v);
                    }
                    to = to.add(NV * S::LANES);
                });
                k += B::ROWS;
            }
            (group, at) = (group + 1, of_group.end);
        }
    }
}
