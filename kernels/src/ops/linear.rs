//! Fully connected layer over any stored form of its weight.

use super::{Check, Window, bytes_of};
use crate::op::operands;
use crate::{Cost, DType, Op, Result, View, ViewMut, WeightRef};

/// Activation applied to an output as it is stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Act {
    /// Identity.
    #[default]
    None,
    /// max(x, 0); NaN stays NaN.
    Relu,
    /// 0.5·x·(1 + tanh(√(2/π)·(x + 0.044715·x³))), the form of GPT-2.
    Gelu,
    /// 0.5·x·(1 + erf(x/√2)), the form of BERT.
    GeluErf,
    /// x / (1 + e⁻ˣ).
    Silu,
}

/// Fully connected layer.
///
/// out[m, n] = act(Σₖ x[m, k] · w[n, k] + bias\[n\])
///
/// | argument | shape | dtype |
/// |---|---|---|
/// | `x` | [M, K], last stride 1 | f32, bf16, f16 |
/// | `weight` | [N, K], dense view (dtype as `x`) or packed (any format) | |
/// | `bias` | \[N\], optional | as `x` |
/// | `out` | [M, N], last stride 1; overwritten | as `x` |
///
/// A packed weight stands for exactly the matrix of [`Weight::to_f32`](crate::Weight::to_f32), whatever its format; `x` is not
/// quantized (see [`LinearInt8`](super::LinearInt8) for that). Values a sparse weight does not store contribute nothing, even
/// where `x` is infinite or NaN. K = 0 gives act(bias).
/// Precision: sums in f32, one rounding on store. Cost: 2·M·N·K flop for the dense matrix; bytes as stored.
///
/// # Errors
/// `Shape`, `DType`, `Layout`.
pub struct Linear<'a> {
    /// Rows to transform.
    pub x: View<'a>,
    /// Weight.
    pub weight: WeightRef<'a>,
    /// Added to every row.
    pub bias: Option<View<'a>>,
    /// Applied last.
    pub act: Act,
    /// Result.
    pub out: ViewMut<'a>,
}

impl Op for Linear<'_> {
    const NAME: &'static str = "linear";
    operands!(x, weight, bias, out);

    fn check(&self) -> Result<()> {
        let check = Check(Self::NAME);
        let [m, k] = check.dims("x", &self.x, "[M, K]")?;
        check.float("x", &self.x)?;
        check.last_dense("x", &self.x)?;
        if let WeightRef::Dense(view) = &self.weight {
            check.dims::<2>("weight", view, "[N, K]")?;
            check.dtype("weight", view, self.x.dtype())?;
        }
        let (n, weight_k) = self.weight.shape().unwrap_or((0, k));
        if weight_k != k {
            return check.wrong_shape("x", &self.x, format!("[M, {weight_k}], as the weight is [{n}, {weight_k}]"));
        }
        if let Some(bias) = &self.bias {
            check.shape("bias", bias, &[n])?;
            check.dtype("bias", bias, self.x.dtype())?;
        }
        check.shape("out", &self.out, &[m, n])?;
        check.dtype("out", &self.out, self.x.dtype())?;
        check.last_dense("out", &self.out)?;
        check.writable("out", &self.out)
    }

    fn cost(&self) -> Cost {
        let (n, k) = self.weight.shape().unwrap_or((0, 0));
        let m = self.x.shape().first().copied().unwrap_or(0);
        Cost {
            flop: 2 * m as u64 * n as u64 * k as u64,
            bytes: self.x.bytes() + self.weight.size_bytes() + bytes_of(&self.bias) + self.out.bytes(),
        }
    }

    fn dtype(&self) -> DType {
        self.x.dtype()
    }
}
