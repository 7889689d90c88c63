//! Running a decoder: generation with a cache, and the quality of its predictions.

use super::gpt::{Gpt, Scored, VOCAB};
use super::kv_cache::KvCache;
use super::sampling::{Sampler, Sampling};
use crate::autograd::{Tape, Target};
use crate::data::Language;
use crate::model::{Describe, LanguageModel, Scale};
use crate::params::Vars;
use crate::weights::Weights;
use crate::{Error, Result};
use kernels::{Backend, DType};
use std::sync::Arc;

/// Windows that are evaluated at once.
const BATCH: usize = 8;

/// A decoder with its weights on a device, ready to run. Weights may be stored in any form.
#[derive(Clone)]
pub struct GptRunner {
    on: Arc<dyn Backend>,
    gpt: Arc<Gpt>,
    vars: Vars,
    dtype: DType,
    params: u64,
    nonzero_params: u64,
}

impl GptRunner {
    /// Puts weights on a device; activations are of `dtype`.
    ///
    /// # Errors
    /// As [`Plan::pack`](crate::params::Plan::pack).
    pub fn new(on: Arc<dyn Backend>, gpt: Arc<Gpt>, weights: &Weights, dtype: DType) -> Result<Self> {
        let vars = gpt.plan().pack(&on, weights, dtype)?;
        Ok(GptRunner { on, gpt, vars, dtype, params: weights.params(), nonzero_params: weights.nonzero_params() })
    }

    /// The model.
    pub fn gpt(&self) -> &Gpt {
        &self.gpt
    }

    /// Bytes of the weights on the device: what decoding one token must read.
    pub fn weight_bytes(&self) -> u64 {
        self.vars.size_bytes()
    }

    /// A new session, with nothing seen.
    ///
    /// # Errors
    /// `OutOfMemory`.
    pub fn session(&self) -> Result<Session> {
        let config = &self.gpt.config().transformer;
        let shape = [1, config.context, config.kv_heads, config.head_dim];
        let cache = KvCache::new(&*self.on, config.layers, shape, self.dtype)?;
        Ok(Session { runner: self.clone(), tape: Tape::inference(Arc::clone(&self.on)), cache, logits: vec![0.0; VOCAB] })
    }

    /// `count` bytes after `prompt`, drawn as `sampling` says. Once the context is full, the later half of it is read again and
    /// generation goes on from there.
    ///
    /// # Errors
    /// `Config` for impossible sampling settings; what the kernels report.
    pub fn generate_with(&self, prompt: &[u8], count: usize, sampling: Sampling, seed: u64) -> Result<Vec<u8>> {
        let (mut sampler, mut session) = (Sampler::new(sampling, seed)?, self.session()?);
        let context = self.gpt.config().transformer.context;
        let mut text = started(prompt);
        let mut logits = session.prefill(last(&text, context))?;
        for _ in 0..count {
            let token = sampler.sample(logits);
            text.push(token);
            logits = match session.len() < context {
                true => session.decode(token)?,
                false => {
                    session.clear();
                    session.prefill(last(&text, context.div_ceil(2)))?
                }
            };
        }
        Ok(text.split_off(prompt.len() + 1).into_iter().map(|token| token as u8).collect())
    }

    /// Sum of −ln p over `targets` [B·T], each given the tokens of its sequence up to its place; `u32::MAX` does not count.
    fn nats(&self, tape: &mut Tape, tokens: &[u32], targets: &[u32], batch: usize) -> Result<f64> {
        let tokens = tape.upload(tokens, [tokens.len()])?;
        let targets = tape.upload(targets, [targets.len()])?;
        let logits = self.gpt.logits(tape, &self.vars, &tokens, batch, Scored::All, None)?;
        let rows = tape.cross_entropy(&logits, Target::Class(&targets), 1.0)?;
        Ok(tape.download::<f32>(&rows)?.into_iter().map(f64::from).sum())
    }
}

/// The bytes of a text as tokens, behind the byte that ends every document: what comes first in a text follows that.
fn started(text: &[u8]) -> Vec<u32> {
    std::iter::once(Language::SEPARATOR).chain(text.iter().copied()).map(u32::from).collect()
}

/// The last `count` tokens.
fn last(tokens: &[u32], count: usize) -> &[u32] {
    &tokens[tokens.len().saturating_sub(count)..]
}

impl Describe for GptRunner {
    fn family(&self) -> &'static str {
        "gpt"
    }

    fn scale(&self) -> Scale {
        Scale::Large
    }

    fn params(&self) -> u64 {
        self.params
    }

    fn nonzero_params(&self) -> u64 {
        self.nonzero_params
    }
}

impl LanguageModel for GptRunner {
    /// In windows as long as the context, half of which overlap: every byte but the first ones is predicted from at least half a
    /// context. The first byte follows the byte that ends documents.
    fn bits_per_byte(&self, text: &[u8]) -> Result<f64> {
        if text.is_empty() {
            return Err(Error::config("text", "is empty"));
        }
        let tokens = started(text);
        let window = self.gpt.config().transformer.context.min(text.len());
        let stride = window.div_ceil(2);
        let mut tape = Tape::inference(Arc::clone(&self.on));
        let (mut nats, mut inputs, mut targets) = (0f64, Vec::new(), Vec::new());
        let mut scored = 0; // bytes predicted so far
        while scored < text.len() {
            let end = if scored == 0 { window } else { (scored + stride).min(text.len()) };
            let start = end - window;
            inputs.extend_from_slice(&tokens[start..end]);
            targets.extend((start..end).map(|at| if at < scored { u32::MAX } else { tokens[at + 1] }));
            scored = end;
            if inputs.len() == BATCH * window || scored == text.len() {
                nats += self.nats(&mut tape, &inputs, &targets, inputs.len() / window)?;
                inputs.clear();
                targets.clear();
            }
        }
        Ok(nats / std::f64::consts::LN_2 / text.len() as f64)
    }

    fn next_distribution(&self, context: &[u8]) -> Result<Vec<f32>> {
        let mut session = self.session()?;
        let tokens = started(context);
        let logits = session.prefill(last(&tokens, self.gpt.config().transformer.context))?;
        Ok(softmax(logits))
    }

    fn generate(&self, prompt: &[u8], count: usize, seed: u64) -> Result<Vec<u8>> {
        self.generate_with(prompt, count, Sampling::PLAIN, seed)
    }
}

/// Probabilities of logits.
pub(super) fn softmax(logits: &[f32]) -> Vec<f32> {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let exps: Vec<f32> = logits.iter().map(|logit| (logit - largest).exp()).collect();
    let total: f32 = exps.iter().sum();
    exps.into_iter().map(|exp| exp / total).collect()
}

/// One sequence being read or written, token by token. After the first token, [`Session::decode`] allocates nothing.
pub struct Session {
    runner: GptRunner,
    tape: Tape,
    cache: KvCache,
    /// Of the next token.
    logits: Vec<f32>,
}

impl Session {
    /// Tokens seen so far.
    pub fn len(&self) -> usize {
        self.cache.len()
    }

    /// Whether none has been seen.
    pub fn is_empty(&self) -> bool {
        self.cache.is_empty()
    }

    /// Forgets everything, keeping the memory.
    pub fn clear(&mut self) {
        self.cache.clear();
    }

    /// Reads tokens; logits \[256\] of what follows the last.
    ///
    /// # Errors
    /// `Config` for no tokens or more than the context has room for; `Kernel(Index)` for a token that is no byte.
    pub fn prefill(&mut self, tokens: &[u32]) -> Result<&[f32]> {
        let GptRunner { gpt, vars, .. } = &self.runner;
        let tokens = self.tape.upload(tokens, [tokens.len()])?;
        let logits = gpt.logits(&mut self.tape, vars, &tokens, 1, Scored::Last, Some(&mut self.cache))?;
        let logits = self.tape.cast(&logits, DType::F32)?;
        self.tape.download_into(&logits, &mut self.logits)?;
        Ok(&self.logits)
    }

    /// Reads one token; logits \[256\] of what follows it.
    ///
    /// # Errors
    /// As [`Session::prefill`].
    pub fn decode(&mut self, token: u32) -> Result<&[f32]> {
        self.prefill(&[token])
    }
}
