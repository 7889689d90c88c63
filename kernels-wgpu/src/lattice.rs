//! Operands of one shape walked together: what `wgsl/lattice.wgsl` reads.

use crate::operand::{Operand, count, strides};
use bytemuck::{Pod, Zeroable};
use kernels::{DType, Layout, MAX_RANK, Result, Support};

/// Words or elements of a workgroup of the elementwise ops, as in `wgsl/elementwise.wgsl`.
const ELEMENTS_OF_GROUP: u64 = 256;

/// One operand of a lattice: its first element and strides. The default is an operand that is not there.
#[derive(Clone, Copy, Default)]
pub(crate) struct Slot {
    first: u32,
    strides: [u32; MAX_RANK],
}

impl Slot {
    /// A bound operand.
    pub fn new(operand: &Operand<'_>, layout: &Layout) -> Self {
        Slot { first: operand.first, strides: strides(layout) }
    }

    /// `len` elements `stride` apart, from `first` on.
    pub fn line(first: u32, stride: u32) -> Self {
        let mut slot = Slot { first, ..Slot::default() };
        slot.strides[0] = stride;
        slot
    }
}

/// As in `wgsl/lattice.wgsl`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
#[repr(C)]
pub(crate) struct Lattice {
    dims: [u32; 8],
    strides: [[u32; 4]; 8],
    first: [u32; 4],
    rank: u32,
    count: u32,
    dense: u32,
    unused: u32,
}

impl Lattice {
    /// The elements of up to four operands that share these dimensions, which may be the leading ones of their own.
    ///
    /// # Errors
    /// `Limit` for 2³¹ elements or more.
    pub fn new(op: &'static str, dims: &[usize], slots: [Slot; 4]) -> Result<Self> {
        let mut lattice = Lattice {
            dims: [1; 8],
            strides: [[0; 4]; 8],
            first: slots.map(|slot| slot.first),
            rank: 0,
            count: count(op, "elements", elements(dims))?,
            dense: 1,
            unused: 0,
        };
        if lattice.count == 0 {
            return Ok(lattice);
        }
        let mut behind = 1; // elements of the dimensions seen
        for (axis, &dim) in dims.iter().enumerate().rev().filter(|&(_, &dim)| dim > 1) {
            let (dim, here) = (count(op, "size of a dimension", dim)?, slots.map(|slot| slot.strides[axis]));
            lattice.dense &= u32::from(here[3] == behind);
            behind *= dim;
            match lattice.rank.checked_sub(1).map(|last| last as usize) {
                Some(last) if (0..4).all(|k| u64::from(here[k]) == reach(lattice.strides[last][k], lattice.dims[last])) => {
                    lattice.dims[last] *= dim;
                }
                _ => {
                    lattice.dims[lattice.rank as usize] = dim;
                    lattice.strides[lattice.rank as usize] = here;
                    lattice.rank += 1;
                }
            }
        }
        lattice.rank = lattice.rank.max(1);
        Ok(lattice)
    }

    /// Number of elements.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// Workgroups of an elementwise op that writes the last operand.
    pub fn groups(&self, out: DType) -> u64 {
        let words = match (self.dense, out.size_bytes() as u32) {
            // The first element may be the last of a word.
            (1, size @ (1 | 2)) => u64::from((self.count - self.count.min(1)) / (4 / size) + 2),
            _ => u64::from(self.count),
        };
        if self.count == 0 { 0 } else { words.div_ceil(ELEMENTS_OF_GROUP) }
    }
}

/// Elements of a shape, which may have huge dimensions beside one of 0.
fn elements(dims: &[usize]) -> usize {
    if dims.contains(&0) { 0 } else { dims.iter().fold(1, |all, &dim| all.saturating_mul(dim)) }
}

/// Stride of a dimension under which it goes on where another ends.
fn reach(stride: u32, dim: u32) -> u64 {
    u64::from(stride) * u64::from(dim)
}

/// Invocations that share a row: of its length alone, as the order of its sums follows from them.
pub(crate) fn lanes(width: u32) -> u32 {
    if width <= 1024 { 64 } else { 256 }
}

/// Support of ops on floats.
pub(crate) fn floats(dtype: DType) -> Support {
    match dtype.is_float() {
        true => Support::Native,
        false => Support::No("defined for f32, bf16 and f16"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slot(strides: &[u32], first: u32) -> Slot {
        let mut slot = Slot { first, ..Slot::default() };
        slot.strides[..strides.len()].copy_from_slice(strides);
        slot
    }

    /// As the shader walks.
    fn places(lattice: &Lattice, i: u32) -> [u32; 4] {
        let (mut at, mut rest) = (lattice.first, i);
        for axis in 0..lattice.rank as usize {
            let step = if axis + 1 == lattice.rank as usize { rest } else { rest % lattice.dims[axis] };
            rest /= lattice.dims[axis];
            (0..4).for_each(|k| at[k] += step * lattice.strides[axis][k]);
        }
        at
    }

    #[test]
    fn operands_without_gaps_are_one_dimension() {
        let dense = slot(&[12, 4, 1], 5);
        let lattice = Lattice::new("copy", &[2, 3, 4], [dense, Slot::default(), Slot::default(), dense]).unwrap();
        assert_eq!((lattice.rank, lattice.count, lattice.dense), (1, 24, 1));
        assert_eq!(places(&lattice, 23), [28, 0, 0, 28]);
        let broadcast = slot(&[0, 0, 1], 0);
        let lattice = Lattice::new("copy", &[2, 3, 4], [broadcast, Slot::default(), Slot::default(), dense]).unwrap();
        assert_eq!((lattice.rank, lattice.dense), (2, 1));
    }

    #[test]
    fn every_element_is_where_its_strides_say() {
        let (dims, x, out) = ([3, 1, 5, 2], [1u32, 0, 7, 40], [80u32, 0, 2, 11]);
        let lattice = Lattice::new("copy", &dims, [slot(&x, 3), Slot::default(), Slot::default(), slot(&out, 9)]).unwrap();
        assert_eq!(lattice.dense, 0);
        for i in 0..30u32 {
            let at = [i / 10, 0, i / 2 % 5, i % 2];
            let place = |first: u32, strides: [u32; 4]| first + (0..4).map(|axis| at[axis] * strides[axis]).sum::<u32>();
            assert_eq!(places(&lattice, i), [place(3, x), 0, 0, place(9, out)]);
        }
    }

    #[test]
    fn counts_beyond_31_bits_are_refused() {
        assert!(Lattice::new("copy", &[1 << 16, 1 << 15], [Slot::default(); 4]).is_err());
        assert_eq!(Lattice::new("copy", &[1 << 40, 1 << 40, 0], [Slot::default(); 4]).unwrap().count(), 0);
    }
}
