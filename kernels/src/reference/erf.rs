//! The error function, which the standard library lacks.

use std::f64::consts::FRAC_2_SQRT_PI;

/// 2/√π ∫₀ˣ exp(−t²) dt to about 1e-15, by its series 2/√π·exp(−x²)·Σ 2ⁿx²ⁿ⁺¹/(1·3·…·(2n+1)) below 2.5 and by [`erfc`] beyond.
///
/// Source: Abramowitz, Stegun, 7.1.6.
pub fn erf(x: f64) -> f64 {
    if x.abs() > 2.5 {
        return x.signum() * (1.0 - erfc(x.abs()));
    }
    let (mut term, mut sum, mut n) = (x, x, 0.0);
    while f64::abs(term) > 1e-18 * f64::abs(sum) {
        n += 1.0;
        term *= 2.0 * x * x / (2.0 * n + 1.0);
        sum += term;
    }
    FRAC_2_SQRT_PI * (-x * x).exp() * sum
}

/// 1 − erf(x) without cancellation, by the continued fraction exp(−x²)/√π · 1/(x + ½/(x + 1/(x + 3⁄2/(x + …)))) above 2.5.
///
/// Source: Abramowitz, Stegun, 7.1.14.
pub fn erfc(x: f64) -> f64 {
    // Not `x <= 2.5`: a NaN takes the branch that returns it.
    if x < 2.5 || x.is_nan() {
        return 1.0 - erf(x);
    }
    let fraction = (1..=80).rev().fold(x, |tail, n| x + 0.5 * f64::from(n) / tail);
    (-x * x).exp() * 0.5 * FRAC_2_SQRT_PI / fraction
}
