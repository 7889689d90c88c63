//! Other windows on the same elements. Their gradients are the inverse windows.

use super::{Result, Tape, Var};
use kernels::ops::Copy;
use kernels::{MAX_RANK, Op, Shape};

impl Tape {
    /// Another shape over the same elements, without a copy.
    ///
    /// # Errors
    /// `Value` if the number of elements differs or the strides do not allow it (see [`Tape::contiguous`]).
    pub fn reshape(&mut self, x: &Var, shape: impl Into<Shape>) -> Result<Var> {
        let (layout, dx) = (x.layout.reshape(shape)?, x.input());
        self.record("reshape", &[x], x.window(layout)?, move |back, dout| {
            let dout = back.contiguous(dout)?;
            back.pass(&dx, dout.window(dout.layout.reshape(dx.shape)?)?)
        })
    }

    /// Dimensions in the order `axes`.
    ///
    /// # Errors
    /// `Value` if `axes` is not a permutation.
    pub fn permute(&mut self, x: &Var, axes: &[usize]) -> Result<Var> {
        let (layout, dx) = (x.layout.permute(axes)?, x.input());
        let (mut inverse, rank) = ([0; MAX_RANK], axes.len());
        for (to, &from) in axes.iter().enumerate() {
            inverse[from] = to;
        }
        self.record("permute", &[x], x.window(layout)?, move |back, dout| {
            back.pass(&dx, dout.window(dout.layout.permute(&inverse[..rank])?)?)
        })
    }

    /// Dimensions `a` and `b` exchanged.
    ///
    /// # Errors
    /// `Value` if either is not below the rank.
    pub fn transpose(&mut self, x: &Var, a: usize, b: usize) -> Result<Var> {
        let (layout, dx) = (x.layout.transpose(a, b)?, x.input());
        self.record("transpose", &[x], x.window(layout)?, move |back, dout| {
            back.pass(&dx, dout.window(dout.layout.transpose(a, b)?)?)
        })
    }

    /// The part `start..start+len` of dimension `axis`.
    ///
    /// # Errors
    /// `Value` if the range leaves the dimension.
    pub fn narrow(&mut self, x: &Var, axis: usize, start: usize, len: usize) -> Result<Var> {
        let (layout, dx) = (x.layout.narrow(axis, start, len)?, x.input());
        self.record("narrow", &[x], x.window(layout)?, move |back, dout| back.pass_part(&dx, axis, start, dout))
    }

    /// The same elements row-major without gaps: `x` itself if they already lie so, else a copy.
    ///
    /// # Errors
    /// What the kernels report.
    pub fn contiguous(&mut self, x: &Var) -> Result<Var> {
        if x.layout.is_contiguous() {
            return Ok(x.clone());
        }
        let mut out = self.output(x.dtype(), *x.shape())?;
        Copy { x: x.view()?, out: out.view_mut()? }.run(&**self.on())?;
        let (out, dx) = (self.share(out), x.input());
        self.record("contiguous", &[x], out, move |back, dout| back.pass(&dx, dout.clone()))
    }
}
