//! A transformer that chooses among classes: the same blocks, seeing all tokens, averaged and read out by a linear layer.

use super::blocks::{Bias, LinearIds, Mlp, Norm, Positions, Sight, Transformer, TransformerConfig, small_init};
use super::gpt::VOCAB;
use super::words::word_ids;
use crate::autograd::{Tape, Target, Var};
use crate::data::{Inputs, Standardizer};
use crate::params::{ParamId, Plan, Role, Vars};
use crate::{Error, Result};
use kernels::DType;
use kernels::ops::Act;
use serde::{Deserialize, Serialize};

/// What a sequence of tokens is made from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Reading {
    /// Each byte of a text is a token; texts are cut off at the context.
    Bytes,
    /// Each word of a text is a token, one of `rows` by its hash; identifiers fall into their parts and signs stand alone, so
    /// that a context holds about four times the text that it would hold as bytes.
    Words {
        /// Rows of the table of words.
        rows: usize,
    },
    /// Rows of numbers, standardized and cut into patches of `width` columns (the last one padded with zeros), each of which is
    /// a token: the digits' 64 pixels are 8 rows of 8.
    Patches {
        /// Columns of a token.
        width: usize,
        /// Puts each column on mean 0 and variance 1.
        standardizer: Standardizer,
    },
}

/// Size and kind of a classifier.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClassifierConfig {
    /// The blocks.
    pub transformer: TransformerConfig,
    /// What it reads.
    pub reading: Reading,
    /// Number of classes.
    pub classes: usize,
}

impl ClassifierConfig {
    /// A classifier of rows of numbers in patches of `width` columns: pre-norm, GELU, learned positions.
    pub fn patches(
        standardizer: Standardizer,
        width: usize,
        classes: usize,
        d_model: usize,
        layers: usize,
        heads: usize,
    ) -> Self {
        let context = standardizer.mean.len().div_ceil(width.max(1));
        Self::new(Reading::Patches { width, standardizer }, context, classes, d_model, layers, heads)
    }

    /// A classifier of the first `context` bytes of texts: pre-norm, GELU, learned positions.
    pub fn bytes(context: usize, classes: usize, d_model: usize, layers: usize, heads: usize) -> Self {
        Self::new(Reading::Bytes, context, classes, d_model, layers, heads)
    }

    /// A classifier of the first `context` words of texts, hashed to `rows`: pre-norm, GELU, learned positions.
    pub fn words(rows: usize, context: usize, classes: usize, d_model: usize, layers: usize, heads: usize) -> Self {
        Self::new(Reading::Words { rows }, context, classes, d_model, layers, heads)
    }

    fn new(reading: Reading, context: usize, classes: usize, d_model: usize, layers: usize, heads: usize) -> Self {
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
        ClassifierConfig { transformer, reading, classes }
    }
}

/// How tokens become vectors.
#[derive(Clone, Copy, Debug)]
enum Embedding {
    /// A table of the bytes or words.
    Table(ParamId),
    /// A linear layer over the columns of a patch.
    Patches { layer: LinearIds, width: usize, columns: usize },
}

/// A batch of examples, laid out for a classifier.
#[derive(Clone, Debug)]
pub struct Batch {
    tokens: Tokens,
    batch: usize,
    seq: usize,
    /// Tokens of each example that count; none if all do.
    lengths: Option<Vec<u32>>,
}

#[derive(Clone, Debug)]
enum Tokens {
    /// Rows of the table: [B·T].
    Ids(Vec<u32>),
    /// [B·T, width].
    Patches(Vec<f32>),
}

/// A classifier without its weights: which parameters it has, and how they are used.
#[derive(Clone, Debug)]
pub struct Classifier {
    config: ClassifierConfig,
    plan: Plan,
    embedding: Embedding,
    transformer: Transformer,
    head: LinearIds,
}

impl Classifier {
    /// A classifier as configured.
    ///
    /// # Errors
    /// `Config` naming the setting that makes no sense.
    pub fn new(config: &ClassifierConfig) -> Result<Self> {
        let (mut plan, d) = (Plan::default(), config.transformer.d_model);
        config.transformer.check()?;
        if config.classes == 0 || config.classes > 1 << 20 {
            return Err(Error::config("classes", format!("must be 1 to {}, got {}", 1 << 20, config.classes)));
        }
        let embedding = match &config.reading {
            Reading::Bytes => Embedding::Table(plan.declare("embedding", [VOCAB, d], Role::Table, small_init(d))),
            Reading::Words { rows } => {
                if *rows == 0 || *rows > 1 << 20 {
                    return Err(Error::config("rows", format!("must be 1 to {}, got {rows}", 1 << 20)));
                }
                Embedding::Table(plan.declare("embedding", [*rows, d], Role::Table, small_init(d)))
            }
            Reading::Patches { width, standardizer } => {
                let (width, columns) = (*width, standardizer.mean.len());
                if width == 0 || columns == 0 || columns.div_ceil(width) > config.transformer.context {
                    let what =
                        format!("{columns} columns in patches of {width} do not fit {} tokens", config.transformer.context);
                    return Err(Error::config("width", what));
                }
                let layer = LinearIds::declare(&mut plan, "patch", [d, width], Bias::With, small_init(width));
                Embedding::Patches { layer, width, columns }
            }
        };
        let transformer = Transformer::declare(&mut plan, &config.transformer)?;
        let head = LinearIds::declare(&mut plan, "head", [config.classes, d], Bias::With, small_init(d));
        Ok(Classifier { config: config.clone(), plan, embedding, transformer, head })
    }

    /// The settings.
    pub fn config(&self) -> &ClassifierConfig {
        &self.config
    }

    /// The parameters.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Lays out the examples at `indices`: texts cut off at the context and padded to the longest of the batch, rows
    /// standardized and padded to whole patches.
    ///
    /// # Errors
    /// `Config` for another kind of input, another number of columns, a value that is not finite, or an index out of range.
    pub fn batch(&self, inputs: &Inputs, indices: &[usize]) -> Result<Batch> {
        if let Some(index) = indices.iter().find(|&&index| index >= inputs.len()) {
            return Err(Error::config("indices", format!("{index} is out of range, there are {} examples", inputs.len())));
        }
        match (&self.config.reading, self.embedding) {
            (Reading::Patches { standardizer, .. }, Embedding::Patches { width, columns, .. }) => {
                inputs.table()?;
                let Inputs::Table(mut table) = inputs.select(indices) else {
                    return Err(Error::config("inputs", "a table is needed"));
                };
                standardizer.apply(&mut table)?;
                if let Some(at) = table.values.iter().position(|value| !value.is_finite()) {
                    return Err(Error::config("inputs", format!("row {}, column {} is not finite", at / columns, at % columns)));
                }
                let seq = columns.div_ceil(width);
                let mut patches = vec![0f32; indices.len() * seq * width];
                for (row, patches) in patches.chunks_exact_mut(seq * width).enumerate() {
                    patches[..columns].copy_from_slice(table.row(row));
                }
                Ok(Batch { tokens: Tokens::Patches(patches), batch: indices.len(), seq, lengths: None })
            }
            (reading, _) => {
                let (texts, context) = (inputs.text()?, self.config.transformer.context);
                let read = |&index: &usize| -> Vec<u32> {
                    let text = &texts[index];
                    match reading {
                        Reading::Words { rows } => word_ids(text, *rows).take(context).collect(),
                        _ => text.iter().take(context).map(|&byte| u32::from(byte)).collect(),
                    }
                };
                let ids: Vec<Vec<u32>> = indices.iter().map(read).collect();
                let seq = ids.iter().map(Vec::len).max().unwrap_or(0).max(1);
                let mut tokens = vec![0u32; indices.len() * seq];
                for (ids, tokens) in ids.iter().zip(tokens.chunks_exact_mut(seq)) {
                    tokens[..ids.len()].copy_from_slice(ids);
                }
                // An empty text counts as one token, row 0: a mean over nothing has no value.
                let lengths = ids.iter().map(|ids| ids.len().max(1) as u32).collect();
                Ok(Batch { tokens: Tokens::Ids(tokens), batch: indices.len(), seq, lengths: Some(lengths) })
            }
        }
    }

    /// Logits [B, classes] of a batch.
    ///
    /// # Errors
    /// What the kernels report.
    pub fn logits(&self, tape: &mut Tape, vars: &Vars, inputs: &Batch, dtype: DType) -> Result<Var> {
        let Batch { tokens, batch, seq, lengths } = inputs;
        let (batch, seq, d) = (*batch, *seq, self.config.transformer.d_model);
        let x = match (tokens, self.embedding) {
            (Tokens::Ids(tokens), Embedding::Table(table)) => {
                let tokens = tape.upload(tokens, [batch * seq])?;
                tape.gather(vars.dense(table)?, &tokens)?
            }
            (Tokens::Patches(patches), Embedding::Patches { layer, width, .. }) => {
                let patches = tape.upload(patches, [batch * seq, width])?;
                let patches = tape.cast(&patches, dtype)?;
                layer.forward(tape, vars, &patches, Act::None)?
            }
            _ => return Err(Error::config("inputs", "the batch was laid out for another classifier")),
        };
        let x = tape.reshape(&x, [batch, seq, d])?;
        // Weights of the mean over the tokens that count.
        let share = |length: usize, at: usize| if at < length { 1.0 / length as f32 } else { 0.0 };
        let length = |row: usize| lengths.as_ref().map_or(seq, |lengths| lengths[row] as usize);
        let shares: Vec<f32> = (0..batch * seq).map(|at| share(length(at / seq), at % seq)).collect();
        let shares = tape.upload(&shares, [batch, 1, seq])?;
        let shares = tape.cast(&shares, dtype)?;
        let lengths = lengths.as_ref().map(|lengths| tape.upload(lengths, [batch])).transpose()?;
        let x = self.transformer.forward(tape, vars, &x, Sight::All(lengths.as_ref()), None)?;
        let pooled = tape.matmul(&shares, &x)?; // [B, 1, C]
        let pooled = tape.reshape(&pooled, [batch, d])?;
        self.head.forward(tape, vars, &pooled, Act::None)
    }

    /// Mean cross entropy of a batch, in nats. `scale` is 1 over the temperature, 1 for classes.
    ///
    /// # Errors
    /// As [`Classifier::logits`]; `Kernel(Shape)` if there is not a target per example.
    pub fn loss(
        &self,
        tape: &mut Tape,
        vars: &Vars,
        inputs: &Batch,
        target: Target<'_>,
        scale: f32,
        dtype: DType,
    ) -> Result<Var> {
        let logits = self.logits(tape, vars, inputs, dtype)?;
        let rows = tape.cross_entropy(&logits, target, scale)?;
        Ok(tape.mean(&rows)?)
    }
}

impl Batch {
    /// Number of examples.
    pub fn len(&self) -> usize {
        self.batch
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.batch == 0
    }
}
