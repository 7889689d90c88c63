//! A GPT-style decoder over bytes: predicts the next of 256 bytes from those before it.

use super::blocks::{Bias, LinearIds, Mlp, Norm, Positions, Sight, Transformer, TransformerConfig, small_init};
use super::kv_cache::KvCache;
use crate::autograd::{Tape, Target, Var};
use crate::params::{ParamId, Plan, Role, Vars};
use crate::{Error, Result};
use kernels::ops::Act;
use serde::{Deserialize, Serialize};

/// Number of tokens: the byte values.
pub const VOCAB: usize = 256;

/// What turns the last layer into logits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Head {
    /// The embedding table itself (GPT-2).
    Tied,
    /// A matrix of its own (Llama).
    Untied,
}

/// Size and kind of a decoder.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GptConfig {
    /// The blocks.
    pub transformer: TransformerConfig,
    /// Output matrix.
    pub head: Head,
}

impl GptConfig {
    /// GPT-2's choices: layer norm, GELU, biases, learned positions, a tied head.
    pub fn gpt2(context: usize, d_model: usize, layers: usize, heads: usize) -> Self {
        let transformer = TransformerConfig {
            context,
            d_model,
            layers,
            heads,
            kv_heads: heads,
            head_dim: d_model / heads.max(1),
            d_ff: 4 * d_model,
            norm: Norm::Layer,
            mlp: Mlp::Gelu,
            bias: Bias::With,
            positions: Positions::Learned,
        };
        GptConfig { transformer, head: Head::Tied }
    }
}

/// Which positions get logits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scored {
    /// Every one.
    All,
    /// The last of each sequence.
    Last,
}

/// A decoder without its weights: which parameters it has, and how they are used.
#[derive(Clone, Debug)]
pub struct Gpt {
    config: GptConfig,
    plan: Plan,
    embedding: ParamId,
    transformer: Transformer,
    head: Option<LinearIds>,
}

impl Gpt {
    /// A decoder as configured.
    ///
    /// # Errors
    /// As [`TransformerConfig::check`].
    pub fn new(config: &GptConfig) -> Result<Self> {
        let (mut plan, d) = (Plan::default(), config.transformer.d_model);
        let embedding = plan.declare("embedding", [VOCAB, d], Role::Table, small_init(d.max(1)));
        let transformer = Transformer::declare(&mut plan, &config.transformer)?;
        let head = (config.head == Head::Untied)
            .then(|| LinearIds::declare(&mut plan, "head", [VOCAB, d], Bias::Without, small_init(d)));
        Ok(Gpt { config: config.clone(), plan, embedding, transformer, head })
    }

    /// The settings.
    pub fn config(&self) -> &GptConfig {
        &self.config
    }

    /// The parameters.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Logits of the next byte after each scored position of `batch` sequences of equal length, `tokens` [B·T], u32:
    /// [B·T, 256], or [B, 256] for [`Scored::Last`].
    ///
    /// # Errors
    /// `Config` if the tokens are not a multiple of `batch` or more than the context; what the kernels report.
    pub fn logits(
        &self,
        tape: &mut Tape,
        vars: &Vars,
        tokens: &Var,
        batch: usize,
        scored: Scored,
        cache: Option<&mut KvCache>,
    ) -> Result<Var> {
        let (count, d) = (tokens.layout().numel(), self.config.transformer.d_model);
        let seq = count.checked_div(batch).filter(|seq| seq * batch == count && *seq > 0);
        let seq = seq.ok_or_else(|| Error::config("tokens", format!("{count} tokens are not {batch} equal sequences")))?;
        let table = vars.dense(self.embedding)?;
        let x = tape.gather(table, tokens)?;
        let x = tape.reshape(&x, [batch, seq, d])?;
        let mut x = self.transformer.forward(tape, vars, &x, Sight::Before, cache)?;
        let rows = match scored {
            Scored::All => batch * seq,
            Scored::Last => {
                x = tape.narrow(&x, 1, seq - 1, 1)?; // [B, 1, C]
                x = tape.contiguous(&x)?;
                batch
            }
        };
        let x = tape.reshape(&x, [rows, d])?;
        match &self.head {
            Some(head) => head.forward(tape, vars, &x, Act::None),
            None => Ok(tape.linear(&x, table, None, Act::None)?),
        }
    }

    /// Mean cross entropy, in nats, of `targets` given `tokens`, both [B·T] in `batch` sequences; a target of `u32::MAX` does not
    /// count towards the loss but does towards the mean.
    ///
    /// # Errors
    /// As [`Gpt::logits`]; `Kernel(Index)` for a token or target that is no byte.
    pub fn loss(&self, tape: &mut Tape, vars: &Vars, tokens: &[u32], targets: &[u32], batch: usize) -> Result<Var> {
        let tokens = tape.upload(tokens, [tokens.len()])?;
        let targets = tape.upload(targets, [targets.len()])?;
        let logits = self.logits(tape, vars, &tokens, batch, Scored::All, None)?;
        let rows = tape.cross_entropy(&logits, Target::Class(&targets), 1.0)?;
        Ok(tape.mean(&rows)?)
    }
}
