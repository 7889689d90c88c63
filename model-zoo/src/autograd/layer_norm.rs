//! Layer normalization; mean and reciprocal standard deviation of each row are kept for the gradient.

use super::{Result, Tape, Var};
use kernels::ops::{LayerNorm, LayerNormBackward};
use kernels::{DType, Op, Shape};

impl Tape {
    /// Normalizes rows `x` [.., D], last stride 1, then scales by `weight` \[D\] and shifts by `bias` \[D\].
    ///
    /// # Errors
    /// As [`LayerNorm`].
    pub fn layer_norm(&mut self, x: &Var, weight: &Var, bias: Option<&Var>, eps: f32) -> Result<Var> {
        let inputs = [x, weight, bias.unwrap_or(x)];
        let rows = Shape::new(x.shape().split_last().map_or(&[], |(_, rows)| rows))?;
        let mut out = self.output(x.dtype(), *x.shape())?;
        let (mut mean, mut rstd) = match self.will_record(LayerNorm::NAME, &inputs)? {
            true => (Some(self.output(DType::F32, rows)?), Some(self.output(DType::F32, rows)?)),
            false => (None, None),
        };
        LayerNorm {
            x: x.view()?,
            weight: weight.view()?,
            bias: bias.map(Var::view).transpose()?,
            eps,
            out: out.view_mut()?,
            mean: mean.as_mut().map(|mean| mean.view_mut()).transpose()?,
            rstd: rstd.as_mut().map(|rstd| rstd.view_mut()).transpose()?,
        }
        .run(&**self.on())?;
        let out = self.share(out);
        let (Some(mean), Some(rstd)) = (mean, rstd) else {
            return Ok(out);
        };
        let (mean, rstd) = (self.share(mean), self.share(rstd));
        let (x_saved, weight_saved, bias) = (x.clone(), weight.clone(), bias.map(Var::input));
        self.record(LayerNorm::NAME, &inputs, out, move |back, dout| {
            let (x, weight) = (x_saved, weight_saved);
            let dout = back.last_dense(dout)?;
            let (mut dx, mut dweight) = (back.output_for(&x.input())?, back.output_for(&weight.input())?);
            let mut dbias = bias.map(|bias| back.output_for(&bias)).transpose()?;
            LayerNormBackward {
                x: x.view()?,
                weight: weight.view()?,
                mean: mean.view()?,
                rstd: rstd.view()?,
                dout: dout.view()?,
                dx: dx.view_mut()?,
                dweight: dweight.view_mut()?,
                dbias: dbias.as_mut().map(|dbias| dbias.view_mut()).transpose()?,
            }
            .run(back.on())?;
            back.give(&x.input(), dx)?;
            back.give(&weight.input(), dweight)?;
            match (bias, dbias) {
                (Some(bias), Some(dbias)) => back.give(&bias, dbias),
                _ => Ok(()),
            }
        })
    }
}
