//! The transformer all large models are made of: pre-norm blocks of attention and a two-layer network.
//!
//! x ← x + attention(norm(x)),  x ← x + mlp(norm(x)), and a last norm.

use super::kv_cache::KvCache;
use crate::autograd::{Tape, Var};
use crate::params::{Init, ParamId, Plan, Role, Vars};
use crate::{Error, Result};
use kernels::ops::{Act, Mask, Pairing, UnaryOp};
use serde::{Deserialize, Serialize};

/// Which normalization stands before each part of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Norm {
    /// To mean 0 and variance 1, with scale and shift (GPT-2).
    Layer,
    /// To root mean square 1, with scale (Llama).
    Rms,
}

/// The network of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mlp {
    /// down(gelu(up(x))) (GPT-2).
    Gelu,
    /// down(silu(gate(x)) · up(x)) (Llama; Shazeer, *GLU Variants Improve Transformer*, 2020).
    SwiGlu,
}

/// How a block knows where a token stands.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Positions {
    /// A learned vector per position, added to the input.
    Learned,
    /// Queries and keys are rotated by their position (RoPE).
    Rotary {
        /// Base of the angles, usually 10,000.
        theta: f32,
    },
}

/// Whether linear layers have biases.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Bias {
    /// They have (GPT-2).
    With,
    /// They have not (Llama).
    Without,
}

/// Size and kind of a transformer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TransformerConfig {
    /// Longest sequence, in tokens.
    pub context: usize,
    /// Width of the residual stream.
    pub d_model: usize,
    /// Number of blocks.
    pub layers: usize,
    /// Query heads.
    pub heads: usize,
    /// Heads of keys and values; a divisor of `heads`, equal to it for plain multi-head attention.
    pub kv_heads: usize,
    /// Elements of a head; usually `d_model / heads`, and still that of the whole once heads are pruned.
    pub head_dim: usize,
    /// Width inside the network of a block.
    pub d_ff: usize,
    /// Normalization.
    pub norm: Norm,
    /// Network of a block.
    pub mlp: Mlp,
    /// Biases of linear layers.
    pub bias: Bias,
    /// Positions.
    pub positions: Positions,
}

impl TransformerConfig {
    /// Whether such a transformer exists; the limits keep a damaged model file from asking for absurd amounts of memory.
    ///
    /// # Errors
    /// `Config` naming the setting.
    pub fn check(&self) -> Result<()> {
        let sizes = [
            ("context", self.context, 1 << 20),
            ("d_model", self.d_model, 1 << 16),
            ("layers", self.layers, 1 << 10),
            ("heads", self.heads, 1 << 16),
            ("kv_heads", self.kv_heads, 1 << 16),
            ("head_dim", self.head_dim, 1 << 16),
            ("d_ff", self.d_ff, 1 << 18),
        ];
        if let Some((name, got, limit)) = sizes.into_iter().find(|&(_, got, limit)| got == 0 || got > limit) {
            return Err(Error::config(name, format!("must be 1 to {limit}, got {got}")));
        }
        if self.heads * self.head_dim > 1 << 16 {
            let got = self.heads * self.head_dim;
            return Err(Error::config("head_dim", format!("heads must have at most {} elements in all, got {got}", 1 << 16)));
        }
        if !self.heads.is_multiple_of(self.kv_heads) {
            return Err(Error::config("kv_heads", format!("must divide heads = {}, got {}", self.heads, self.kv_heads)));
        }
        if let Positions::Rotary { theta } = self.positions {
            if !self.head_dim.is_multiple_of(2) {
                return Err(Error::config("head_dim", format!("must be even for rotary positions, got {}", self.head_dim)));
            }
            if !(theta.is_finite() && theta > 0.0) {
                return Err(Error::config("theta", format!("must be finite and positive, got {theta}")));
            }
        }
        Ok(())
    }
}

/// Added to variances and mean squares.
const EPS: f32 = 1e-5;

/// Standard deviation of initial weights: √(2 / (5·d_model)), "small init" of Nguyen and Salazar, *Transformers without Tears*
/// (2019).
pub(super) fn small_init(d_model: usize) -> Init {
    Init::Normal { std: (2.0 / (5.0 * d_model as f32)).sqrt() }
}

/// Parameters of a norm.
#[derive(Clone, Copy, Debug)]
struct NormIds {
    weight: ParamId,
    /// Layer norms only.
    bias: Option<ParamId>,
}

/// Parameters of a linear layer.
#[derive(Clone, Copy, Debug)]
pub(super) struct LinearIds {
    weight: ParamId,
    bias: Option<ParamId>,
}

impl LinearIds {
    pub fn declare(plan: &mut Plan, name: &str, [n, k]: [usize; 2], bias: Bias, init: Init) -> Self {
        let weight = plan.declare(format!("{name}.weight"), [n, k], Role::Matrix, init);
        let bias = (bias == Bias::With).then(|| plan.declare(format!("{name}.bias"), [n], Role::Vector, Init::Zeros));
        LinearIds { weight, bias }
    }

    pub fn forward(&self, tape: &mut Tape, vars: &Vars, x: &Var, act: Act) -> Result<Var> {
        let bias = self.bias.map(|bias| vars.dense(bias)).transpose()?;
        Ok(tape.linear(x, vars.matrix(self.weight), bias, act)?)
    }
}

/// Parameters of a block.
#[derive(Clone, Copy, Debug)]
struct Block {
    attention_norm: NormIds,
    /// Queries, keys and values in one product: [(H + 2·KvH)·D, C].
    qkv: LinearIds,
    attention_out: LinearIds,
    mlp_norm: NormIds,
    /// [F, C], or gate and up in one product: [2·F, C].
    up: LinearIds,
    down: LinearIds,
}

/// What a token may attend to.
#[derive(Clone, Copy, Debug)]
pub(super) enum Sight<'a> {
    /// Itself and the tokens before it.
    Before,
    /// All tokens of its sequence: the first `lengths[b]` where a u32 tensor [B] is given.
    All(Option<&'a Var>),
}

/// A stack of blocks with positions and a last norm.
#[derive(Clone, Debug)]
pub(super) struct Transformer {
    config: TransformerConfig,
    /// [context, C], for learned positions.
    positions: Option<ParamId>,
    blocks: Vec<Block>,
    norm: NormIds,
}

impl Transformer {
    /// Adds the parameters of a transformer to a plan.
    ///
    /// # Errors
    /// As [`TransformerConfig::check`].
    pub fn declare(plan: &mut Plan, config: &TransformerConfig) -> Result<Self> {
        config.check()?;
        let (d, init) = (config.d_model, small_init(config.d_model));
        // The sum over 2·layers branches keeps the variance of one (GPT-2).
        let Init::Normal { std } = init else {
            return Err(Error::config("init", "must be normal"));
        };
        let branch = Init::Normal { std: std / (2.0 * config.layers as f32).sqrt() };
        let positions =
            (config.positions == Positions::Learned).then(|| plan.declare("positions", [config.context, d], Role::Table, init));
        let norm = |plan: &mut Plan, name: &str| NormIds {
            weight: plan.declare(format!("{name}.weight"), [d], Role::Vector, Init::Ones),
            bias: (config.norm == Norm::Layer).then(|| plan.declare(format!("{name}.bias"), [d], Role::Vector, Init::Zeros)),
        };
        let ups = if config.mlp == Mlp::SwiGlu { 2 } else { 1 };
        let (heads, head_dim) = (config.heads, config.head_dim);
        let qkv = (heads + 2 * config.kv_heads) * head_dim;
        let mut blocks = Vec::with_capacity(config.layers);
        for layer in 0..config.layers {
            let name = |part: &str| format!("blocks.{layer}.{part}");
            blocks.push(Block {
                attention_norm: norm(plan, &name("attention_norm")),
                qkv: LinearIds::declare(plan, &name("qkv"), [qkv, d], config.bias, init),
                attention_out: LinearIds::declare(plan, &name("attention_out"), [d, heads * head_dim], config.bias, branch),
                mlp_norm: norm(plan, &name("mlp_norm")),
                up: LinearIds::declare(plan, &name("up"), [ups * config.d_ff, d], config.bias, init),
                down: LinearIds::declare(plan, &name("down"), [d, config.d_ff], config.bias, branch),
            });
        }
        let norm = norm(plan, "norm");
        Ok(Transformer { config: config.clone(), positions, blocks, norm })
    }

    /// Embedded tokens `x` [B, T, C] through all blocks and the last norm: [B, T, C]. With a cache, they follow the positions it
    /// holds, and it then holds theirs too.
    ///
    /// # Errors
    /// `Config` if the sequence is longer than the context; what the kernels report.
    pub fn forward(
        &self,
        tape: &mut Tape,
        vars: &Vars,
        x: &Var,
        sight: Sight<'_>,
        mut cache: Option<&mut KvCache>,
    ) -> Result<Var> {
        let seq = x.shape().get(1).copied().unwrap_or(0);
        let position = cache.as_ref().map_or(0, |cache| cache.len());
        if position + seq > self.config.context {
            let what = format!("{} tokens are too many, the model reads {}", position + seq, self.config.context);
            return Err(Error::config("context", what));
        }
        let mut x = x.clone();
        if let Some(positions) = self.positions {
            let here = tape.narrow(vars.dense(positions)?, 0, position, seq)?; // [T, C]
            x = tape.add(&x, &here)?;
        }
        for (layer, block) in self.blocks.iter().enumerate() {
            let h = self.normalize(tape, vars, block.attention_norm, &x)?;
            let cache = cache.as_deref_mut().map(|cache| (layer, cache));
            let h = self.attend(tape, vars, block, &h, sight, position, cache)?;
            x = tape.add(&x, &h)?;
            let h = self.normalize(tape, vars, block.mlp_norm, &x)?;
            let h = self.mlp(tape, vars, block, &h)?;
            x = tape.add(&x, &h)?;
        }
        if let Some(cache) = cache {
            cache.advance(seq);
        }
        self.normalize(tape, vars, self.norm, &x)
    }

    fn normalize(&self, tape: &mut Tape, vars: &Vars, ids: NormIds, x: &Var) -> Result<Var> {
        let weight = vars.dense(ids.weight)?;
        match self.config.norm {
            Norm::Layer => {
                let bias = ids.bias.map(|bias| vars.dense(bias)).transpose()?;
                Ok(tape.layer_norm(x, weight, bias, EPS)?)
            }
            Norm::Rms => Ok(tape.rms_norm(x, weight, EPS)?),
        }
    }

    #[expect(clippy::too_many_arguments, reason = "one call site; a struct would only rename them")]
    fn attend(
        &self,
        tape: &mut Tape,
        vars: &Vars,
        block: &Block,
        x: &Var, // [B, T, C]
        sight: Sight<'_>,
        position: usize,
        cache: Option<(usize, &mut KvCache)>,
    ) -> Result<Var> {
        let TransformerConfig { heads, kv_heads, head_dim, .. } = self.config;
        let &[batch, seq, _] = &x.shape()[..] else {
            return Err(Error::config("x", format!("must be [B, T, C], got {}", x.shape())));
        };
        let qkv = block.qkv.forward(tape, vars, x, Act::None)?;
        let qkv = tape.reshape(&qkv, [batch, seq, heads + 2 * kv_heads, head_dim])?;
        let v = tape.narrow(&qkv, 2, heads + kv_heads, kv_heads)?;
        let mut qk = tape.narrow(&qkv, 2, 0, heads + kv_heads)?;
        if let Positions::Rotary { theta } = self.config.positions {
            qk = tape.rope(&qk, position, theta, Pairing::Halves)?;
        }
        let q = tape.narrow(&qk, 2, 0, heads)?;
        let k = tape.narrow(&qk, 2, heads, kv_heads)?;
        let (k, v) = match cache {
            Some((layer, cache)) => cache.extend(tape, layer, &k, &v)?,
            None => (k, v),
        };
        let (mask, lengths) = match sight {
            Sight::Before => (Mask::Causal, None),
            Sight::All(lengths) => (Mask::None, lengths),
        };
        let out = tape.attention(&q, &k, &v, lengths, mask, 1.0 / (head_dim as f32).sqrt())?; // [B, T, H, D]
        let out = tape.reshape(&out, [batch, seq, heads * head_dim])?;
        block.attention_out.forward(tape, vars, &out, Act::None)
    }

    fn mlp(&self, tape: &mut Tape, vars: &Vars, block: &Block, x: &Var) -> Result<Var> {
        let hidden = match self.config.mlp {
            Mlp::Gelu => block.up.forward(tape, vars, x, Act::Gelu)?, // [B, T, F]
            Mlp::SwiGlu => {
                let both = block.up.forward(tape, vars, x, Act::None)?; // [B, T, 2F]
                let gate = tape.narrow(&both, 2, 0, self.config.d_ff)?;
                let up = tape.narrow(&both, 2, self.config.d_ff, self.config.d_ff)?;
                let gate = tape.unary(UnaryOp::Silu, &gate)?;
                tape.mul(&gate, &up)?
            }
        };
        block.down.forward(tape, vars, &hidden, Act::None)
    }
}
