//! Limited-memory BFGS for smooth objectives of moderate size, on the host.

use std::collections::VecDeque;

use crate::Result;

/// Settings of [`Lbfgs::minimize`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Lbfgs {
    /// Pairs of steps and gradient changes kept.
    pub memory: usize,
    /// Most steps.
    pub max_iterations: u32,
    /// The largest absolute element of the gradient at which the search ends.
    pub gradient_tolerance: f64,
    /// Absolute error of the objective's values. Where they cannot show a decrease, the slopes decide.
    pub value_noise: f64,
}

/// How a search ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The gradient is within the tolerance.
    Converged,
    /// No step improves the objective by more than its noise.
    Stalled,
    /// The iterations are used up.
    Limit,
}

/// Where a search ended.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Minimum {
    /// Value of the objective.
    pub value: f64,
    /// Steps taken.
    pub iterations: u32,
    /// Evaluations of objective and gradient.
    pub evaluations: u32,
    /// Why it ended.
    pub end: End,
}

/// Sufficient decrease and curvature of the weak Wolfe conditions.
const DECREASE: f64 = 1e-4;
const CURVATURE: f64 = 0.9;
const MAX_TRIALS: u32 = 30;

impl Lbfgs {
    /// Minimises `objective` from `x`, which ends at the minimum; the objective writes its gradient and returns its value.
    ///
    /// # Errors
    /// Those of the objective.
    ///
    /// # Source
    /// Nocedal and Wright, *Numerical Optimization* (2006), algorithm 7.4; line search: Lewis and Overton, *Nonsmooth
    /// optimization via quasi-Newton methods* (2013), algorithm 2.6, with the approximate decrease of Hager and Zhang, *A new
    /// conjugate gradient method with guaranteed descent and an efficient line search* (2005).
    pub fn minimize(&self, x: &mut [f64], mut objective: impl FnMut(&[f64], &mut [f64]) -> Result<f64>) -> Result<Minimum> {
        let mut gradient = vec![0f64; x.len()];
        let mut value = objective(x, &mut gradient)?;
        let mut evaluations = 1;
        let mut pairs: VecDeque<Pair> = VecDeque::with_capacity(self.memory);
        let (mut trial, mut trial_gradient) = (vec![0f64; x.len()], vec![0f64; x.len()]);

        for iteration in 0..self.max_iterations {
            let done = |end, evaluations| Ok(Minimum { value, iterations: iteration, evaluations, end });
            if gradient.iter().fold(0f64, |most, g| most.max(g.abs())) <= self.gradient_tolerance {
                return done(End::Converged, evaluations);
            }
            let mut direction = descent(&gradient, &pairs);
            let mut slope = dot(&gradient, &direction);
            if slope >= 0.0 || !slope.is_finite() {
                pairs.clear();
                direction = gradient.iter().map(|g| -g).collect();
                slope = -dot(&gradient, &gradient);
            }
            // Without curvature information the first trial moves by one unit.
            let mut step = if pairs.is_empty() { 1.0 / dot(&gradient, &gradient).sqrt() } else { 1.0 };
            let (mut low, mut high) = (0f64, f64::INFINITY);
            let mut found = None;
            for _ in 0..MAX_TRIALS {
                trial.iter_mut().zip(&*x).zip(&direction).for_each(|((t, x), d)| *t = x + step * d);
                let trial_value = objective(&trial, &mut trial_gradient)?;
                evaluations += 1;
                let trial_slope = dot(&trial_gradient, &direction);
                let falls = trial_value <= value + DECREASE * step * slope
                    || (trial_value <= value + self.value_noise && trial_slope <= (2.0 * DECREASE - 1.0) * slope);
                if !falls {
                    high = step;
                } else if trial_slope < CURVATURE * slope {
                    low = step;
                } else {
                    found = Some(trial_value);
                    break;
                }
                step = if high.is_finite() { 0.5 * (low + high) } else { 2.0 * step };
            }
            let Some(trial_value) = found else {
                return done(End::Stalled, evaluations);
            };
            let s: Vec<f64> = direction.iter().map(|d| step * d).collect();
            let y: Vec<f64> = trial_gradient.iter().zip(&gradient).map(|(new, old)| new - old).collect();
            let curvature = dot(&s, &y);
            if curvature > 0.0 && self.memory > 0 {
                if pairs.len() == self.memory {
                    pairs.pop_front();
                }
                pairs.push_back(Pair { rho: 1.0 / curvature, s, y });
            }
            x.copy_from_slice(&trial);
            std::mem::swap(&mut gradient, &mut trial_gradient);
            value = trial_value;
        }
        Ok(Minimum { value, iterations: self.max_iterations, evaluations, end: End::Limit })
    }
}

/// A step, the change of the gradient along it, and 1 / (s · y).
struct Pair {
    s: Vec<f64>,
    y: Vec<f64>,
    rho: f64,
}

/// −H·gradient by the two-loop recursion.
fn descent(gradient: &[f64], pairs: &VecDeque<Pair>) -> Vec<f64> {
    let mut q: Vec<f64> = gradient.iter().map(|g| -g).collect();
    let mut alphas = Vec::with_capacity(pairs.len());
    for pair in pairs.iter().rev() {
        let alpha = pair.rho * dot(&pair.s, &q);
        add_scaled(-alpha, &pair.y, &mut q);
        alphas.push(alpha);
    }
    if let Some(last) = pairs.back() {
        let scale = 1.0 / (last.rho * dot(&last.y, &last.y));
        q.iter_mut().for_each(|q| *q *= scale);
    }
    for (pair, alpha) in pairs.iter().zip(alphas.iter().rev()) {
        let beta = pair.rho * dot(&pair.y, &q);
        add_scaled(alpha - beta, &pair.s, &mut q);
    }
    q
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn add_scaled(alpha: f64, x: &[f64], y: &mut [f64]) {
    y.iter_mut().zip(x).for_each(|(y, x)| *y += alpha * x);
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: Lbfgs = Lbfgs { memory: 10, max_iterations: 1000, gradient_tolerance: 1e-9, value_noise: 1e-15 };

    #[test]
    fn finds_the_minimum_of_rosenbrocks_valley() {
        let mut x = vec![-1.2, 1.0];
        let minimum = SETTINGS
            .minimize(&mut x, |x, g| {
                let (a, b) = (1.0 - x[0], x[1] - x[0] * x[0]);
                g[0] = -2.0 * a - 400.0 * x[0] * b;
                g[1] = 200.0 * b;
                Ok(a * a + 100.0 * b * b)
            })
            .unwrap();
        assert_eq!(minimum.end, End::Converged);
        assert!(minimum.iterations < 60, "{minimum:?}");
        assert!((x[0] - 1.0).abs() < 1e-8 && (x[1] - 1.0).abs() < 1e-8, "{x:?}");
    }

    #[test]
    fn takes_as_many_steps_as_scipy_on_an_ill_conditioned_quadratic() {
        let scale = |i: usize| 10f64.powf(4.0 * i as f64 / 29.0);
        let mut x = vec![1.0; 30];
        let minimum = SETTINGS
            .minimize(&mut x, |x, g| {
                g.iter_mut().enumerate().for_each(|(i, g)| *g = scale(i) * (x[i] - i as f64));
                Ok((0..30).map(|i| 0.5 * scale(i) * (x[i] - i as f64).powi(2)).sum())
            })
            .unwrap();
        assert_eq!(minimum.end, End::Converged);
        // scipy.optimize.minimize(method="L-BFGS-B", maxcor=10, gtol=1e-9, ftol=0) of SciPy 1.16 takes 949.
        assert!(minimum.iterations < 1050, "{minimum:?}");
        assert!(x.iter().enumerate().all(|(i, x)| (x - i as f64).abs() < 1e-8));
    }

    #[test]
    fn stops_where_values_are_not_numbers_and_passes_errors_on() {
        let mut x = vec![1.0];
        let minimum = SETTINGS.minimize(&mut x, |_, g| {
            g[0] = 1.0;
            Ok(f64::NAN)
        });
        assert_eq!(minimum.unwrap().end, End::Stalled);
        assert!(SETTINGS.minimize(&mut x, |_, _| Err(crate::Error::config("x", "refused"))).is_err());
    }
}
