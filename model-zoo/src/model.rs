//! What every model can be asked, large or small, wherever it runs.

use std::path::Path;

use crate::container::Container;
use crate::data::Inputs;
use crate::random::Random;
use crate::{Error, Result};

/// The two sides of the comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// Transformers.
    Large,
    /// Everything else.
    Small,
}

/// What a report says of a model besides its quality and speed.
pub trait Describe {
    /// Which model this is, as in its file: `forest`, `gpt`, …
    fn family(&self) -> &'static str;
    /// Large or small.
    fn scale(&self) -> Scale;
    /// Numbers the model consists of: weights, or thresholds and leaves, or counts.
    fn params(&self) -> u64;
    /// How many of them are not zero.
    fn nonzero_params(&self) -> u64 {
        self.params()
    }
}

/// A model that chooses among classes.
pub trait Classify: Describe {
    /// Number of classes.
    fn classes(&self) -> usize;

    /// Probability of each class for each example, `[rows, classes]` row-major; rows sum to 1. Models without probabilities
    /// give a softmax of their scores, and say so.
    ///
    /// # Errors
    /// `Config` if the model reads another kind of input or another number of columns; `Kernel` from the device.
    fn predict_proba(&self, inputs: &Inputs) -> Result<Vec<f32>>;

    /// The most probable class of each example; of equals the first.
    ///
    /// # Errors
    /// As [`Classify::predict_proba`].
    fn predict(&self, inputs: &Inputs) -> Result<Vec<u32>> {
        let probabilities = self.predict_proba(inputs)?;
        Ok(probabilities.chunks_exact(self.classes().max(1)).map(most_probable).collect())
    }
}

/// Index of the largest value, of equals the first; 0 if there is none.
pub fn most_probable(probabilities: &[f32]) -> u32 {
    let best = |best: usize, (at, &value): (usize, &f32)| if value > probabilities[best] { at } else { best };
    probabilities.iter().enumerate().fold(0, best) as u32
}

/// Share of `predicted` that equals `labels`; 0 for no labels.
///
/// # Errors
/// `Config` if they are not equally many.
pub fn accuracy(predicted: &[u32], labels: &[u32]) -> Result<f64> {
    if predicted.len() != labels.len() {
        return Err(Error::config("labels", format!("{} predictions for {} labels", predicted.len(), labels.len())));
    }
    let right = predicted.iter().zip(labels).filter(|(predicted, label)| predicted == label).count();
    Ok(right as f64 / labels.len().max(1) as f64)
}

/// A model that predicts the next byte of a text.
pub trait LanguageModel: Describe {
    /// Mean of −log₂ p(byte | bytes before it) over `text`.
    ///
    /// # Errors
    /// `Config` for an empty text; `Kernel` from the device.
    fn bits_per_byte(&self, text: &[u8]) -> Result<f64>;

    /// Probability of each of the 256 bytes after `context`.
    ///
    /// # Errors
    /// `Kernel` from the device.
    fn next_distribution(&self, context: &[u8]) -> Result<Vec<f32>>;

    /// `count` bytes after `prompt`, drawn from the model's distribution; a function of `seed`.
    ///
    /// # Errors
    /// As [`LanguageModel::next_distribution`].
    fn generate(&self, prompt: &[u8], count: usize, seed: u64) -> Result<Vec<u8>> {
        let (mut text, mut random) = (prompt.to_vec(), Random::new(seed));
        for _ in 0..count {
            let distribution = self.next_distribution(&text)?;
            text.push(draw(&distribution, &mut random));
        }
        Ok(text.split_off(prompt.len()))
    }
}

/// A byte drawn from `distribution`, whose values need not sum to exactly 1.
pub fn draw(distribution: &[f32], random: &mut Random) -> u8 {
    let total: f64 = distribution.iter().map(|&p| f64::from(p)).sum();
    let mut left = random.unit() * total;
    let last = distribution.iter().rposition(|&p| p > 0.0).unwrap_or(0);
    let reached = |&p: &f32| {
        left -= f64::from(p);
        left < 0.0
    };
    distribution.iter().position(reached).unwrap_or(last) as u8
}

/// A model that can be kept in a file.
pub trait Store: Sized {
    /// The model as header and tensors.
    ///
    /// # Errors
    /// `Kernel` if its weights cannot be fetched from the device.
    fn to_container(&self) -> Result<Container>;

    /// The model in a container; whatever the file says is checked before it is used.
    ///
    /// # Errors
    /// `Format` if it is of another family or inconsistent.
    fn from_container(container: &Container) -> Result<Self>;

    /// Writes the model to a file, atomically.
    ///
    /// # Errors
    /// As [`Container::save`].
    fn save(&self, path: &Path) -> Result<()> {
        self.to_container()?.save(path)
    }

    /// Reads a model from a file.
    ///
    /// # Errors
    /// As [`Container::load`] and [`Store::from_container`].
    fn load(path: &Path) -> Result<Self> {
        Self::from_container(&Container::load(path)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_drawn_as_often_as_they_are_probable() {
        let (mut distribution, mut counts, mut random) = ([0f32; 256], [0u32; 256], Random::new(1));
        distribution[7..11].copy_from_slice(&[0.5, 0.0, 0.3, 0.2]);
        for _ in 0..100_000 {
            counts[usize::from(draw(&distribution, &mut random))] += 1;
        }
        // 5 standard deviations.
        let close = |byte: usize, p: f64| (f64::from(counts[byte]) - 1e5 * p).abs() < 5.0 * (1e5 * p * (1.0 - p)).sqrt();
        assert!(close(7, 0.5) && close(9, 0.3) && close(10, 0.2) && counts.iter().sum::<u32>() == 100_000);
        assert_eq!(counts[7] + counts[9] + counts[10], 100_000);
    }

    #[test]
    fn the_first_of_equals_wins_and_lengths_must_agree() {
        assert_eq!(most_probable(&[0.2, 0.4, 0.4]), 1);
        assert_eq!(accuracy(&[1, 2, 3, 4], &[1, 2, 0, 0]).unwrap(), 0.5);
        assert!(accuracy(&[1], &[]).is_err());
    }
}
