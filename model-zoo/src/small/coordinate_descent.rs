//! Dual coordinate descent for one linear support vector machine.

use serde::{Deserialize, Serialize};

use super::rows::Rows;
use super::svm::SvmConfig;
use crate::random::Random;

/// What a margin ξ = max(0, 1 − y·(w·x + b)) costs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Margin {
    /// ξ.
    Hinge,
    /// ξ².
    #[default]
    SquaredHinge,
}

/// One two-class problem: minimise ½·(‖w‖² + b²) + c · Σᵢ margin(ξᵢ).
///
/// b is the weight of a constant input 1 and is penalised like the others.
pub(super) struct Problem<'a> {
    pub(super) rows: Rows<'a>,
    /// Σⱼ x[i, j]² + 1 of each row.
    squares: Vec<f64>,
    margin: Margin,
    c: f64,
    tolerance: f64,
    max_epochs: u32,
}

/// Where the descent ended.
pub(super) struct Solution {
    /// Weights of the columns, then b.
    pub(super) w: Vec<f64>,
    /// Whether the tolerance was reached.
    pub(super) converged: bool,
}

impl<'a> Problem<'a> {
    pub(super) fn new(rows: Rows<'a>, config: &SvmConfig) -> Self {
        let square = |row: usize| {
            let mut sum = 1f64;
            rows.for_each(row, |_, x| sum += f64::from(x) * f64::from(x));
            sum
        };
        let squares = (0..rows.len()).map(square).collect();
        Self { rows, squares, margin: config.margin, c: config.c, tolerance: config.tolerance, max_epochs: config.max_epochs }
    }

    /// Separates those of the rows `among` where `is_positive` from the others. The same bits for the same `random`.
    ///
    /// # Source
    /// Hsieh, Chang, Lin, Keerthi, Sundararajan, *A Dual Coordinate Descent Method for Large-scale Linear SVM* (ICML 2008),
    /// algorithm 3 (with shrinking).
    pub(super) fn solve(&self, among: &[usize], is_positive: impl Fn(usize) -> bool, mut random: Random) -> Solution {
        let (diagonal, upper) = match self.margin {
            Margin::Hinge => (0.0, self.c),
            Margin::SquaredHinge => (0.5 / self.c, f64::INFINITY),
        };
        let cols = self.rows.cols();
        let mut w = vec![0f64; cols + 1];
        let mut alpha = vec![0f64; self.rows.len()];
        let mut order = among.to_vec();
        let mut active = order.len();
        let (mut shrink_above, mut shrink_below) = (f64::INFINITY, f64::NEG_INFINITY);

        for _ in 0..self.max_epochs {
            random.shuffle(&mut order[..active]);
            let (mut largest, mut smallest) = (f64::NEG_INFINITY, f64::INFINITY);
            let mut at = 0;
            while at < active {
                let row = order[at];
                let y = if is_positive(row) { 1.0 } else { -1.0 };
                let gradient = y * (self.rows.dot(row, &w) + w[cols]) - 1.0 + diagonal * alpha[row];
                let (at_zero, at_upper) = (alpha[row] == 0.0, alpha[row] == upper);
                if (at_zero && gradient > shrink_above) || (at_upper && gradient < shrink_below) {
                    active -= 1;
                    order.swap(at, active);
                    continue;
                }
                let projected = match (at_zero, at_upper) {
                    (true, _) => gradient.min(0.0),
                    (_, true) => gradient.max(0.0),
                    _ => gradient,
                };
                largest = largest.max(projected);
                smallest = smallest.min(projected);
                if projected.abs() > 1e-12 {
                    let before = alpha[row];
                    alpha[row] = (before - gradient / (self.squares[row] + diagonal)).clamp(0.0, upper);
                    let step = (alpha[row] - before) * y;
                    self.rows.add_scaled(row, step, &mut w);
                    w[cols] += step;
                }
                at += 1;
            }
            if largest - smallest <= self.tolerance || active == 0 {
                if active == order.len() {
                    return Solution { w, converged: true };
                }
                // Converged on the shrunk problem: look at all rows again.
                active = order.len();
                (shrink_above, shrink_below) = (f64::INFINITY, f64::NEG_INFINITY);
            } else {
                shrink_above = if largest > 0.0 { largest } else { f64::INFINITY };
                shrink_below = if smallest < 0.0 { smallest } else { f64::NEG_INFINITY };
            }
        }
        Solution { w, converged: false }
    }
}
