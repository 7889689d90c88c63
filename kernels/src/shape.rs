//! Dimensions of a tensor, stored inline.

use crate::{Error, Result};
use std::fmt;
use std::ops::Deref;

/// Largest number of dimensions a view may have.
pub const MAX_RANK: usize = 6;

/// Up to [`MAX_RANK`] dimensions; any of them may be zero. Dereferences to `[usize]`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Shape {
    dims: [usize; MAX_RANK],
    rank: u8,
}

impl Shape {
    /// A shape from a slice of dimensions.
    ///
    /// # Errors
    /// `Limit` beyond [`MAX_RANK`] dimensions.
    pub fn new(dims: &[usize]) -> Result<Self> {
        if dims.len() > MAX_RANK {
            return Err(Error::Limit { op: "shape", what: "dimensions", limit: MAX_RANK as u64, got: dims.len() as u64 });
        }
        let mut shape = Shape { dims: [0; MAX_RANK], rank: dims.len() as u8 };
        shape.dims[..dims.len()].copy_from_slice(dims);
        Ok(shape)
    }

    /// Number of dimensions.
    #[inline]
    pub fn rank(&self) -> usize {
        self.rank as usize
    }

    /// Number of elements.
    ///
    /// # Errors
    /// `Limit` if the product does not fit in `usize`.
    #[inline]
    pub fn numel(&self) -> Result<usize> {
        // A zero dimension makes the product zero whatever the others are.
        if self.contains(&0) {
            return Ok(0);
        }
        let count = self.iter().try_fold(1usize, |n, &d| n.checked_mul(d));
        count.filter(|&n| n <= isize::MAX as usize).ok_or_else(|| beyond_isize("shape", "elements"))
    }

    /// The same shape with dimension `axis` set to `dim`. `axis` must be below the rank.
    pub(crate) fn with(mut self, axis: usize, dim: usize) -> Self {
        self.dims[axis] = dim;
        self
    }
}

/// That a count or an index overflows.
#[cold]
pub(crate) fn beyond_isize(op: &'static str, what: &'static str) -> Error {
    Error::Limit { op, what, limit: isize::MAX as u64, got: u64::MAX }
}

impl Deref for Shape {
    type Target = [usize];
    #[inline]
    fn deref(&self) -> &[usize] {
        &self.dims[..self.rank as usize]
    }
}

macro_rules! from_array {
    ($($n:literal)*) => {$(
        impl From<[usize; $n]> for Shape {
            #[inline]
            fn from(dims: [usize; $n]) -> Self {
                let mut shape = Shape { dims: [0; MAX_RANK], rank: $n };
                shape.dims[..$n].copy_from_slice(&dims);
                shape
            }
        }
    )*};
}
from_array!(0 1 2 3 4 5 6);

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self[..], f)
    }
}

impl fmt::Debug for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self[..], f)
    }
}
