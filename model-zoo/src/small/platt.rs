//! Platt's calibration: a sigmoid from scores to probabilities.

/// (a, b) of p = 1 / (1 + exp(a·score + b)) of greatest likelihood for `scores` whose truth is `is_positive`, with Platt's
/// regularised targets. Without rows of both kinds the slope is what the targets alone support.
///
/// # Source
/// Lin, Lin and Weng, *A note on Platt's probabilistic outputs for support vector machines* (2007), the algorithm of its
/// appendix: Newton's method with backtracking.
pub(super) fn fit(scores: &[f64], is_positive: impl Fn(usize) -> bool) -> [f64; 2] {
    let positives = (0..scores.len()).filter(|&row| is_positive(row)).count() as f64;
    let negatives = scores.len() as f64 - positives;
    let (high, low) = ((positives + 1.0) / (positives + 2.0), 1.0 / (negatives + 2.0));
    let target = |row: usize| if is_positive(row) { high } else { low };
    let loss = |a: f64, b: f64| -> f64 {
        let term = |(row, score): (usize, &f64)| {
            let z = a * score + b;
            // −t·log p − (1 − t)·log(1 − p) without overflow on either side.
            if z >= 0.0 { target(row) * z + (-z).exp().ln_1p() } else { (target(row) - 1.0) * z + z.exp().ln_1p() }
        };
        scores.iter().enumerate().map(term).sum()
    };

    let (mut a, mut b) = (0f64, ((negatives + 1.0) / (positives + 1.0)).ln());
    let mut value = loss(a, b);
    for _ in 0..100 {
        // The small ridge keeps the Hessian invertible when all scores are equal.
        let (mut h11, mut h22, mut h21, mut g1, mut g2) = (1e-12, 1e-12, 0.0, 0.0, 0.0);
        for (row, score) in scores.iter().enumerate() {
            let p = 1.0 / (1.0 + (a * score + b).exp());
            let (curvature, slope) = (p * (1.0 - p), target(row) - p);
            h11 += score * score * curvature;
            h22 += curvature;
            h21 += score * curvature;
            g1 += score * slope;
            g2 += slope;
        }
        if g1.abs() < 1e-6 && g2.abs() < 1e-6 {
            break;
        }
        let determinant = h11 * h22 - h21 * h21;
        let (da, db) = (-(h22 * g1 - h21 * g2) / determinant, -(h11 * g2 - h21 * g1) / determinant);
        let descent = g1 * da + g2 * db;
        let mut step = 1.0;
        let better = loop {
            let trial = loss(a + step * da, b + step * db);
            if trial < value + 1e-4 * step * descent {
                break Some(trial);
            }
            step *= 0.5;
            if step < 1e-10 {
                break None;
            }
        };
        let Some(better) = better else { break };
        (a, b, value) = (a + step * da, b + step * db, better);
    }
    [a, b]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    #[test]
    fn recovers_the_sigmoid_the_truth_was_drawn_from() {
        let mut random = Random::new(5);
        let scores: Vec<f64> = (0..20_000).map(|_| 6.0 * random.unit() - 3.0).collect();
        let truth: Vec<bool> = scores.iter().map(|s| random.unit() < 1.0 / (1.0 + (-1.7 * s + 0.4).exp())).collect();
        let [a, b] = fit(&scores, |row| truth[row]);
        assert!((a + 1.7).abs() < 0.08 && (b - 0.4).abs() < 0.08, "{a} {b}");
    }

    #[test]
    fn one_kind_only_or_nothing_gives_finite_numbers() {
        for (scores, positive) in [(vec![], true), (vec![1.0; 5], true), (vec![0.0, 1.0, 2.0], false)] {
            let [a, b] = fit(&scores, |_| positive);
            assert!(a.is_finite() && b.is_finite());
        }
    }
}
