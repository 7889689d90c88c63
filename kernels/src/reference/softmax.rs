//! Reference of [`Softmax`](crate::ops::Softmax) and [`SoftmaxBackward`](crate::ops::SoftmaxBackward).

/// Replaces a row of scores by probabilities and returns their log-sum-exp; a row without finite or infinite weight (all −∞, or
/// empty) becomes zeros with log-sum-exp −∞.
pub fn softmax_row(row: &mut [f64]) -> f64 {
    let max = row.iter().copied().fold(f64::NEG_INFINITY, |m, x| if x.is_nan() || m.is_nan() { f64::NAN } else { m.max(x) });
    if max == f64::NEG_INFINITY {
        row.fill(0.0);
        return max;
    }
    row.iter_mut().for_each(|x| *x = (*x - max).exp());
    let sum: f64 = row.iter().sum();
    row.iter_mut().for_each(|x| *x /= sum);
    max + sum.ln()
}

/// `dx = y·(dout − Σ dout·y)` for one row.
pub fn softmax_backward_row(y: &[f64], dout: &[f64], dx: &mut [f64]) {
    let dot: f64 = y.iter().zip(dout).map(|(y, d)| y * d).sum();
    dx.iter_mut().zip(y.iter().zip(dout)).for_each(|(dx, (y, d))| *dx = y * (d - dot));
}
