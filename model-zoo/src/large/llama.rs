//! Llama's choices of the same blocks.

use super::blocks::{Bias, Mlp, Norm, Positions, TransformerConfig};
use super::gpt::{GptConfig, Head};

impl GptConfig {
    /// Llama's choices: RMS norm, SwiGLU, no biases, rotary positions, grouped heads, an untied head. `d_ff` is ⅔ of 4·`d_model`,
    /// rounded up to a multiple of 32, so that three matrices cost what GPT-2's two do.
    ///
    /// # Source
    /// Touvron et al., *LLaMA* (2023); grouped heads as in *Llama 2* (2023).
    pub fn llama(context: usize, d_model: usize, layers: usize, heads: usize, kv_heads: usize) -> Self {
        let transformer = TransformerConfig {
            context,
            d_model,
            layers,
            heads,
            kv_heads,
            head_dim: d_model / heads.max(1),
            d_ff: (8 * d_model).div_ceil(3).next_multiple_of(32),
            norm: Norm::Rms,
            mlp: Mlp::SwiGlu,
            bias: Bias::Without,
            positions: Positions::Rotary { theta: 10_000.0 },
        };
        GptConfig { transformer, head: Head::Untied }
    }
}
