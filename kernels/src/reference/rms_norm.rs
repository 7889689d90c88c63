//! Reference of [`RmsNorm`](crate::ops::RmsNorm) and [`RmsNormBackward`](crate::ops::RmsNormBackward).

/// One row: writes `out`, returns rstd.
pub fn rms_norm_row(x: &[f64], weight: &[f64], eps: f64, out: &mut [f64]) -> f64 {
    let rstd = 1.0 / (x.iter().map(|x| x * x).sum::<f64>() / x.len() as f64 + eps).sqrt();
    for i in 0..x.len() {
        out[i] = x[i] * rstd * weight[i];
    }
    rstd
}

/// One row: overwrites `dx`, adds to `dweight`.
pub fn rms_norm_backward_row(x: &[f64], weight: &[f64], rstd: f64, dout: &[f64], dx: &mut [f64], dweight: &mut [f64]) {
    let mean_gx = (0..x.len()).map(|i| dout[i] * weight[i] * x[i] * rstd).sum::<f64>() / x.len() as f64;
    for i in 0..x.len() {
        dx[i] = rstd * (dout[i] * weight[i] - x[i] * rstd * mean_gx);
        dweight[i] += dout[i] * x[i] * rstd;
    }
}
