//! N-gram language model over bytes with interpolated modified Kneser-Ney smoothing: the small rival of the transformer.

use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};

use crate::container::{Container, Header, Tokenizer};
use crate::model::{Describe, LanguageModel, Scale, Store};
use crate::{Error, Result};

const FAMILY: &str = "ngram";
/// A whole n-gram fits in a u64.
const MAX_ORDER: usize = 8;
const BYTES: usize = 256;

/// Settings of an n-gram model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NgramConfig {
    /// Bytes of an n-gram, 1 to 8: the byte predicted and those before it that count.
    pub order: usize,
}

impl Default for NgramConfig {
    fn default() -> Self {
        Self { order: 5 }
    }
}

/// A fitted n-gram model. With h the last k bytes, h′ the last k − 1 and c the counts of level k,
/// `p(w | h) = (c(hw) − D(c(hw))) / c(h·) + γ(h) · p(w | h′)`, where `γ(h) = Σ_w D(c(hw)) / c(h·)` and D is one of three
/// discounts, for counts of 1, of 2 and of more. Counts are occurrences at the highest level and numbers of distinct
/// bytes before hw at the others; below the lowest stands 1/256. Before the text stand zero bytes.
///
/// # Source
/// Chen and Goodman, "An empirical study of smoothing techniques for language modeling", TR-10-98, Harvard, 1998, section 3.2;
/// Kneser and Ney, "Improved backing-off for m-gram language modeling", ICASSP 1995.
#[derive(Clone, Debug, PartialEq)]
pub struct Ngram {
    config: NgramConfig,
    /// Level k has contexts of k bytes.
    levels: Vec<Level>,
}

/// The counts after contexts of one length.
#[derive(Clone, Debug, PartialEq)]
struct Level {
    /// Ascending by key.
    contexts: Vec<Context>,
    /// Bytes seen after a context, ascending within it.
    bytes: Vec<u8>,
    /// Count of each of `bytes`, at least 1.
    counts: Vec<u32>,
    /// Discounts of counts 1, 2 and more.
    discounts: [f64; 3],
    /// Position of each key among `contexts`.
    index: FxHashMap<u64, u32>,
}

/// What is known of one context; together, because a lookup needs all of it.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Context {
    /// Its bytes as a big-endian number.
    key: u64,
    /// Its entries among the bytes and counts of the level.
    start: u32,
    end: u32,
    /// c(h·).
    total: f64,
    /// γ(h).
    share_below: f64,
}

impl Context {
    fn entries(&self) -> std::ops::Range<usize> {
        self.start as usize..self.end as usize
    }
}

impl Ngram {
    /// Counts the n-grams of `text`.
    ///
    /// # Errors
    /// `Config` for an order outside 1..=8, and for a text that is empty or has 2³² bytes or more.
    pub fn fit(text: &[u8], config: NgramConfig) -> Result<Self> {
        let order = config.order;
        check_order(order)?;
        if text.is_empty() || u32::try_from(text.len()).is_err() {
            return Err(Error::config("text", format!("{} bytes; 1 to 2³² − 1 are needed", text.len())));
        }
        let mut history = 0;
        let mut grams: Vec<u64> = text.iter().map(|&byte| push(&mut history, byte) & low_bytes(order)).collect();
        let mut levels = Vec::with_capacity(order);
        for context_bytes in (0..order).rev() {
            grams.sort_unstable();
            let runs = grams.chunk_by(|a, b| a == b).map(|run| (run[0], run.len() as u32));
            let level = Level::from_counts(runs);
            // A distinct gram counts once for the gram without its first byte.
            grams.dedup();
            grams.iter_mut().for_each(|gram| *gram &= low_bytes(context_bytes));
            levels.push(level);
        }
        levels.reverse();
        Ok(Self { config, levels })
    }

    /// Bytes of an n-gram.
    pub fn order(&self) -> usize {
        self.config.order
    }

    /// p(`byte` | `history`), where the low bytes of `history` are the last ones.
    fn probability(&self, history: u64, byte: u8) -> f64 {
        let mut probability = 1.0 / BYTES as f64;
        for (context_bytes, level) in self.levels.iter().enumerate() {
            // Where a context was never seen, no longer one was.
            let Some(context) = level.find(history & low_bytes(context_bytes)) else { break };
            probability *= context.share_below;
            if let Ok(at) = level.bytes[context.entries()].binary_search(&byte) {
                probability += level.discounted(level.counts[context.start as usize + at]) / context.total;
            }
        }
        probability
    }
}

impl Level {
    /// From ascending n-grams (context, then byte) with their counts.
    fn from_counts(grams: impl Iterator<Item = (u64, u32)>) -> Self {
        let (mut keys, mut ends, mut bytes, mut counts) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for (gram, count) in grams {
            if keys.last() != Some(&(gram >> 8)) {
                keys.push(gram >> 8);
                ends.push(0);
            }
            bytes.push(gram as u8);
            counts.push(count);
            if let Some(end) = ends.last_mut() {
                *end = bytes.len() as u32;
            }
        }
        Self::new(&keys, &ends, bytes, counts)
    }

    /// Adds what follows from the counts; the entries of context i are those from the end before to `ends[i]`.
    fn new(keys: &[u64], ends: &[u32], bytes: Vec<u8>, counts: Vec<u32>) -> Self {
        let index = keys.iter().zip(0..).map(|(&key, at)| (key, at)).collect();
        let mut level = Self { contexts: Vec::new(), discounts: discounts(&counts), bytes, counts, index };
        let starts = std::iter::once(&0).chain(ends);
        let context = |((&key, &start), &end): ((&u64, &u32), &u32)| {
            let counts = &level.counts[start as usize..end as usize];
            let total: f64 = counts.iter().map(|&count| f64::from(count)).sum();
            let kept: f64 = counts.iter().map(|&count| level.discounted(count)).sum();
            Context { key, start, end, total, share_below: (total - kept) / total }
        };
        level.contexts = keys.iter().zip(starts).zip(ends).map(context).collect();
        level
    }

    fn find(&self, key: u64) -> Option<&Context> {
        self.index.get(&key).map(|&at| &self.contexts[at as usize])
    }

    /// c − D(c) for c ≥ 1.
    fn discounted(&self, count: u32) -> f64 {
        f64::from(count) - self.discounts[count.clamp(1, 3) as usize - 1]
    }
}

/// D₁, D₂ and D₃₊ from the numbers n₁ … n₄ of n-grams that occur once to four times: with Y = n₁ / (n₁ + 2 n₂),
/// `Dᵢ = i − (i + 1) · Y · nᵢ₊₁ / nᵢ` (Chen and Goodman, equation 26). Where these are no discounts, as among the few
/// single bytes, ½, 1 and 1½.
fn discounts(counts: &[u32]) -> [f64; 3] {
    let mut counts_of_counts = [0f64; 4];
    for &count in counts {
        if let Some(number) = counts_of_counts.get_mut(count as usize - 1) {
            *number += 1.0;
        }
    }
    let [n1, n2, ..] = counts_of_counts;
    let y = n1 / (n1 + 2.0 * n2);
    let discount = |i: usize| i as f64 - (i + 1) as f64 * y * counts_of_counts[i] / counts_of_counts[i - 1];
    let estimated = [discount(1), discount(2), discount(3)];
    let is_discount = |(discount, limit): (&f64, f64)| *discount > 0.0 && *discount <= limit;
    if estimated.iter().zip([1.0, 2.0, 3.0]).all(is_discount) { estimated } else { [0.5, 1.0, 1.5] }
}

/// Appends `byte` to the last eight bytes and returns them.
fn push(history: &mut u64, byte: u8) -> u64 {
    *history = (*history << 8) | u64::from(byte);
    *history
}

/// Mask of the low `count` bytes, of up to eight.
fn low_bytes(count: usize) -> u64 {
    u64::MAX.checked_shr(64 - 8 * count as u32).unwrap_or(0)
}

fn check_order(order: usize) -> Result<()> {
    match order {
        1..=MAX_ORDER => Ok(()),
        _ => Err(Error::config("order", format!("must be 1 to {MAX_ORDER}, got {order}"))),
    }
}

impl Describe for Ngram {
    fn family(&self) -> &'static str {
        FAMILY
    }

    fn scale(&self) -> Scale {
        Scale::Small
    }

    /// Number of counts.
    fn params(&self) -> u64 {
        self.levels.iter().map(|level| level.counts.len() as u64).sum()
    }
}

impl LanguageModel for Ngram {
    fn bits_per_byte(&self, text: &[u8]) -> Result<f64> {
        if text.is_empty() {
            return Err(Error::config("text", "an empty text has no bits per byte"));
        }
        let mut history = 0;
        let mut bits = 0.0;
        for &byte in text {
            bits -= self.probability(history, byte).log2();
            push(&mut history, byte);
        }
        Ok(bits / text.len() as f64)
    }

    fn next_distribution(&self, context: &[u8]) -> Result<Vec<f32>> {
        let mut history = 0;
        context[context.len().saturating_sub(MAX_ORDER)..].iter().for_each(|&byte| {
            push(&mut history, byte);
        });
        let mut distribution = [1.0 / BYTES as f64; BYTES];
        for (context_bytes, level) in self.levels.iter().enumerate() {
            let Some(context) = level.find(history & low_bytes(context_bytes)) else { break };
            distribution.iter_mut().for_each(|p| *p *= context.share_below);
            for entry in context.entries() {
                distribution[usize::from(level.bytes[entry])] += level.discounted(level.counts[entry]) / context.total;
            }
        }
        Ok(distribution.iter().map(|&p| p as f32).collect())
    }
}

impl Store for Ngram {
    fn to_container(&self) -> Result<Container> {
        let mut header = Header::new(FAMILY, &self.config)?;
        header.tokenizer = Some(Tokenizer::Bytes);
        let mut container = Container::new(header);
        for (context_bytes, level) in self.levels.iter().enumerate() {
            let last = |context: &Context| context.key.to_be_bytes()[MAX_ORDER - context_bytes..].to_vec();
            let contexts: Vec<u8> = level.contexts.iter().flat_map(last).collect();
            let ends: Vec<u32> = level.contexts.iter().map(|context| context.end).collect();
            container.insert(&name(context_bytes, "contexts"), &[level.contexts.len(), context_bytes], &contexts)?;
            container.insert(&name(context_bytes, "ends"), &[ends.len()], &ends)?;
            container.insert(&name(context_bytes, "bytes"), &[level.bytes.len()], &level.bytes)?;
            container.insert(&name(context_bytes, "counts"), &[level.counts.len()], &level.counts)?;
        }
        Ok(container)
    }

    fn from_container(container: &Container) -> Result<Self> {
        let config: NgramConfig = container.config(FAMILY)?;
        check_order(config.order).map_err(|error| container.damage("config", error.to_string()))?;
        let levels = (0..config.order).map(|context_bytes| load_level(container, context_bytes)).collect::<Result<_>>()?;
        Ok(Self { config, levels })
    }
}

/// Name of a tensor of a level.
fn name(context_bytes: usize, part: &str) -> String {
    format!("level{context_bytes}.{part}")
}

/// Reads a level and checks what lookups rely on: order, ranges and positive counts.
fn load_level(container: &Container, context_bytes: usize) -> Result<Level> {
    let named = |part: &str| name(context_bytes, part);
    let ends: Vec<u32> = container.values(&named("ends"), &[None])?;
    let packed: Vec<u8> = container.values(&named("contexts"), &[Some(ends.len()), Some(context_bytes)])?;
    let bytes: Vec<u8> = container.values(&named("bytes"), &[None])?;
    let counts: Vec<u32> = container.values(&named("counts"), &[Some(bytes.len())])?;
    let unpack =
        |at: usize| packed[at * context_bytes..][..context_bytes].iter().fold(0, |key, &byte| key << 8 | u64::from(byte));
    let keys: Vec<u64> = (0..ends.len()).map(unpack).collect();
    let is_cover = ends.last().map_or(0, |&end| end as usize) == bytes.len() && ends.first() != Some(&0);
    if keys.windows(2).any(|pair| pair[0] >= pair[1]) {
        return Err(container.damage(&named("contexts"), "the contexts are not in ascending order"));
    }
    if !is_cover || ends.windows(2).any(|pair| pair[0] >= pair[1]) {
        return Err(container.damage(&named("ends"), format!("{} ends do not part {} counts", ends.len(), bytes.len())));
    }
    if counts.contains(&0) {
        return Err(container.damage(&named("counts"), "a count is 0"));
    }
    let level = Level::new(&keys, &ends, bytes, counts);
    if level.contexts.iter().any(|context| level.bytes[context.entries()].windows(2).any(|pair| pair[0] >= pair[1])) {
        return Err(container.damage(&named("bytes"), "the bytes after a context are not in ascending order"));
    }
    Ok(level)
}
