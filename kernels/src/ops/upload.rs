//! Host to device.

use super::{Check, Window};
use crate::op::operands;
use crate::{Cost, DType, Element, Op, Result, ViewMut};

/// Elements in host memory, with their dtype.
#[derive(Clone, Copy)]
pub struct HostSlice<'a> {
    dtype: DType,
    bytes: &'a [u8],
}

impl<'a> HostSlice<'a> {
    /// The elements of a slice.
    pub fn new<T: Element>(data: &'a [T]) -> Self {
        HostSlice { dtype: T::DTYPE, bytes: bytemuck::cast_slice(data) }
    }
    /// Element type.
    pub fn dtype(&self) -> DType {
        self.dtype
    }
    /// Number of elements.
    pub fn len(&self) -> usize {
        self.bytes.len() / self.dtype.size_bytes()
    }
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }
    /// The elements as bytes, native endian.
    pub fn as_bytes(&self) -> &'a [u8] {
        self.bytes
    }
}

/// Copies host elements, row-major, into a view. Returns when `data` may be reused.
///
/// | argument | shape | dtype |
/// |---|---|---|
/// | `data` | as many elements as `out` | any |
/// | `out` | any, any strides; overwritten | as `data` |
///
/// # Errors
/// `Shape` if the number of elements differs, `DType`, `Layout`.
pub struct Upload<'a> {
    /// Source.
    pub data: HostSlice<'a>,
    /// Destination.
    pub out: ViewMut<'a>,
}

impl<'a> Upload<'a> {
    /// Uploads a slice.
    pub fn new<T: Element>(data: &'a [T], out: ViewMut<'a>) -> Self {
        Upload { data: HostSlice::new(data), out }
    }
}

impl Op for Upload<'_> {
    const NAME: &'static str = "upload";
    operands!(out);

    fn check(&self) -> Result<()> {
        let check = Check(Self::NAME);
        check.dtype("out", &self.out, self.data.dtype)?;
        check.writable("out", &self.out)?;
        if self.data.len() != self.out.numel() {
            return check.wrong_shape("out", &self.out, format!("of {} elements", self.data.len()));
        }
        Ok(())
    }

    fn cost(&self) -> Cost {
        Cost { flop: 0, bytes: 2 * self.out.bytes() }
    }

    fn dtype(&self) -> DType {
        self.out.dtype()
    }
}
