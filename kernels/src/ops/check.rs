//! The rules ops share, each with one wording.

use crate::{DType, Error, Layout, Result, View, ViewMut};

/// What checks need of a window, read-only or not.
pub(super) trait Window {
    fn layout(&self) -> &Layout;
    fn dtype(&self) -> DType;
    fn dims(&self) -> &[usize] {
        self.layout().shape()
    }
    fn bytes(&self) -> u64 {
        (self.layout().numel() as u64).saturating_mul(self.dtype().size_bytes() as u64)
    }
}
impl Window for View<'_> {
    fn layout(&self) -> &Layout {
        View::layout(self)
    }
    fn dtype(&self) -> DType {
        View::dtype(self)
    }
}
impl Window for ViewMut<'_> {
    fn layout(&self) -> &Layout {
        ViewMut::layout(self)
    }
    fn dtype(&self) -> DType {
        ViewMut::dtype(self)
    }
}

/// Checks on behalf of the op of this name.
#[derive(Clone, Copy)]
pub(super) struct Check(pub &'static str);

impl Check {
    #[cold]
    pub fn wrong_shape<T>(self, arg: &'static str, window: &impl Window, wanted: impl Into<Box<str>>) -> Result<T> {
        Err(Error::Shape { op: self.0, arg, wanted: wanted.into(), got: *window.layout().shape() })
    }

    #[inline]
    pub fn shape(self, arg: &'static str, window: &impl Window, wanted: &[usize]) -> Result<()> {
        if window.dims() == wanted {
            return Ok(());
        }
        self.wrong_shape(arg, window, format!("{wanted:?}"))
    }

    #[inline]
    pub fn rank_at_least(self, arg: &'static str, window: &impl Window, rank: usize) -> Result<()> {
        if window.dims().len() >= rank {
            return Ok(());
        }
        self.wrong_shape(arg, window, format!("of {rank} dimensions or more"))
    }

    /// The dimensions, if there are exactly R.
    #[inline]
    pub fn dims<const R: usize>(self, arg: &'static str, window: &impl Window, letters: &str) -> Result<[usize; R]> {
        match window.dims().try_into() {
            Ok(dims) => Ok(dims),
            Err(_) => self.wrong_shape(arg, window, letters),
        }
    }

    #[inline]
    pub fn dtype(self, arg: &'static str, window: &impl Window, wanted: DType) -> Result<()> {
        self.dtype_among(arg, window, &[wanted])
    }

    #[inline]
    pub fn dtype_among(self, arg: &'static str, window: &impl Window, wanted: &[DType]) -> Result<()> {
        let got = window.dtype();
        if wanted.contains(&got) {
            return Ok(());
        }
        self.wrong_dtype(arg, wanted, got)
    }

    #[cold]
    fn wrong_dtype(self, arg: &'static str, wanted: &[DType], got: DType) -> Result<()> {
        let names: Vec<_> = wanted.iter().map(|d| d.name()).collect();
        Err(Error::DType { op: self.0, arg, wanted: names.join(" or ").into(), got })
    }

    #[inline]
    pub fn float(self, arg: &'static str, window: &impl Window) -> Result<()> {
        self.dtype_among(arg, window, &DType::FLOATS)
    }

    #[inline]
    pub fn last_dense(self, arg: &'static str, window: &impl Window) -> Result<()> {
        if window.layout().is_last_dense() {
            return Ok(());
        }
        self.wrong_layout(arg, window, "stride 1 in its last dimension")
    }

    /// No element of an output may be reached by two indices.
    #[inline]
    pub fn writable(self, arg: &'static str, window: &impl Window) -> Result<()> {
        if window.layout().is_injective() {
            return Ok(());
        }
        self.wrong_layout(arg, window, "strides under which no two indices share an element")
    }

    #[cold]
    fn wrong_layout(self, arg: &'static str, window: &impl Window, wanted: &'static str) -> Result<()> {
        Err(Error::Layout { op: self.0, arg, wanted, got: Box::new(*window.layout()) })
    }

    #[inline]
    pub fn value(self, arg: &'static str, holds: bool, wanted: &'static str, got: impl ToString) -> Result<()> {
        if holds {
            return Ok(());
        }
        self.wrong_value(arg, wanted, got)
    }

    #[cold]
    fn wrong_value(self, arg: &'static str, wanted: &'static str, got: impl ToString) -> Result<()> {
        Err(Error::Value { op: self.0, arg, wanted, got: got.to_string() })
    }

    #[inline]
    pub fn finite(self, arg: &'static str, value: f32) -> Result<()> {
        self.value(arg, value.is_finite(), "finite", value)
    }
}

/// Bytes of an optional window.
pub(super) fn bytes_of<W: Window>(window: &Option<W>) -> u64 {
    window.as_ref().map_or(0, Window::bytes)
}
