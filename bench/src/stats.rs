//! Statistics of samples: quantiles, intervals and the tests that decide whether two rows may be ranked.

/// z of a two-sided 95 % interval.
const Z_95: f64 = 1.959_963_984_540_054;

/// A closed interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

impl Interval {
    /// Whether the two share a point. Rows whose intervals overlap are not ranked.
    pub fn overlaps(self, other: Interval) -> bool {
        self.low <= other.high && other.low <= self.high
    }

    /// Lies wholly below `other`.
    pub fn below(self, other: Interval) -> bool {
        self.high < other.low
    }
}

/// Figures of one set of samples.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Summary {
    /// Number of samples.
    pub samples: usize,
    /// 50th percentile.
    pub median: f64,
    /// 10th percentile.
    pub p10: f64,
    /// 90th percentile.
    pub p90: f64,
    /// 99th percentile, from 100 samples on.
    pub p99: Option<f64>,
    /// Standard deviation over mean.
    pub cv: f64,
    /// 95 % interval of the median.
    pub median_interval: Interval,
}

impl Summary {
    /// Summary of `samples`; `None` when empty or not finite.
    pub fn of(samples: &[f64]) -> Option<Self> {
        let sorted = sorted(samples)?;
        Some(Self {
            samples: sorted.len(),
            median: quantile(&sorted, 0.5)?,
            p10: quantile(&sorted, 0.1)?,
            p90: quantile(&sorted, 0.9)?,
            p99: if sorted.len() >= 100 { quantile(&sorted, 0.99) } else { None },
            cv: coefficient_of_variation(&sorted)?,
            median_interval: median_interval(&sorted)?,
        })
    }
}

/// Ascending copy; `None` when empty or when a value is not finite.
pub fn sorted(samples: &[f64]) -> Option<Vec<f64>> {
    if samples.is_empty() || samples.iter().any(|value| !value.is_finite()) {
        return None;
    }
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    Some(sorted)
}

/// Quantile `q` in 0..=1 of ascending samples, linear between order statistics (type 7 of Hyndman and Fan,
/// "Sample quantiles in statistical packages", 1996; the default of NumPy and R). `None` when empty.
pub fn quantile(sorted: &[f64], q: f64) -> Option<f64> {
    let position = q.clamp(0.0, 1.0) * sorted.len().checked_sub(1)? as f64;
    let below = *sorted.get(position.floor() as usize)?;
    let above = *sorted.get(position.ceil() as usize)?;
    Some(below + (above - below) * position.fract())
}

/// Sample standard deviation (n − 1) over mean; 0 for one sample, `None` when empty or the mean is 0.
pub fn coefficient_of_variation(samples: &[f64]) -> Option<f64> {
    let n = samples.len() as f64;
    let mean = samples.iter().sum::<f64>() / n;
    if samples.is_empty() || mean == 0.0 {
        return None;
    }
    let squares: f64 = samples.iter().map(|value| (value - mean) * (value - mean)).sum();
    Some((squares / (n - 1.0).max(1.0)).sqrt() / mean.abs())
}

/// Distribution-free 95 % interval of the median of ascending samples: order statistics by the binomial sign test
/// (Conover, "Practical Nonparametric Statistics", 3.2; normal approximation from 1,000 samples on). `None` when
/// empty. Under 6 samples no such interval reaches 95 %: all of the range is given.
pub fn median_interval(sorted: &[f64]) -> Option<Interval> {
    let last = sorted.len().checked_sub(1)?;
    let skipped = samples_outside(sorted.len());
    Some(Interval { low: *sorted.get(skipped)?, high: *sorted.get(last.checked_sub(skipped)?)? })
}

/// How many samples at either end an interval of the median may leave out: the largest k with
/// P(fewer than k + 1 of n samples lie below the median) ≤ 2.5 %.
fn samples_outside(n: usize) -> usize {
    let count = n as f64;
    if n >= 1000 {
        return (count / 2.0 - Z_95 * count.sqrt() / 2.0).floor() as usize;
    }
    let mut probability = 0.5f64.powi(n as i32);
    let mut cumulative = probability;
    let mut below = 0;
    while cumulative <= 0.025 {
        probability *= (n - below) as f64 / (below + 1) as f64;
        cumulative += probability;
        below += 1;
    }
    below.saturating_sub(1)
}

/// 95 % Wilson score interval of a share (Wilson, "Probable inference", 1927):
/// (p + z²/2n ± z·√(p(1−p)/n + z²/4n²)) / (1 + z²/n). `None` when `n` is 0 or `successes > n`.
pub fn wilson(successes: u64, n: u64) -> Option<Interval> {
    if n == 0 || successes > n {
        return None;
    }
    let (trials, z2) = (n as f64, Z_95 * Z_95);
    let share = successes as f64 / trials;
    let centre = share + z2 / (2.0 * trials);
    let reach = Z_95 * (share * (1.0 - share) / trials + z2 / (4.0 * trials * trials)).sqrt();
    let scale = 1.0 + z2 / trials;
    // The interval contains the share; at 0 and n the formula lands on it but for rounding.
    Some(Interval { low: ((centre - reach) / scale).clamp(0.0, share), high: ((centre + reach) / scale).clamp(share, 1.0) })
}

/// 95 % percentile-bootstrap interval of Σ numerator / Σ denominator over independent units (Efron and
/// Tibshirani, "An Introduction to the Bootstrap", 1993, ch. 13): for bits per byte, units are held-out
/// documents or windows and a pair is (bits, bytes). Same seed, same interval. `None` without units, without a
/// positive denominator, or for values that are not finite.
pub fn bootstrap_ratio(units: &[(f64, f64)], resamples: usize, seed: u64) -> Option<Interval> {
    let bad = |&(numerator, denominator): &(f64, f64)| !numerator.is_finite() || !denominator.is_finite() || denominator <= 0.0;
    if units.is_empty() || resamples == 0 || units.iter().any(bad) {
        return None;
    }
    let mut random = Random::new(seed);
    let mut ratios = Vec::with_capacity(resamples);
    for _ in 0..resamples {
        let (mut numerators, mut denominators) = (0.0, 0.0);
        for _ in units {
            if let Some((numerator, denominator)) = units.get(random.below(units.len())) {
                numerators += numerator;
                denominators += denominator;
            }
        }
        ratios.push(numerators / denominators);
    }
    ratios.sort_by(f64::total_cmp);
    Some(Interval { low: quantile(&ratios, 0.025)?, high: quantile(&ratios, 0.975)? })
}

/// Two-sided p of the Mann–Whitney rank test with tie correction and continuity correction (normal
/// approximation, good from about 8 samples a side): small when one side is shifted. 1 when a side is empty or
/// all values are equal.
pub fn mann_whitney(a: &[f64], b: &[f64]) -> f64 {
    let (m, n) = (a.len() as f64, b.len() as f64);
    if a.is_empty() || b.is_empty() {
        return 1.0;
    }
    let mut pooled: Vec<(f64, bool)> =
        a.iter().map(|value| (*value, true)).chain(b.iter().map(|value| (*value, false))).collect();
    pooled.sort_by(|x, y| x.0.total_cmp(&y.0));
    let (mut rank_sum, mut ties, mut before) = (0.0, 0.0, 0.0);
    for group in pooled.chunk_by(|x, y| x.0 == y.0) {
        let size = group.len() as f64;
        let rank = before + (size + 1.0) / 2.0;
        rank_sum += rank * group.iter().filter(|(_, from_a)| *from_a).count() as f64;
        ties += size * size * size - size;
        before += size;
    }
    let total = m + n;
    let variance = m * n / 12.0 * (total + 1.0 - ties / (total * (total - 1.0)).max(1.0));
    if variance <= 0.0 {
        return 1.0;
    }
    let u = rank_sum - m * (m + 1.0) / 2.0;
    let z = ((u - m * n / 2.0).abs() - 0.5).max(0.0) / variance.sqrt();
    (2.0 * normal_tail(z)).min(1.0)
}

/// P(Z > z) for z ≥ 0 (Abramowitz and Stegun 26.2.17, absolute error under 7.5e-8).
fn normal_tail(z: f64) -> f64 {
    const B: [f64; 5] = [0.319_381_530, -0.356_563_782, 1.781_477_937, -1.821_255_978, 1.330_274_429];
    let t = 1.0 / (1.0 + 0.231_641_9 * z);
    let polynomial = B.iter().rev().fold(0.0, |sum, b| (sum + b) * t);
    (-z * z / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt() * polynomial
}

/// SplitMix64 (Steele, Lea, Flood, "Fast splittable pseudorandom number generators", 2014): orders and
/// resamples that any seed replays.
#[derive(Clone, Debug)]
pub struct Random {
    state: u64,
}

impl Random {
    /// The stream of `seed`.
    pub fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// An index under `bound` (0 when `bound` is 0); the bias of the multiply-shift is under bound / 2⁶⁴.
    pub fn below(&mut self, bound: usize) -> usize {
        ((u128::from(self.next_u64()) * bound as u128) >> 64) as usize
    }

    /// A uniformly random order (Fisher and Yates).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn close(got: f64, wanted: f64, within: f64) {
        assert!((got - wanted).abs() <= within, "{got} is not {wanted} ± {within}");
    }

    #[test]
    fn quantiles_follow_type_7() {
        // numpy.quantile([15, 20, 35, 40, 50], [0, .1, .4, .5, .9, 1])
        let samples = [15.0, 20.0, 35.0, 40.0, 50.0];
        for (q, wanted) in [(0.0, 15.0), (0.1, 17.0), (0.4, 29.0), (0.5, 35.0), (0.9, 46.0), (1.0, 50.0)] {
            close(quantile(&samples, q).unwrap(), wanted, 1e-12);
        }
        assert_eq!(quantile(&[], 0.5), None);
        assert_eq!(Summary::of(&[1.0, f64::NAN]), None);
    }

    #[test]
    fn median_intervals_match_published_ranks() {
        // Conover, table A3 (binomial, p = 1/2): 1-based rank of the lower end for n samples.
        for (n, rank) in [(6usize, 1usize), (8, 1), (9, 2), (10, 2), (12, 3), (15, 4), (20, 6), (30, 10), (100, 40)] {
            let samples: Vec<f64> = (1..=n).map(|value| value as f64).collect();
            let interval = median_interval(&samples).unwrap();
            assert_eq!((interval.low, interval.high), (rank as f64, (n + 1 - rank) as f64), "n = {n}");
        }
        let samples: Vec<f64> = (0..10_000).map(f64::from).collect();
        let interval = median_interval(&samples).unwrap();
        assert!((interval.low - 4901.0).abs() < 3.0 && (interval.high - 5098.0).abs() < 3.0, "{interval:?}");
    }

    #[test]
    fn p99_needs_a_hundred_samples() {
        let samples: Vec<f64> = (1..=99).map(f64::from).collect();
        assert_eq!(Summary::of(&samples).unwrap().p99, None);
        let samples: Vec<f64> = (0..=100).map(f64::from).collect();
        close(Summary::of(&samples).unwrap().p99.unwrap(), 99.0, 1e-12);
    }

    #[test]
    fn wilson_matches_published_values() {
        // Newcombe, "Two-sided confidence intervals for the single proportion", 1998, table I, method 3.
        for (r, n, low, high) in
            [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)]
        {
            let interval = wilson(r, n).unwrap();
            close(interval.low, low, 5e-5);
            close(interval.high, high, 5e-5);
        }
        assert_eq!((wilson(1, 0), wilson(3, 2)), (None, None));
    }

    #[test]
    fn coefficient_of_variation_by_hand() {
        // mean 5, squared deviations 32, n − 1 = 7
        close(coefficient_of_variation(&[2., 4., 4., 4., 5., 5., 7., 9.]).unwrap(), (32f64 / 7.0).sqrt() / 5.0, 1e-12);
    }

    #[test]
    fn rank_test_matches_the_published_example() {
        // The worked example in the documentation of scipy.stats.mannwhitneyu, method="asymptotic".
        let a = [19.0, 22.0, 16.0, 29.0, 24.0];
        let b = [20.0, 11.0, 17.0, 12.0];
        close(mann_whitney(&a, &b), 0.111_346_886_53, 1e-7);
        assert_eq!(mann_whitney(&[1.0; 9], &[1.0; 9]), 1.0);
    }

    #[test]
    fn bootstrap_covers_the_truth_about_as_often_as_it_says() {
        let mut random = Random::new(7);
        let covered = (0..200)
            .filter(|round| {
                // Bits over 50 windows of 100 bytes, uniform in 100..300: the true ratio is 2.
                let units: Vec<(f64, f64)> =
                    (0..50).map(|_| (100.0 + 200.0 * (random.next_u64() as f64 / u64::MAX as f64), 100.0)).collect();
                let interval = bootstrap_ratio(&units, 400, *round).unwrap();
                interval.low <= 2.0 && 2.0 <= interval.high
            })
            .count();
        assert!((176..=199).contains(&covered), "{covered} of 200 intervals cover, about 190 should");
    }

    #[test]
    fn bootstrap_replays_its_seed() {
        let units = [(3.0, 1.0), (5.0, 2.0), (1.0, 4.0)];
        assert_eq!(bootstrap_ratio(&units, 100, 1), bootstrap_ratio(&units, 100, 1));
        assert_ne!(bootstrap_ratio(&units, 100, 1), bootstrap_ratio(&units, 100, 2));
        assert_eq!(bootstrap_ratio(&[(1.0, 0.0)], 100, 1), None);
    }

    proptest! {
        #[test]
        fn intervals_contain_their_estimates(successes in 0u64..500, extra in 0u64..500, samples in prop::collection::vec(0.0f64..1e6, 1..60)) {
            let n = successes + extra;
            if let Some(interval) = wilson(successes, n) {
                let share = successes as f64 / n as f64;
                prop_assert!(interval.low <= share && share <= interval.high);
            }
            let samples = sorted(&samples).unwrap();
            let (median, interval) = (quantile(&samples, 0.5).unwrap(), median_interval(&samples).unwrap());
            prop_assert!(interval.low <= median && median <= interval.high);
        }

        #[test]
        fn shuffle_keeps_every_item(seed: u64, count in 0usize..40) {
            let mut items: Vec<usize> = (0..count).collect();
            Random::new(seed).shuffle(&mut items);
            items.sort_unstable();
            prop_assert_eq!(items, (0..count).collect::<Vec<_>>());
        }
    }
}
