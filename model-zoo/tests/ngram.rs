//! The n-gram model against the formulas written out slowly, and on real text.

use std::collections::{HashMap, HashSet};
use std::time::Instant;

use model_zoo::Error;
use model_zoo::container::{Container, Header};
use model_zoo::data::{Task, rust_lm};
use model_zoo::model::{Describe, LanguageModel, Store};
use model_zoo::random::Random;
use model_zoo::small::ngram::{Ngram, NgramConfig};

fn fit(text: &[u8], order: usize) -> Ngram {
    Ngram::fit(text, NgramConfig { order }).unwrap()
}

/// Modified Kneser-Ney by its definition, with maps of byte strings and sums over all bytes.
struct Direct {
    order: usize,
    /// Counts of grams of 1 to `order` bytes, and the discounts of that length.
    levels: Vec<(Counts, [f64; 3])>,
}

type Counts = HashMap<Vec<u8>, f64>;

impl Direct {
    fn fit(text: &[u8], order: usize) -> Self {
        let padded = [vec![0; order], text.to_vec()].concat();
        let grams = |length: usize| (order..padded.len()).map(move |end| (end + 1 - length, end + 1));
        let levels = (1..=order).map(|length| {
            let mut counts = Counts::new();
            if length == order {
                grams(length).for_each(|(start, end)| *counts.entry(padded[start..end].to_vec()).or_default() += 1.0);
            } else {
                let longer: HashSet<&[u8]> = grams(length + 1).map(|(start, end)| &padded[start..end]).collect();
                longer.iter().for_each(|gram| *counts.entry(gram[1..].to_vec()).or_default() += 1.0);
            }
            let n = [1.0, 2.0, 3.0, 4.0].map(|wanted| counts.values().filter(|&&count| count == wanted).count() as f64);
            let y = n[0] / (n[0] + 2.0 * n[1]);
            let d = [1.0 - 2.0 * y * n[1] / n[0], 2.0 - 3.0 * y * n[2] / n[1], 3.0 - 4.0 * y * n[3] / n[2]];
            let usable = (0..3).all(|i| d[i] > 0.0 && d[i] <= (i + 1) as f64);
            (counts, if usable { d } else { [0.5, 1.0, 1.5] })
        });
        Self { order, levels: levels.collect() }
    }

    fn probability(&self, context: &[u8], byte: u8) -> f64 {
        let padded = [vec![0; self.order - 1], context.to_vec()].concat();
        self.at_level(&padded[padded.len() + 1 - self.order..], byte)
    }

    fn at_level(&self, context: &[u8], byte: u8) -> f64 {
        let below = if context.is_empty() { 1.0 / 256.0 } else { self.at_level(&context[1..], byte) };
        let (counts, discounts) = &self.levels[context.len()];
        let count = |byte: u8| counts.get(&[context, &[byte]].concat()).copied().unwrap_or(0.0);
        let discount = |count: f64| if count == 0.0 { 0.0 } else { discounts[count.min(3.0) as usize - 1] };
        let total: f64 = (0..=255).map(count).sum();
        let taken: f64 = (0..=255).map(|byte| discount(count(byte))).sum();
        if total == 0.0 { below } else { (count(byte) - discount(count(byte))) / total + taken / total * below }
    }
}

#[test]
fn equals_the_definition() {
    let text = include_bytes!("../src/random.rs");
    for (length, order) in [(1, 1), (1, 3), (200, 1), (300, 2), (1200, 3), (1200, 5), (600, 8)] {
        let (model, direct) = (fit(&text[..length], order), Direct::fit(&text[..length], order));
        let seen = (0..length.min(40)).map(|end| &text[..end]);
        let contexts = seen.chain([b"".as_slice(), b"\xff\xfe", b"never seen", b"pub fn ", b"\0\0", &text[length - 1..length]]);
        for context in contexts {
            let distribution = model.next_distribution(context).unwrap();
            for byte in (0..=255u8).step_by(5).chain(text[..20].iter().copied()) {
                let (got, wanted) = (f64::from(distribution[usize::from(byte)]), direct.probability(context, byte));
                assert!((got - wanted).abs() <= 1e-6 * wanted, "{length} {order} {context:?} {byte}: {got} {wanted}");
            }
        }
    }
}

#[test]
fn bits_per_byte_is_the_mean_of_what_the_distributions_say() {
    let text = include_bytes!("../src/model.rs");
    let (train, test) = text.split_at(text.len() / 2);
    for order in [1, 4, 8] {
        let model = fit(train, order);
        let bits = |end: usize| -f64::from(model.next_distribution(&test[..end]).unwrap()[usize::from(test[end])]).log2();
        let mean = (0..test.len()).map(bits).sum::<f64>() / test.len() as f64;
        assert!((model.bits_per_byte(test).unwrap() - mean).abs() < 1e-6);
    }
}

#[test]
fn every_distribution_sums_to_one_and_is_positive() {
    let task = rust_lm().unwrap();
    let mut random = Random::new(9);
    for order in [1, 2, 5, 8] {
        let model = fit(&task.train[..200_000], order);
        for trial in 0..300 {
            let end = random.below(task.test.len());
            let context = match trial % 3 {
                0 => (0..random.below(12)).map(|_| random.below(256) as u8).collect(),
                _ => task.test[end.saturating_sub(random.below(12))..end].to_vec(),
            };
            let distribution = model.next_distribution(&context).unwrap();
            let sum: f64 = distribution.iter().map(|&p| f64::from(p)).sum();
            // 256 roundings to f32 of values that sum to 1.
            assert!((sum - 1.0).abs() < 1e-6 && distribution.iter().all(|&p| p > 0.0), "{sum}");
        }
    }
}

#[test]
fn longer_contexts_help_on_real_text_and_the_time_is_printed() {
    let Ok(Task::Language(task)) = Task::load("rust-lm", None, 42) else { panic!("a language task") };
    let bits = [1, 3, 5, 7].map(|order| {
        let start = Instant::now();
        let model = fit(&task.train, order);
        let fitted = start.elapsed();
        let start = Instant::now();
        let bits = model.bits_per_byte(&task.test).unwrap();
        let ns_per_byte = start.elapsed().as_nanos() as f64 / task.test.len() as f64;
        let file_bytes = model.to_container().unwrap().file_bytes().unwrap();
        println!(
            "order {order}: {bits:.4} bits per byte, fit {fitted:?}, {ns_per_byte:.0} ns per byte, {} counts, {file_bytes} bytes",
            model.params()
        );
        bits
    });
    assert!(bits[0] > 4.0 && bits[1] < bits[0] - 1.0 && bits[2] < bits[1] - 0.5 && bits[2] < 2.5, "{bits:?}");
}

#[test]
fn generation_follows_the_seed_and_the_text() {
    let model = fit(&b"abcabcabcabc".repeat(50), 3);
    let text = model.generate(b"ab", 300, 1).unwrap();
    assert_eq!(text, model.generate(b"ab", 300, 1).unwrap());
    assert_ne!(text, model.generate(b"ab", 300, 2).unwrap());
    let follows = text.windows(2).filter(|pair| [b"ab", b"bc", b"ca"].contains(&pair.first_chunk().unwrap())).count();
    assert!(follows > 280 && text.len() == 300, "{follows}");
}

#[test]
fn a_model_survives_its_file() {
    let text = include_bytes!("../src/random.rs");
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("text.safetensors");
    for order in [1, 5, 8] {
        let model = fit(text, order);
        model.save(&path).unwrap();
        assert_eq!(Ngram::load(&path).unwrap(), model);
    }
}

#[test]
fn bad_arguments_and_inconsistent_files_are_refused() {
    for (text, order) in [(b"text".as_slice(), 0), (b"text", 9), (b"", 3)] {
        assert!(matches!(Ngram::fit(text, NgramConfig { order }), Err(Error::Config { .. })));
    }
    assert!(matches!(fit(b"text", 2).bits_per_byte(b""), Err(Error::Config { .. })));
    let build = |order: usize, contexts: &[u8], ends: &[u32], bytes: &[u8], counts: &[u32]| {
        let mut container = Container::new(Header::new("ngram", &NgramConfig { order }).unwrap());
        container.insert("level0.contexts", &[1, 0], &[0u8; 0]).unwrap();
        container.insert("level0.ends", &[1], &[2u32]).unwrap();
        container.insert("level0.bytes", &[2], b"ab").unwrap();
        container.insert("level0.counts", &[2], &[1u32, 1]).unwrap();
        container.insert("level1.contexts", &[contexts.len(), 1], contexts).unwrap();
        container.insert("level1.ends", &[ends.len()], ends).unwrap();
        container.insert("level1.bytes", &[bytes.len()], bytes).unwrap();
        container.insert("level1.counts", &[counts.len()], counts).unwrap();
        Ngram::from_container(&container)
    };
    build(2, b"ab", &[2, 3], b"abc", &[1, 2, 3]).unwrap();
    for broken in [
        build(0, b"ab", &[2, 3], b"abc", &[1, 2, 3]),
        build(3, b"ab", &[2, 3], b"abc", &[1, 2, 3]),
        build(usize::MAX, b"ab", &[2, 3], b"abc", &[1, 2, 3]),
        build(2, b"ba", &[2, 3], b"abc", &[1, 2, 3]),
        build(2, b"aa", &[2, 3], b"abc", &[1, 2, 3]),
        build(2, b"a", &[2, 3], b"abc", &[1, 2, 3]),
        build(2, b"ab", &[2, 2], b"abc", &[1, 2, 3]),
        build(2, b"ab", &[3, 2], b"abc", &[1, 2, 3]),
        build(2, b"ab", &[0, 3], b"abc", &[1, 2, 3]),
        build(2, b"ab", &[2, 4], b"abc", &[1, 2, 3]),
        build(2, b"ab", &[2, 3], b"bac", &[1, 2, 3]),
        build(2, b"ab", &[2, 3], b"abc", &[1, 0, 3]),
        build(2, b"ab", &[2, 3], b"abc", &[1, 2]),
    ] {
        assert!(matches!(broken, Err(Error::Format { .. })));
    }
}
