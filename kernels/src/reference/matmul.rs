//! Reference of [`Matmul`](crate::ops::Matmul).

/// Sizes of a batched product.
#[derive(Clone, Copy, Debug)]
pub struct MatmulDims {
    /// Product of the leading dimensions.
    pub batch: usize,
    /// Rows of `a` and `out`.
    pub m: usize,
    /// Columns of `b` and `out`.
    pub n: usize,
    /// Columns of `a`, rows of `b`.
    pub k: usize,
}

/// `out[b, m, n] = alpha · Σₖ a[b, m, k] · b[b, k, n] + beta · out[b, m, n]`; `beta = 0` does not read `out`.
pub fn matmul(dims: MatmulDims, a: &[f64], b: &[f64], alpha: f64, beta: f64, out: &mut [f64]) {
    let MatmulDims { batch, m, n, k } = dims;
    for i in 0..batch * m {
        for j in 0..n {
            let dot: f64 = (0..k).map(|l| a[i * k + l] * b[(i / m * k + l) * n + j]).sum();
            let before = if beta == 0.0 { 0.0 } else { beta * out[i * n + j] };
            out[i * n + j] = alpha * dot + before;
        }
    }
}

/// An exact integer taken modulo 2³², as sums of i8 products are stored.
pub fn wrap_i32(exact: f64) -> f64 {
    f64::from(exact as i64 as i32)
}
