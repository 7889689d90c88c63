//! Conversion between dtypes: the gradient is converted back.

use super::{Result, Tape, Var};
use kernels::ops::Cast;
use kernels::{DType, Op};

impl Tape {
    /// `x` as `dtype`; `x` itself if it already is. A parameter cast from f32 gets its gradient in f32.
    ///
    /// # Errors
    /// As [`Cast`].
    pub fn cast(&mut self, x: &Var, dtype: DType) -> Result<Var> {
        if x.dtype() == dtype {
            return Ok(x.clone());
        }
        let mut out = self.output(dtype, *x.shape())?;
        Cast { x: x.view()?, out: out.view_mut()? }.run(&**self.on())?;
        let (out, input) = (self.share(out), x.input());
        self.record(Cast::NAME, &[x], out, move |back, dout| {
            let mut dx = back.output_for(&input)?;
            Cast { x: dout.view()?, out: dx.view_mut()? }.run(back.on())?;
            back.give(&input, dx)
        })
    }
}
