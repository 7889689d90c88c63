//! Device to host.

use super::{Check, Window};
use crate::op::operands;
use crate::{Cost, DType, Element, Op, Result, View};

/// Writable elements in host memory, with their dtype.
pub struct HostSliceMut<'a> {
    dtype: DType,
    bytes: &'a mut [u8],
}

impl<'a> HostSliceMut<'a> {
    /// The elements of a slice.
    pub fn new<T: Element>(data: &'a mut [T]) -> Self {
        HostSliceMut { dtype: T::DTYPE, bytes: bytemuck::cast_slice_mut(data) }
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
    pub fn as_bytes_mut(&mut self) -> &mut [u8] {
        self.bytes
    }
}

/// Waits for everything queued and copies a view, row-major, into host memory.
///
/// | argument | shape | dtype |
/// |---|---|---|
/// | `x` | any, any strides | any |
/// | `data` | as many elements as `x`; overwritten | as `x` |
///
/// # Errors
/// `Shape` if the number of elements differs, `DType`; `Fault` or `Index` of any op queued before.
pub struct Download<'a> {
    /// Source.
    pub x: View<'a>,
    /// Destination.
    pub data: HostSliceMut<'a>,
}

impl<'a> Download<'a> {
    /// Downloads into a slice.
    pub fn new<T: Element>(x: View<'a>, data: &'a mut [T]) -> Self {
        Download { x, data: HostSliceMut::new(data) }
    }
}

impl Op for Download<'_> {
    const NAME: &'static str = "download";
    operands!(x);

    fn check(&self) -> Result<()> {
        let check = Check(Self::NAME);
        check.dtype("x", &self.x, self.data.dtype)?;
        if self.data.len() != self.x.numel() {
            return check.wrong_shape("x", &self.x, format!("of {} elements", self.data.len()));
        }
        Ok(())
    }

    fn cost(&self) -> Cost {
        Cost { flop: 0, bytes: 2 * self.x.bytes() }
    }

    fn dtype(&self) -> DType {
        self.x.dtype()
    }
}
