//! Reference of [`Quantize`](crate::ops::Quantize).

/// Writes the codes of one row and returns its scale, unrounded.
pub fn quantize_row(x: &[f64], q: &mut [f64]) -> f64 {
    if x.iter().any(|x| !x.is_finite()) {
        q.fill(0.0);
        return f64::NAN;
    }
    let max = x.iter().fold(0.0, |max: f64, x| max.max(x.abs()));
    for (q, x) in q.iter_mut().zip(x) {
        *q = if max == 0.0 { 0.0 } else { (x * 127.0 / max).round_ties_even() };
    }
    max / 127.0
}
