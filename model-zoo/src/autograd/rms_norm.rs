//! Root-mean-square normalization; the reciprocal root mean square of each row is kept for the gradient.

use super::{Result, Tape, Var};
use kernels::ops::{RmsNorm, RmsNormBackward};
use kernels::{DType, Op, Shape};

impl Tape {
    /// Divides rows `x` [.., D], last stride 1, by their root mean square, then scales by `weight` \[D\].
    ///
    /// # Errors
    /// As [`RmsNorm`].
    pub fn rms_norm(&mut self, x: &Var, weight: &Var, eps: f32) -> Result<Var> {
        let rows = Shape::new(x.shape().split_last().map_or(&[], |(_, rows)| rows))?;
        let mut out = self.output(x.dtype(), *x.shape())?;
        let mut rstd = match self.will_record(RmsNorm::NAME, &[x, weight])? {
            true => Some(self.output(DType::F32, rows)?),
            false => None,
        };
        RmsNorm {
            x: x.view()?,
            weight: weight.view()?,
            eps,
            out: out.view_mut()?,
            rstd: rstd.as_mut().map(|rstd| rstd.view_mut()).transpose()?,
        }
        .run(&**self.on())?;
        let out = self.share(out);
        let Some(rstd) = rstd else {
            return Ok(out);
        };
        let (rstd, x_saved, weight_saved) = (self.share(rstd), x.clone(), weight.clone());
        self.record(RmsNorm::NAME, &[x, weight], out, move |back, dout| {
            let (x, weight) = (x_saved, weight_saved);
            let dout = back.last_dense(dout)?;
            let (mut dx, mut dweight) = (back.output_for(&x.input())?, back.output_for(&weight.input())?);
            RmsNormBackward {
                x: x.view()?,
                weight: weight.view()?,
                rstd: rstd.view()?,
                dout: dout.view()?,
                dx: dx.view_mut()?,
                dweight: dweight.view_mut()?,
            }
            .run(back.on())?;
            back.give(&x.input(), dx)?;
            back.give(&weight.input(), dweight)
        })
    }
}
