//! Fully connected layer in integers of 8 bits.

use super::{Act, Check, Window, bytes_of};
use crate::op::operands;
use crate::{Cost, DType, Error, Op, Packed, Result, View, ViewMut};

/// Fully connected layer on quantized rows and a weight of integer codes (W8A8, W4A8, GGUF's blocks).
///
/// out[m, n] = act(x_scale\[m\] · Σ_g (scale[n, g] · Σ_{k ∈ g} x[m, k] · (code[n, k] − zero[n, g]) − min[n, g] · Σ_{k ∈ g} x[m, k])
/// + bias\[n\])
///
/// Scales, zero points and minima are those of the weight's groups ([`Group`](crate::weight::Group)); only `q4_k` and `q5_k` have
/// minima.
///
/// | argument | shape | dtype |
/// |---|---|---|
/// | `x` | [M, K], last stride 1 (from [`Quantize`](super::Quantize)) | i8 |
/// | `x_scale` | \[M\] | f32 |
/// | `weight` | [N, K] packed, of integer codes: int8, int4, or a block format of GGUF | |
/// | `bias` | \[N\], optional | f32 |
/// | `out` | [M, N], last stride 1; overwritten | f32 |
///
/// Precision: the inner sums of a group are exact in i32; groups are added in f32 (γ of the products of group sums with scales and
/// minima). K is at most 65,536, so that no sum can overflow.
/// Cost: 2·M·N·K operations.
///
/// # Errors
/// `Shape`, `DType`, `Layout`; `Limit` if K > 65,536; `Value` if the weight is not of integer codes.
///
/// # Source
/// Dynamic activation quantization as in Dettmers et al., *LLM.int8()* (2022), without outlier columns.
pub struct LinearInt8<'a> {
    /// Quantized rows.
    pub x: View<'a>,
    /// Scale of each row.
    pub x_scale: View<'a>,
    /// Weight.
    pub weight: &'a Packed,
    /// Added to every row.
    pub bias: Option<View<'a>>,
    /// Applied last.
    pub act: Act,
    /// Result.
    pub out: ViewMut<'a>,
}

impl Op for LinearInt8<'_> {
    const NAME: &'static str = "linear_int8";
    operands!(x, x_scale, weight, bias, out);

    fn check(&self) -> Result<()> {
        let check = Check(Self::NAME);
        let [m, k] = check.dims("x", &self.x, "[M, K]")?;
        check.dtype("x", &self.x, DType::I8)?;
        check.last_dense("x", &self.x)?;
        check.shape("x_scale", &self.x_scale, &[m])?;
        check.dtype("x_scale", &self.x_scale, DType::F32)?;
        let (n, weight_k) = (self.weight.n(), self.weight.k());
        if weight_k != k {
            return check.wrong_shape("x", &self.x, format!("[M, {weight_k}], as the weight is [{n}, {weight_k}]"));
        }
        if k > 1 << 16 {
            return Err(Error::Limit { op: Self::NAME, what: "K", limit: 1 << 16, got: k as u64 });
        }
        check.value("weight", self.weight.is_coded(), "of integer codes", self.weight.format())?;
        if let Some(bias) = &self.bias {
            check.shape("bias", bias, &[n])?;
            check.dtype("bias", bias, DType::F32)?;
        }
        check.shape("out", &self.out, &[m, n])?;
        check.dtype("out", &self.out, DType::F32)?;
        check.last_dense("out", &self.out)?;
        check.writable("out", &self.out)
    }

    fn cost(&self) -> Cost {
        let flop = 2 * self.out.numel() as u64 * self.weight.k() as u64;
        let bytes = self.x.bytes() + self.x_scale.bytes() + self.weight.size_bytes() + bytes_of(&self.bias) + self.out.bytes();
        Cost { flop, bytes }
    }

    fn dtype(&self) -> DType {
        DType::I8
    }
}
