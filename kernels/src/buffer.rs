//! Device memory and borrowed, strided windows on it.

use crate::{DType, Error, Layout, Result, Shape};
use std::any::Any;
use std::sync::atomic::{AtomicU64, Ordering};

/// Identity of one opened backend. Operands of an op must carry the id of the backend it runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DeviceId(u64);

impl DeviceId {
    /// An id no other backend of this process has.
    pub fn unique() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        DeviceId(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

/// `len` elements of one dtype in the memory of one device. Made by [`Memory::alloc`](crate::Memory::alloc), freed on drop.
pub struct Buffer {
    storage: Box<dyn Any + Send + Sync>,
    device: DeviceId,
    dtype: DType,
    len: usize,
}

impl Buffer {
    /// For backends: wraps the device's own memory object. `storage` must hold at least `len` elements of `dtype`; the backend
    /// finds it again by [`View::storage`] and must not trust a type it did not make itself.
    pub fn new<S: Any + Send + Sync>(device: DeviceId, dtype: DType, len: usize, storage: S) -> Self {
        Buffer { storage: Box::new(storage), device, dtype, len }
    }

    /// Device this memory belongs to.
    #[inline]
    pub fn device(&self) -> DeviceId {
        self.device
    }

    /// Element type.
    #[inline]
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes of all elements.
    pub fn size_bytes(&self) -> usize {
        self.len * self.dtype.size_bytes()
    }

    /// The first elements, row-major, as `shape`.
    ///
    /// # Errors
    /// `Shape` if `shape` has more elements than the buffer.
    #[inline]
    pub fn view(&self, shape: impl Into<Shape>) -> Result<View<'_>> {
        self.view_as(Layout::contiguous(shape)?)
    }

    /// The elements a layout selects.
    ///
    /// # Errors
    /// `Shape` if the layout reaches beyond the buffer.
    #[inline]
    pub fn view_as(&self, layout: Layout) -> Result<View<'_>> {
        self.covers(&layout)?;
        Ok(View { buffer: self, layout })
    }

    /// As [`Buffer::view`], to write.
    ///
    /// # Errors
    /// `Shape` if `shape` has more elements than the buffer.
    #[inline]
    pub fn view_mut(&mut self, shape: impl Into<Shape>) -> Result<ViewMut<'_>> {
        self.view_mut_as(Layout::contiguous(shape)?)
    }

    /// As [`Buffer::view_as`], to write.
    ///
    /// # Errors
    /// `Shape` if the layout reaches beyond the buffer.
    #[inline]
    pub fn view_mut_as(&mut self, layout: Layout) -> Result<ViewMut<'_>> {
        self.covers(&layout)?;
        Ok(ViewMut { buffer: self, layout })
    }

    #[inline]
    fn covers(&self, layout: &Layout) -> Result<()> {
        match layout.end()? <= self.len {
            true => Ok(()),
            false => Err(self.too_short(layout)),
        }
    }

    #[cold]
    fn too_short(&self, layout: &Layout) -> Error {
        let wanted = format!("within the buffer's {} elements", self.len).into();
        Error::Shape { op: "view", arg: "shape", wanted, got: *layout.shape() }
    }
}

impl std::fmt::Debug for Buffer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Buffer({} × {} on {:?})", self.len, self.dtype, self.device)
    }
}

/// A read-only window on a buffer. Its layout is always within the buffer.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    buffer: &'a Buffer,
    layout: Layout,
}

/// A writable window on a buffer: the only one while it lives. Its layout is always within the buffer.
///
/// What somebody still reads cannot be written:
///
/// ```compile_fail,E0502
/// # use kernels::{Buffer, View, ViewMut, Result};
/// fn write_under_a_reader(buffer: &mut Buffer) -> Result<()> {
///     let read: View<'_> = buffer.view([2])?;
///     let write: ViewMut<'_> = buffer.view_mut([2])?;
///     drop((read, write));
///     Ok(())
/// }
/// ```
#[derive(Debug)]
pub struct ViewMut<'a> {
    buffer: &'a mut Buffer,
    layout: Layout,
}

macro_rules! window {
    ($name:ident) => {
        impl<'a> $name<'a> {
            /// Element type.
            #[inline]
            pub fn dtype(&self) -> DType {
                self.buffer.dtype
            }
            /// Device the memory belongs to.
            #[inline]
            pub fn device(&self) -> DeviceId {
                self.buffer.device
            }
            /// Dimensions.
            #[inline]
            pub fn shape(&self) -> &Shape {
                self.layout.shape()
            }
            /// Shape, strides and offset.
            #[inline]
            pub fn layout(&self) -> &Layout {
                &self.layout
            }
            /// Number of elements.
            #[inline]
            pub fn numel(&self) -> usize {
                self.layout.numel()
            }
            /// Elements in the whole buffer behind the window.
            pub fn buffer_len(&self) -> usize {
                self.buffer.len
            }
            /// Dimensions in the order `axes`; see [`Layout::permute`].
            ///
            /// # Errors
            /// `Value` if `axes` is not a permutation.
            pub fn permute(self, axes: &[usize]) -> Result<Self> {
                let layout = self.layout.permute(axes)?;
                Ok($name { layout, ..self })
            }
            /// Dimensions `a` and `b` exchanged; see [`Layout::transpose`].
            ///
            /// # Errors
            /// `Value` if either is not below the rank.
            pub fn transpose(self, a: usize, b: usize) -> Result<Self> {
                let layout = self.layout.transpose(a, b)?;
                Ok($name { layout, ..self })
            }
            /// The part `start..start+len` of `axis`; see [`Layout::narrow`].
            ///
            /// # Errors
            /// `Value` if the range leaves the dimension.
            pub fn narrow(self, axis: usize, start: usize, len: usize) -> Result<Self> {
                let layout = self.layout.narrow(axis, start, len)?;
                Ok($name { layout, ..self })
            }
            /// Another shape over the same elements; see [`Layout::reshape`].
            ///
            /// # Errors
            /// `Value` if the strides do not allow it.
            pub fn reshape(self, shape: impl Into<Shape>) -> Result<Self> {
                let layout = self.layout.reshape(shape)?;
                Ok($name { layout, ..self })
            }
        }
    };
}
window!(View);
window!(ViewMut);

impl<'a> View<'a> {
    /// For backends: their own memory object behind the window, if it is of type `S`.
    pub fn storage<S: Any>(&self) -> Option<&'a S> {
        self.buffer.storage.downcast_ref()
    }

    /// Repeats dimensions of size 1 and missing leading ones; see [`Layout::broadcast_to`].
    ///
    /// # Errors
    /// `Value` if a dimension neither matches nor is 1.
    pub fn broadcast_to(self, shape: impl Into<Shape>) -> Result<Self> {
        let layout = self.layout.broadcast_to(shape)?;
        Ok(View { layout, ..self })
    }
}

impl<'a> ViewMut<'a> {
    /// For backends: their own memory object behind the window, if it is of type `S`.
    pub fn storage_mut<S: Any>(&mut self) -> Option<&mut S> {
        self.buffer.storage.downcast_mut()
    }

    /// As [`ViewMut::storage_mut`], for the whole life of the borrow.
    pub fn into_storage_mut<S: Any>(self) -> Option<&'a mut S> {
        self.buffer.storage.downcast_mut()
    }

    /// A shorter-lived window on the same elements.
    pub fn reborrow(&mut self) -> ViewMut<'_> {
        ViewMut { buffer: self.buffer, layout: self.layout }
    }

    /// The same window, to read.
    pub fn as_view(&self) -> View<'_> {
        View { buffer: self.buffer, layout: self.layout }
    }
}
