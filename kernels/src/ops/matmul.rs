//! Dense matrix product.

use super::{Check, Window};
use crate::op::operands;
use crate::{Cost, DType, Op, Result, View, ViewMut};

/// General matrix product with BLAS meaning, batched over leading dimensions.
///
/// out[…, m, n] = alpha · Σₖ a[…, m, k] · b[…, k, n] + beta · out[…, m, n]
///
/// | argument | shape | dtype |
/// |---|---|---|
/// | `a` | [.., M, K] | f32, bf16, f16, i8 |
/// | `b` | [.., K, N] | as `a` |
/// | `out` | [.., M, N] | as `a`, or f32; i32 if `a` is i8 |
///
/// Leading dimensions are equal; broadcast and transpose through strides. Strides: any.
/// `beta = 0` does not read `out`. K = 0 gives `beta · out`.
/// Precision: sums in f32, one rounding on store: |err| ≤ γ_K·Σ|a||b| (`conformance::bounds`). i8: exact in i32, wrapping.
/// Cost: 2·B·M·N·K flop.
///
/// # Errors
/// `Shape`, `DType`, `Layout`; `Value` if `alpha` or `beta` is not finite, or for i8 if `alpha` ≠ 1 or `beta` is neither 0 nor 1.
///
/// # Source
/// GEMM of the BLAS (Dongarra et al., 1990).
pub struct Matmul<'a> {
    /// Left factor.
    pub a: View<'a>,
    /// Right factor.
    pub b: View<'a>,
    /// Factor of the product.
    pub alpha: f32,
    /// Factor of the former content of `out`.
    pub beta: f32,
    /// Result.
    pub out: ViewMut<'a>,
}

impl<'a> Matmul<'a> {
    /// `out = a · b`.
    pub fn new(a: View<'a>, b: View<'a>, out: ViewMut<'a>) -> Self {
        Matmul { a, b, alpha: 1.0, beta: 0.0, out }
    }
}

impl Op for Matmul<'_> {
    const NAME: &'static str = "matmul";
    operands!(a, b, out);

    fn check(&self) -> Result<()> {
        let check = Check(Self::NAME);
        check.rank_at_least("a", &self.a, 2)?;
        let (batch, mk) = self.a.shape().split_at(self.a.shape().rank() - 2);
        let b_dims = self.b.shape();
        // Compared one by one: slices are compared by a call, which takes longer than the few dimensions there are.
        let has_batch = |dims: &[usize]| dims.len() == batch.len() + 2 && batch.iter().zip(dims).all(|(a, b)| a == b);
        let fits = has_batch(b_dims) && b_dims[batch.len()] == mk[1];
        if !fits {
            return check.wrong_shape("b", &self.b, format!("{batch:?} + [{}, N]", mk[1]));
        }
        let n = b_dims[batch.len() + 1];
        let out_dims = self.out.shape();
        if !has_batch(out_dims) || out_dims[batch.len()] != mk[0] || out_dims[batch.len() + 1] != n {
            return check.wrong_shape("out", &self.out, format!("{batch:?} + [{}, {n}]", mk[0]));
        }
        check.dtype_among("a", &self.a, &[DType::F32, DType::Bf16, DType::F16, DType::I8])?;
        check.dtype("b", &self.b, self.a.dtype())?;
        check.finite("alpha", self.alpha)?;
        check.finite("beta", self.beta)?;
        if self.a.dtype() == DType::I8 {
            check.dtype("out", &self.out, DType::I32)?;
            check.value("alpha", self.alpha == 1.0, "1 for integers", self.alpha)?;
            check.value("beta", self.beta == 0.0 || self.beta == 1.0, "0 or 1 for integers", self.beta)?;
        } else {
            check.dtype_among("out", &self.out, &[self.a.dtype(), DType::F32])?;
        }
        check.writable("out", &self.out)
    }

    fn cost(&self) -> Cost {
        let k = self.a.shape().last().copied().unwrap_or(0) as u64;
        let out = self.out.bytes() * if self.beta == 0.0 { 1 } else { 2 };
        Cost { flop: 2 * self.out.numel() as u64 * k, bytes: self.a.bytes() + self.b.bytes() + out }
    }

    fn dtype(&self) -> DType {
        self.a.dtype()
    }
}
