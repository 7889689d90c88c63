//! Accelerated proximal gradient for a smooth objective plus L1, on the host.

use super::lbfgs::{End, Minimum};
use crate::Result;

/// Settings of [`Proximal::minimize`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Proximal {
    /// Most steps.
    pub max_iterations: u32,
    /// The search ends when L · |step| is at most this for every parameter, the counterpart of a gradient.
    pub gradient_tolerance: f64,
}

impl Proximal {
    /// Minimises objective(x) + Σⱼ l1\[j\]·|x\[j\]| from `x`, which ends at the minimum, with exact zeros.
    ///
    /// # Errors
    /// Those of the objective.
    ///
    /// # Source
    /// Beck and Teboulle, *A fast iterative shrinkage-thresholding algorithm* (2009), FISTA with backtracking; restart by
    /// gradient: O'Donoghue and Candès, *Adaptive restart for accelerated gradient schemes* (2015).
    pub fn minimize(
        &self,
        x: &mut [f64],
        l1: &[f64],
        mut objective: impl FnMut(&[f64], &mut [f64]) -> Result<f64>,
    ) -> Result<Minimum> {
        let mut ahead = x.to_vec(); // the extrapolated point the gradient is taken at
        let (mut gradient, mut next_gradient) = (vec![0f64; x.len()], vec![0f64; x.len()]);
        let mut next = vec![0f64; x.len()];
        let (mut momentum, mut lipschitz) = (1f64, 1f64);
        let mut evaluations = 0;
        let mut value = f64::NAN;

        for iteration in 0..self.max_iterations {
            objective(&ahead, &mut gradient)?;
            evaluations += 1;
            // A step too careful for the local curvature is tried larger again.
            lipschitz *= 0.9;
            loop {
                for (j, next) in next.iter_mut().enumerate() {
                    *next = shrink(ahead[j] - gradient[j] / lipschitz, l1[j] / lipschitz);
                }
                value = objective(&next, &mut next_gradient)?;
                evaluations += 1;
                // The curvature along the step; gradients say it where values are too coarse.
                let (mut bend, mut square) = (0f64, 0f64);
                for (j, next) in next.iter().enumerate() {
                    let step = next - ahead[j];
                    bend += (next_gradient[j] - gradient[j]) * step;
                    square += step * step;
                }
                if bend <= lipschitz * square {
                    break;
                }
                lipschitz *= 2.0;
                if !lipschitz.is_finite() {
                    return Ok(Minimum { value, iterations: iteration, evaluations, end: End::Stalled });
                }
            }
            let residual = next.iter().zip(&ahead).fold(0f64, |most, (next, ahead)| most.max((lipschitz * (next - ahead)).abs()));
            let against: f64 = (0..x.len()).map(|j| (ahead[j] - next[j]) * (next[j] - x[j])).sum();
            let (weight, grown) = match against > 0.0 {
                true => (0.0, 1.0),
                false => {
                    let grown = 0.5 * (1.0 + (1.0 + 4.0 * momentum * momentum).sqrt());
                    ((momentum - 1.0) / grown, grown)
                }
            };
            momentum = grown;
            for j in 0..x.len() {
                ahead[j] = next[j] + weight * (next[j] - x[j]);
                x[j] = next[j];
            }
            if residual <= self.gradient_tolerance {
                return Ok(Minimum { value, iterations: iteration + 1, evaluations, end: End::Converged });
            }
        }
        Ok(Minimum { value, iterations: self.max_iterations, evaluations, end: End::Limit })
    }
}

/// The proximal operator of `by`·|x|: towards zero, and zero within.
fn shrink(x: f64, by: f64) -> f64 {
    x.signum() * (x.abs() - by).max(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_soft_thresholded_minimum_of_a_diagonal_quadratic() {
        let (scale, centre, l1) = ([1.0, 10.0, 100.0, 3.0], [2.0, -0.05, 0.3, -4.0], [0.5, 1.0, 2.0, 0.0]);
        let settings = Proximal { max_iterations: 5000, gradient_tolerance: 1e-10 };
        let mut x = vec![0.0; 4];
        let minimum = settings
            .minimize(&mut x, &l1, |x, g| {
                (0..4).for_each(|j| g[j] = scale[j] * (x[j] - centre[j]));
                Ok((0..4).map(|j| 0.5 * scale[j] * (x[j] - centre[j]).powi(2)).sum())
            })
            .unwrap();
        assert_eq!(minimum.end, End::Converged);
        for j in 0..4 {
            let wanted = shrink(centre[j], l1[j] / scale[j]);
            assert!((x[j] - wanted).abs() < 1e-8, "{j}: {} instead of {wanted}", x[j]);
        }
        assert_eq!(x[1], 0.0);
    }
}
