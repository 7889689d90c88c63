//! Reference of [`LayerNorm`](crate::ops::LayerNorm) and [`LayerNormBackward`](crate::ops::LayerNormBackward).

/// One row: writes `out`, returns (mean, rstd).
pub fn layer_norm_row(x: &[f64], weight: &[f64], bias: Option<&[f64]>, eps: f64, out: &mut [f64]) -> (f64, f64) {
    let d = x.len() as f64;
    let mean = x.iter().sum::<f64>() / d;
    let variance = x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / d;
    let rstd = 1.0 / (variance + eps).sqrt();
    for i in 0..x.len() {
        out[i] = (x[i] - mean) * rstd * weight[i] + bias.map_or(0.0, |bias| bias[i]);
    }
    (mean, rstd)
}

/// One row: overwrites `dx`, adds to `dweight` and `dbias`.
pub fn layer_norm_backward_row(
    x: &[f64],
    weight: &[f64],
    (mean, rstd): (f64, f64),
    dout: &[f64],
    dx: &mut [f64],
    dweight: &mut [f64],
    dbias: &mut [f64],
) {
    let d = x.len() as f64;
    let hat = |i: usize| (x[i] - mean) * rstd;
    let mean_g = (0..x.len()).map(|i| dout[i] * weight[i]).sum::<f64>() / d;
    let mean_gx = (0..x.len()).map(|i| dout[i] * weight[i] * hat(i)).sum::<f64>() / d;
    for i in 0..x.len() {
        dx[i] = rstd * (dout[i] * weight[i] - mean_g - hat(i) * mean_gx);
        dweight[i] += dout[i] * hat(i);
        dbias[i] += dout[i];
    }
}
