//! Quantization of activations.

use super::{Check, Window};
use crate::op::operands;
use crate::{Cost, DType, Op, Result, View, ViewMut};

/// Symmetric int8 quantization of each row, dynamic range.
///
/// scale\[m\] = maxₖ |x[m, k]| / 127,   q[m, k] = round(x[m, k] / scale\[m\])   (ties to even, as x · (127 / max) in f32)
///
/// | argument | shape | dtype |
/// |---|---|---|
/// | `x` | [M, K], last stride 1 | f32, bf16, f16 |
/// | `q` | [M, K], last stride 1; overwritten | i8, within −127..=127 |
/// | `scale` | \[M\]; overwritten | f32 |
///
/// A row of zeros (or K = 0) has scale 0 and codes 0. A row with a NaN or an infinity has scale NaN and codes 0, so that the
/// product is NaN and not a plausible number. The codes of a row whose largest value is so small that 127 / max overflows (below
/// about 4e-37) are unspecified.
/// Precision: |x − scale·q| ≤ scale·(½ + 127·4u).
///
/// # Errors
/// `Shape`, `DType`, `Layout`.
pub struct Quantize<'a> {
    /// Rows to quantize.
    pub x: View<'a>,
    /// Codes.
    pub q: ViewMut<'a>,
    /// Scales.
    pub scale: ViewMut<'a>,
}

impl Op for Quantize<'_> {
    const NAME: &'static str = "quantize";
    operands!(x, q, scale);

    fn check(&self) -> Result<()> {
        let check = Check(Self::NAME);
        let [m, k] = check.dims("x", &self.x, "[M, K]")?;
        check.float("x", &self.x)?;
        check.last_dense("x", &self.x)?;
        check.shape("q", &self.q, &[m, k])?;
        check.dtype("q", &self.q, DType::I8)?;
        check.last_dense("q", &self.q)?;
        check.writable("q", &self.q)?;
        check.shape("scale", &self.scale, &[m])?;
        check.dtype("scale", &self.scale, DType::F32)?;
        check.writable("scale", &self.scale)
    }

    fn cost(&self) -> Cost {
        Cost { flop: 3 * self.x.numel() as u64, bytes: self.x.bytes() + self.q.bytes() + self.scale.bytes() }
    }

    fn dtype(&self) -> DType {
        self.x.dtype()
    }
}
