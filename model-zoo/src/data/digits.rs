//! `digits`: 1,797 handwritten digits of 8 × 8 pixels, embedded.

use super::{Classification, Examples, Inputs, Provenance, Table, digest, split};
use crate::{Error, Result};

/// Written by `data/make_digits.py`: per image 64 pixels of 0 to 16, then the digit.
static IMAGES: &[u8] = include_bytes!("../../data/digits.u8");
const PIXELS: usize = 64;
const SEED: u64 = 42;

/// Handwritten digits: tell 0 to 9 from 64 pixels, each 0 (white) to 16 (black). 1,437 or so to fit on, 360 or so held out.
///
/// # Errors
/// None with the embedded file; `Config` and the like only if it were damaged at build time.
///
/// # Source
/// Alpaydin and Kaynak, UCI Machine Learning Repository, 1998, <https://doi.org/10.24432/C50P49>, CC BY 4.0.
pub fn digits() -> Result<Classification> {
    let labels: Vec<u32> = IMAGES.chunks_exact(PIXELS + 1).map(|image| u32::from(image[PIXELS])).collect();
    if labels.iter().any(|&label| label > 9) {
        return Err(Error::config("digits", "the embedded file is damaged"));
    }
    let (train, test) = split::stratified(&labels, 10, SEED);
    let pixels = IMAGES.chunks_exact(PIXELS + 1).flat_map(|image| &image[..PIXELS]);
    let table = Table::new(labels.len(), PIXELS, pixels.map(|&pixel| f32::from(pixel)).collect())?;
    let examples = Examples { inputs: Inputs::Table(table), labels };
    let (train, test) = (examples.select(&train), examples.select(&test));
    let provenance = Provenance {
        source: "Optical Recognition of Handwritten Digits, test set, as in scikit-learn 1.9.1".into(),
        licence: "CC BY 4.0; E. Alpaydin, C. Kaynak (1998), UCI Machine Learning Repository, doi:10.24432/C50P49".into(),
        crates: Vec::new(),
        digest: digest(&train, &test),
        split: format!("stratified {}/{} by seed {SEED}", 100 - split::TEST_PERCENT, split::TEST_PERCENT),
    };
    let columns = (0..PIXELS).map(|pixel| format!("pixel_{}_{}", pixel / 8, pixel % 8)).collect();
    let classes = (0..10).map(|digit| digit.to_string()).collect();
    Ok(Classification { name: "digits".into(), train, test, classes, columns, provenance })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_the_published_data_in_a_stratified_split() {
        let task = digits().unwrap();
        let (train, test) = (task.train.inputs.table().unwrap(), task.test.inputs.table().unwrap());
        assert_eq!(train.rows + test.rows, 1797);
        // sklearn.datasets.load_digits(): data.sum() and numpy.bincount(target).
        assert_eq!(train.values.iter().chain(&test.values).sum::<f32>(), 561_718.0);
        let mut counts = [0; 10];
        task.train.labels.iter().chain(&task.test.labels).for_each(|&label| counts[label as usize] += 1);
        assert_eq!(counts, [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]);
        assert!((355..=365).contains(&test.rows));
        assert_eq!(task.provenance.digest, digits().unwrap().provenance.digest);
    }
}
