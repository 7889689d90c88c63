//! A decoder of GPT-2's kind reading a prompt: logits of what comes after it.

use crate::{Outcome, Side, beside, on_host, timed, wait_for};
use burn::module::Module;
use burn::nn::{Embedding, EmbeddingConfig, LayerNorm, LayerNormConfig, Linear, LinearConfig};
use burn::tensor::ops::AttentionModuleOptions;
use burn::tensor::{Device, Int, Tensor, activation, module};
use kernels::{Backend, DType};
use kernels_wgpu::WgpuBackend;
use model_zoo::large::gpt::{Gpt, GptConfig};
use model_zoo::large::session::GptRunner;
use model_zoo::params::Params;
use std::sync::Arc;

const TOKENS: usize = 128;
const CONTEXT: usize = 256;
const WIDTH: usize = 384;
const LAYERS: usize = 6;
const HEADS: usize = 6;
const VOCABULARY: usize = 256;

#[derive(Module, Debug)]
struct Block {
    before_attention: LayerNorm,
    qkv: Linear,
    proj: Linear,
    before_mlp: LayerNorm,
    up: Linear,
    down: Linear,
}

#[derive(Module, Debug)]
struct Theirs {
    tokens: Embedding,
    positions: Embedding,
    blocks: Vec<Block>,
    norm: LayerNorm,
}

impl Block {
    fn new(device: &Device) -> Self {
        let norm = || LayerNormConfig::new(WIDTH).init(device);
        let linear = |k: usize, n: usize| LinearConfig::new(k, n).init(device);
        Block {
            before_attention: norm(),
            qkv: linear(WIDTH, 3 * WIDTH),
            proj: linear(WIDTH, WIDTH),
            before_mlp: norm(),
            up: linear(WIDTH, 4 * WIDTH),
            down: linear(4 * WIDTH, WIDTH),
        }
    }

    fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let qkv = self.qkv.forward(self.before_attention.forward(x.clone())).reshape([1, TOKENS, 3, HEADS, WIDTH / HEADS]);
        let part = |i: usize| qkv.clone().narrow(2, i, 1).reshape([1, TOKENS, HEADS, WIDTH / HEADS]).swap_dims(1, 2);
        let options = AttentionModuleOptions { scale: None, softcap: None, is_causal: true };
        let heads = module::attention(part(0), part(1), part(2), None, None, options);
        let x = x + self.proj.forward(heads.swap_dims(1, 2).reshape([1, TOKENS, WIDTH]));
        let inner = activation::gelu_approximate(self.up.forward(self.before_mlp.forward(x.clone())));
        x + self.down.forward(inner)
    }
}

impl Theirs {
    fn new(device: &Device) -> Self {
        let embedding = |rows: usize| EmbeddingConfig::new(rows, WIDTH).init(device);
        let blocks = (0..LAYERS).map(|_| Block::new(device)).collect();
        Theirs {
            tokens: embedding(VOCABULARY),
            positions: embedding(CONTEXT),
            blocks,
            norm: LayerNormConfig::new(WIDTH).init(device),
        }
    }

    fn logits(&self, tokens: Tensor<2, Int>) -> Tensor<2> {
        let positions = self.positions.weight.val().narrow(0, 0, TOKENS).reshape([1, TOKENS, WIDTH]);
        let x = self.blocks.iter().fold(self.tokens.forward(tokens) + positions, |x, block| block.forward(x));
        let last = self.norm.forward(x.narrow(1, TOKENS - 1, 1)).reshape([1, WIDTH]);
        last.matmul(self.tokens.weight.val().transpose())
    }
}

/// Both end with the logits on the host, as whoever asks for the next token wants them there.
pub fn forward(on: &Arc<WgpuBackend>, device: &Device) -> Outcome<f64> {
    let name = format!("prompt of {TOKENS} tokens, {LAYERS} × {WIDTH}");
    let on: Arc<dyn Backend> = on.clone();
    let gpt = Arc::new(Gpt::new(&GptConfig::gpt2(CONTEXT, WIDTH, LAYERS, HEADS))?);
    let weights = Params::init(&on, gpt.plan(), 42)?.export(&on)?;
    let runner = GptRunner::new(Arc::clone(&on), gpt, &weights, DType::F32)?;
    let mut session = runner.session()?;
    let prompt: Vec<u32> = (0..TOKENS as u32).map(|token| token * 31 % 256).collect();
    let theirs = Theirs::new(device);
    let ids: Vec<i32> = prompt.iter().map(|token| *token as i32).collect();
    let ids = Tensor::<1, Int>::from_ints(&ids[..], device).reshape([1, TOKENS]);
    let mut ours = || {
        session.clear();
        assert_eq!(session.prefill(&prompt)?.len(), VOCABULARY);
        Ok(())
    };
    let call = || {
        assert_eq!(on_host(theirs.logits(ids.clone()))?.len(), VOCABULARY);
        Ok(())
    };
    let ((), ours_s) = timed(&mut ours)?;
    // Its layers draw their weights when they are first asked for: not what its first call should count.
    theirs.num_params();
    device.sync().map_err(|error| format!("burn: {error:?}"))?;
    let ((), theirs_s) = timed(call)?;
    let ours = Side { first_s: ours_s, call: Box::new(ours), wait: Box::new(|| Ok(())) };
    beside(&name, ours, Side { first_s: theirs_s, call: Box::new(call), wait: wait_for(device) })
}
