//! Gradient of layer normalization.

use super::layer_norm::{check_norm, check_rows};
use super::{Check, Window, bytes_of};
use crate::op::operands;
use crate::{Cost, DType, Op, Result, View, ViewMut};

/// Gradients of [`LayerNorm`](super::LayerNorm).
///
/// x̂ = (x − mean)·rstd,  g = dout·weight,  dx = rstd·(g − Σg/D − x̂·Σ(g·x̂)/D),  dweight = Σ_rows dout·x̂,  dbias = Σ_rows dout
///
/// | argument | shape | dtype |
/// |---|---|---|
/// | `x`, `dout`, `dx` | [.., D], last stride 1 | f32, bf16, f16 |
/// | `weight`, `dweight`, `dbias` | \[D\], dbias optional | as `x` |
/// | `mean`, `rstd` | [..] from the forward op | f32 |
///
/// Outputs are overwritten. Sums in f32, in a fixed order. Cost: 14 flop per element.
///
/// # Errors
/// `Shape`, `DType`, `Layout`.
pub struct LayerNormBackward<'a> {
    /// Input of the forward op.
    pub x: View<'a>,
    /// Scale of each column.
    pub weight: View<'a>,
    /// Mean of each row.
    pub mean: View<'a>,
    /// Reciprocal standard deviation of each row.
    pub rstd: View<'a>,
    /// Gradient of `out`.
    pub dout: View<'a>,
    /// Gradient of `x`.
    pub dx: ViewMut<'a>,
    /// Gradient of `weight`.
    pub dweight: ViewMut<'a>,
    /// Gradient of `bias`.
    pub dbias: Option<ViewMut<'a>>,
}

impl Op for LayerNormBackward<'_> {
    const NAME: &'static str = "layer_norm_backward";
    operands!(x, weight, mean, rstd, dout, dx, dweight, dbias);

    fn check(&self) -> Result<()> {
        let check = Check(Self::NAME);
        let lead = check_norm(check, &self.x, &self.weight, 0.0)?;
        let (rows, width) = self.x.shape().split_at(lead);
        for (arg, stat) in [("mean", &self.mean), ("rstd", &self.rstd)] {
            check.shape(arg, stat, rows)?;
            check.dtype(arg, stat, DType::F32)?;
        }
        check.shape("dout", &self.dout, self.x.shape())?;
        check.dtype("dout", &self.dout, self.x.dtype())?;
        check.last_dense("dout", &self.dout)?;
        check_rows(check, "dx", &self.dx, &self.x)?;
        for (arg, sum) in [("dweight", Some(&self.dweight)), ("dbias", self.dbias.as_ref())] {
            if let Some(sum) = sum {
                check.shape(arg, sum, width)?;
                check.dtype(arg, sum, self.x.dtype())?;
                check.writable(arg, sum)?;
            }
        }
        Ok(())
    }

    fn cost(&self) -> Cost {
        let columns = 2 * self.weight.bytes() + bytes_of(&self.dbias);
        let bytes = 3 * self.x.bytes() + self.mean.bytes() + self.rstd.bytes() + columns;
        Cost { flop: 14 * self.x.numel() as u64, bytes }
    }

    fn dtype(&self) -> DType {
        self.x.dtype()
    }
}
