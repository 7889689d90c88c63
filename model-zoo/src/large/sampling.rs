//! Choosing the next token from logits.

use crate::random::Random;
use crate::{Error, Result};

/// How a token is drawn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampling {
    /// Divides the logits; 0 always takes the most probable token.
    pub temperature: f32,
    /// Only the `top_k` most probable tokens are considered; 0 is no limit.
    pub top_k: usize,
    /// Only the most probable tokens that together reach this probability are considered; 1 is no limit.
    ///
    /// Source: Holtzman et al., *The Curious Case of Neural Text Degeneration* (2020).
    pub top_p: f32,
}

impl Sampling {
    /// The most probable token, of equals the first.
    pub const GREEDY: Sampling = Sampling { temperature: 0.0, top_k: 0, top_p: 1.0 };
    /// From the model's own distribution.
    pub const PLAIN: Sampling = Sampling { temperature: 1.0, top_k: 0, top_p: 1.0 };
}

/// Draws tokens; a function of its seed and of the logits it is shown.
#[derive(Clone, Debug)]
pub struct Sampler {
    sampling: Sampling,
    random: Random,
    /// Probability and token, most probable first; kept to not allocate again.
    ranked: Vec<(f32, u32)>,
}

impl Sampler {
    /// A sampler.
    ///
    /// # Errors
    /// `Config` if the temperature is negative or not finite, or `top_p` is not above 0 and at most 1.
    pub fn new(sampling: Sampling, seed: u64) -> Result<Self> {
        let Sampling { temperature, top_p, .. } = sampling;
        if !(temperature.is_finite() && temperature >= 0.0) {
            return Err(Error::config("temperature", format!("must be finite and not negative, got {temperature}")));
        }
        if !(top_p > 0.0 && top_p <= 1.0) {
            return Err(Error::config("top_p", format!("must be above 0 and at most 1, got {top_p}")));
        }
        Ok(Sampler { sampling, random: Random::new(seed), ranked: Vec::new() })
    }

    /// A token drawn from the softmax of `logits`; 0 if there are none. Logits that are NaN are never drawn.
    pub fn sample(&mut self, logits: &[f32]) -> u32 {
        let Sampling { temperature, top_k, top_p } = self.sampling;
        self.ranked.clear();
        self.ranked.extend(logits.iter().copied().zip(0..).filter(|(logit, _)| !logit.is_nan()));
        let descending = |a: &(f32, u32), b: &(f32, u32)| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1));
        if temperature == 0.0 {
            return self.ranked.iter().min_by(|a, b| descending(a, b)).map_or(0, |&(_, token)| token);
        }
        self.ranked.sort_unstable_by(descending);
        if top_k > 0 {
            self.ranked.truncate(top_k);
        }
        let largest = self.ranked.first().map_or(0.0, |&(logit, _)| logit);
        let mut total = 0f64;
        for (value, _) in &mut self.ranked {
            // Equal infinities differ by NaN; they share the probability.
            *value = if *value == largest { 1.0 } else { ((*value - largest) / temperature).exp() };
            total += f64::from(*value);
        }
        let enough = total * f64::from(top_p);
        let mut kept = 0f64;
        let reaches = |&(p, _): &(f32, u32)| {
            kept += f64::from(p);
            kept >= enough
        };
        if let Some(last) = self.ranked.iter().position(reaches).filter(|_| top_p < 1.0) {
            self.ranked.truncate(last + 1);
            total = kept;
        }
        let mut left = self.random.unit() * total;
        for &(p, token) in &self.ranked {
            left -= f64::from(p);
            if left < 0.0 {
                return token;
            }
        }
        self.ranked.iter().rfind(|(p, _)| *p > 0.0).map_or(0, |&(_, token)| token)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(sampling: Sampling, logits: &[f32]) -> Vec<f64> {
        let mut sampler = Sampler::new(sampling, 7).unwrap();
        let mut counts = vec![0f64; logits.len()];
        (0..40_000).for_each(|_| counts[sampler.sample(logits) as usize] += 1.0 / 40_000.0);
        counts
    }

    #[test]
    fn frequencies_follow_the_probabilities() {
        let p = [0.5f64, 0.3, 0.15, 0.05];
        let logits = p.map(|p| p.ln() as f32);
        // 5 standard deviations of a share of 40,000 draws are at most 0.0125.
        let close = |got: Vec<f64>, wanted: [f64; 4]| got.iter().zip(wanted).all(|(got, wanted)| (got - wanted).abs() < 0.0125);
        assert!(close(counts(Sampling::PLAIN, &logits), p));
        assert!(close(counts(Sampling { top_k: 2, ..Sampling::PLAIN }, &logits), [0.625, 0.375, 0.0, 0.0]));
        assert!(close(counts(Sampling { top_p: 0.9, ..Sampling::PLAIN }, &logits), [0.5 / 0.95, 0.3 / 0.95, 0.15 / 0.95, 0.0]));
        let flat = p.map(|p| p.sqrt());
        let total: f64 = flat.iter().sum();
        assert!(close(counts(Sampling { temperature: 2.0, ..Sampling::PLAIN }, &logits), flat.map(|p| p / total)));
        assert_eq!(counts(Sampling::GREEDY, &logits)[0], counts(Sampling::GREEDY, &[0.0])[0]);
    }

    #[test]
    fn odd_logits_do_no_harm() {
        let mut sampler = Sampler::new(Sampling::PLAIN, 1).unwrap();
        assert_eq!(sampler.sample(&[]), 0);
        assert_eq!(sampler.sample(&[f32::NAN, 1.0, f32::NAN]), 1);
        assert_eq!(sampler.sample(&[0.0, f32::INFINITY, f32::NEG_INFINITY]), 1);
        assert!(Sampler::new(Sampling { temperature: -1.0, ..Sampling::PLAIN }, 1).is_err());
        assert!(Sampler::new(Sampling { top_p: 0.0, ..Sampling::PLAIN }, 1).is_err());
    }
}
