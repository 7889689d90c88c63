//! Which elements of a buffer a view covers. The only stride arithmetic of the workspace.

use crate::shape::{MAX_RANK, beyond_isize};
use crate::{Error, Result, Shape};

/// Element (i₀, i₁, …) of a view lies at `offset + Σ iⱼ·stridesⱼ` of its buffer, counted in elements.
///
/// Strides are never negative; a stride of 0 repeats one element along its dimension.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    shape: Shape,
    strides: [usize; MAX_RANK],
    offset: usize,
}

fn refuse(what: &'static str, got: impl std::fmt::Display) -> Error {
    Error::Value { op: "layout", arg: what, wanted: "a part of the view's own shape", got: got.to_string() }
}

impl Layout {
    /// Row-major layout of `shape` from element 0.
    ///
    /// # Errors
    /// `Limit` if the number of elements overflows.
    pub fn contiguous(shape: impl Into<Shape>) -> Result<Self> {
        let shape = shape.into();
        shape.numel()?;
        let mut strides = [0; MAX_RANK];
        let mut step = 1usize;
        for axis in (0..shape.rank()).rev() {
            strides[axis] = step;
            step = step.saturating_mul(shape[axis].max(1));
        }
        Ok(Layout { shape, strides, offset: 0 })
    }

    /// A layout with the given strides and offset, in elements.
    ///
    /// # Errors
    /// `Shape` if ranks differ, `Limit` if an index overflows.
    pub fn strided(shape: impl Into<Shape>, strides: &[usize], offset: usize) -> Result<Self> {
        let shape = shape.into();
        if strides.len() != shape.rank() {
            return Err(refuse("strides", format_args!("{} strides for {shape}", strides.len())));
        }
        shape.numel()?;
        let mut layout = Layout { shape, strides: [0; MAX_RANK], offset };
        layout.strides[..strides.len()].copy_from_slice(strides);
        layout.end()?;
        Ok(layout)
    }

    /// Dimensions.
    #[inline]
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// Strides in elements, one per dimension.
    #[inline]
    pub fn strides(&self) -> &[usize] {
        &self.strides[..self.shape.rank()]
    }

    /// First element's index in the buffer.
    #[inline]
    pub fn offset(&self) -> usize {
        self.offset
    }

    /// Number of elements.
    #[inline]
    pub fn numel(&self) -> usize {
        // Every constructor has checked the product.
        self.shape.iter().product()
    }

    /// One past the largest buffer index the layout reaches; 0 for a layout without elements.
    ///
    /// # Errors
    /// `Limit` if the index overflows.
    #[inline]
    pub fn end(&self) -> Result<usize> {
        // Every op asks for every operand: a loop without a branch but the last.
        let (mut last, mut overflow, mut empty) = (self.offset, false, false);
        for (&dim, &stride) in self.shape.iter().zip(self.strides()) {
            let (reach, beyond) = dim.wrapping_sub(1).overflowing_mul(stride);
            let (sum, carry) = last.overflowing_add(reach);
            (last, overflow, empty) = (sum, overflow | beyond | carry, empty | (dim == 0));
        }
        match (empty, overflow || last >= isize::MAX as usize) {
            (true, _) => Ok(0),
            (false, false) => Ok(last + 1),
            (false, true) => Err(beyond_isize("layout", "element index")),
        }
    }

    /// Whether the elements lie row-major without gaps (dimensions of size 1 may have any stride).
    pub fn is_contiguous(&self) -> bool {
        let mut step = 1;
        for axis in (0..self.shape.rank()).rev() {
            let dim = self.shape[axis];
            if dim == 0 {
                return true;
            }
            if dim > 1 {
                if self.strides[axis] != step {
                    return false;
                }
                step *= dim;
            }
        }
        true
    }

    /// Whether neighbours along the last dimension are neighbours in memory.
    pub fn is_last_dense(&self) -> bool {
        let rank = self.shape.rank();
        rank == 0 || self.shape[rank - 1] <= 1 || self.strides[rank - 1] == 1
    }

    /// Whether no two indices share an element, as outputs need. Sufficient test: with dimensions ordered by stride, each stride
    /// passes the extent of all smaller ones; interleavings that only number theory could prove disjoint are refused.
    pub fn is_injective(&self) -> bool {
        if self.is_contiguous() {
            return true;
        }
        let rank = self.shape.rank();
        let mut axes = [0usize; MAX_RANK];
        for (i, axis) in axes.iter_mut().enumerate() {
            *axis = i;
        }
        let axes = &mut axes[..rank];
        axes.sort_unstable_by_key(|&axis| self.strides[axis]);
        let mut extent = 0usize; // largest index difference reachable by the axes so far
        for &axis in axes.iter() {
            let dim = self.shape[axis];
            if dim <= 1 {
                continue;
            }
            if self.strides[axis] <= extent {
                return false;
            }
            extent += (dim - 1) * self.strides[axis];
        }
        true
    }

    /// The layout with dimensions in the order `axes`, a permutation of 0..rank.
    ///
    /// # Errors
    /// `Value` if `axes` is not a permutation.
    pub fn permute(&self, axes: &[usize]) -> Result<Self> {
        let rank = self.shape.rank();
        let mut seen = [false; MAX_RANK];
        let valid = axes.len() == rank && axes.iter().all(|&a| a < rank && !std::mem::replace(&mut seen[a], true));
        if !valid {
            return Err(refuse("axes", format_args!("{axes:?} for {}", self.shape)));
        }
        let mut out = *self;
        for (to, &from) in axes.iter().enumerate() {
            out.shape = out.shape.with(to, self.shape[from]);
            out.strides[to] = self.strides[from];
        }
        Ok(out)
    }

    /// The layout with dimensions `a` and `b` exchanged.
    ///
    /// # Errors
    /// `Value` if either is not below the rank.
    pub fn transpose(&self, a: usize, b: usize) -> Result<Self> {
        let rank = self.shape.rank();
        if a >= rank || b >= rank {
            return Err(refuse("axes", format_args!("{a}, {b} for {}", self.shape)));
        }
        let mut out = *self;
        out.shape = out.shape.with(a, self.shape[b]).with(b, self.shape[a]);
        out.strides.swap(a, b);
        Ok(out)
    }

    /// The part `start..start+len` of dimension `axis`.
    ///
    /// # Errors
    /// `Value` if the range leaves the dimension.
    pub fn narrow(&self, axis: usize, start: usize, len: usize) -> Result<Self> {
        let fits = axis < self.shape.rank() && start.checked_add(len).is_some_and(|end| end <= self.shape[axis]);
        if !fits {
            return Err(refuse("range", format_args!("{start}+{len} on axis {axis} of {}", self.shape)));
        }
        let mut out = *self;
        if len > 0 {
            out.offset += start * self.strides[axis];
        }
        out.shape = out.shape.with(axis, len);
        Ok(out)
    }

    /// The layout seen as `shape`: missing leading dimensions and dimensions of size 1 repeat with stride 0.
    ///
    /// # Errors
    /// `Value` if a dimension neither matches nor is 1.
    pub fn broadcast_to(&self, shape: impl Into<Shape>) -> Result<Self> {
        let shape = shape.into();
        shape.numel()?;
        let lead = shape.rank().checked_sub(self.shape.rank());
        let Some(lead) = lead else {
            return Err(refuse("shape", format_args!("{} to {shape}", self.shape)));
        };
        let mut out = Layout { shape, strides: [0; MAX_RANK], offset: self.offset };
        for axis in 0..self.shape.rank() {
            let (from, to) = (self.shape[axis], shape[lead + axis]);
            if from == to {
                out.strides[lead + axis] = self.strides[axis];
            } else if from != 1 {
                return Err(refuse("shape", format_args!("{} to {shape}", self.shape)));
            }
        }
        Ok(out)
    }

    /// The same elements in the same order under another shape, without moving any.
    ///
    /// # Errors
    /// `Value` if the number of elements differs or the strides do not allow it.
    pub fn reshape(&self, shape: impl Into<Shape>) -> Result<Self> {
        let shape = shape.into();
        if shape.numel()? != self.numel() {
            return Err(refuse("shape", format_args!("{} to {shape}", self.shape)));
        }
        let mut out = Layout { offset: self.offset, ..Layout::contiguous(shape)? };
        if self.is_contiguous() {
            return Ok(out);
        }
        // Walk both shapes from the right in runs of equal element count; a run of old dimensions must be mergeable into one stride.
        let old: Vec<(usize, usize)> =
            self.shape.iter().copied().zip(self.strides().iter().copied()).filter(|&(d, _)| d != 1).collect();
        let mut taken = old.len();
        let mut axis = shape.rank();
        while axis > 0 {
            if shape[axis - 1] == 1 {
                out.strides[axis - 1] = 1;
                axis -= 1;
                continue;
            }
            let high = axis;
            let (mut new_count, mut old_count) = (1usize, 1usize);
            let step = old.get(taken.wrapping_sub(1)).map_or(1, |&(_, s)| s);
            let mut expected = step;
            loop {
                if new_count == old_count && new_count > 1 {
                    break;
                }
                if new_count <= old_count && axis > 0 {
                    axis -= 1;
                    new_count *= shape[axis];
                } else if taken > 0 {
                    taken -= 1;
                    let (dim, stride) = old[taken];
                    if stride != expected {
                        return Err(refuse("shape", format_args!("{} to {shape} (strides {:?})", self.shape, self.strides())));
                    }
                    expected = stride * dim;
                    old_count *= dim;
                } else {
                    break;
                }
            }
            let mut stride = step;
            for new_axis in (axis..high).rev() {
                out.strides[new_axis] = stride;
                stride *= shape[new_axis];
            }
        }
        Ok(out)
    }

    /// Buffer indices of all elements, row-major.
    pub fn indices(&self) -> Indices {
        Indices { layout: *self, at: [0; MAX_RANK], next: self.offset, left: self.numel() }
    }
}

/// Iterator of [`Layout::indices`].
#[derive(Clone, Debug)]
pub struct Indices {
    layout: Layout,
    at: [usize; MAX_RANK],
    next: usize,
    left: usize,
}

impl Iterator for Indices {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        if self.left == 0 {
            return None;
        }
        self.left -= 1;
        let index = self.next;
        for axis in (0..self.layout.shape.rank()).rev() {
            self.at[axis] += 1;
            self.next += self.layout.strides[axis];
            if self.at[axis] < self.layout.shape[axis] {
                break;
            }
            self.next -= self.at[axis] * self.layout.strides[axis];
            self.at[axis] = 0;
        }
        Some(index)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Indices {}

#[cfg(test)]
mod tests {
    use super::*;

    fn indices(layout: &Layout) -> Vec<usize> {
        layout.indices().collect()
    }

    #[test]
    fn transposed_walks_columns() {
        let layout = Layout::contiguous([2, 3]).unwrap().transpose(0, 1).unwrap();
        assert_eq!(indices(&layout), [0, 3, 1, 4, 2, 5]);
        assert!(!layout.is_contiguous());
        assert!(layout.is_injective());
    }

    #[test]
    fn broadcast_repeats_and_is_no_output() {
        let layout = Layout::contiguous([3]).unwrap().broadcast_to([2, 3]).unwrap();
        assert_eq!(indices(&layout), [0, 1, 2, 0, 1, 2]);
        assert!(!layout.is_injective());
        assert!(layout.broadcast_to([2, 4]).is_err());
    }

    #[test]
    fn reshape_keeps_the_order_of_elements() {
        let base = Layout::contiguous([4, 6]).unwrap();
        let narrowed = base.narrow(1, 2, 4).unwrap(); // rows of 4 with stride 6
        for shape in [Shape::from([2, 2, 4]), Shape::from([4, 2, 2]), Shape::from([1, 4, 4, 1]), Shape::from([2, 2, 2, 2])] {
            let reshaped = narrowed.reshape(shape).unwrap();
            assert_eq!(indices(&reshaped), indices(&narrowed), "{shape}");
        }
        assert!(narrowed.reshape([16]).is_err());
        assert!(base.transpose(0, 1).unwrap().reshape([24]).is_err());
        assert_eq!(base.reshape([24]).unwrap(), Layout::contiguous([24]).unwrap());
    }

    #[test]
    fn overlapping_strides_are_not_injective() {
        assert!(!Layout::strided([2, 3], &[2, 1], 0).unwrap().is_injective());
        assert!(Layout::strided([2, 3], &[3, 1], 0).unwrap().is_injective());
        assert!(Layout::strided([2, 3], &[1, 2], 0).unwrap().is_injective());
        assert!(Layout::strided([1, 3], &[0, 1], 0).unwrap().is_injective());
    }

    #[test]
    fn indices_that_overflow_are_refused() {
        assert!(Layout::strided([2, 2], &[usize::MAX, 1], 0).is_err());
        assert!(Layout::contiguous([usize::MAX, 2]).is_err());
        assert!(Layout::contiguous([usize::MAX, 0]).is_ok());
        assert!(Layout::contiguous([4]).unwrap().narrow(0, usize::MAX, 2).is_err());
    }
}
