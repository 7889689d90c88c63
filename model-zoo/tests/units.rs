//! Units that are never read can go without a trace, and the model that stays is smaller in fact.

use kernels::weight::Values;
use kernels::{Backend, DType, Weight};
use kernels_cpu::CpuBackend;
use model_zoo::large::blocks::TransformerConfig;
use model_zoo::large::gpt::{Gpt, GptConfig};
use model_zoo::large::session::GptRunner;
use model_zoo::large::units::prune_units;
use model_zoo::model::LanguageModel;
use model_zoo::params::Params;
use model_zoo::weights::{Tensor, Weights};
use std::sync::Arc;

/// Sets to zero what reads the `idle` heads and one neuron of each `every`.
fn silence(config: &TransformerConfig, weights: &mut Weights, idle: &[usize], every: usize) {
    for layer in 0..config.layers {
        for (part, width) in [("attention_out", config.head_dim), ("down", 1)] {
            let name = format!("blocks.{layer}.{part}.weight");
            let Some(Tensor::Matrix(weight)) = weights.get(&name) else { panic!("no {name}") };
            let (n, k, mut values) = (weight.n(), weight.k(), weight.to_f32());
            for (at, value) in values.iter_mut().enumerate() {
                let unit = at % k / width;
                let is_idle = if width == 1 { unit % every == layer } else { idle.contains(&unit) };
                if is_idle {
                    *value = 0.0;
                }
            }
            weights.insert(&name, Tensor::Matrix(Weight::dense(n, k, Values::F32(values)).unwrap()));
        }
    }
}

fn distribution(on: &Arc<dyn Backend>, config: &GptConfig, weights: &Weights) -> Vec<f32> {
    let gpt = Arc::new(Gpt::new(config).unwrap());
    GptRunner::new(Arc::clone(on), gpt, weights, DType::F32).unwrap().next_distribution(b"let x = 5;").unwrap()
}

#[test]
fn units_that_are_never_read_go_without_a_trace() {
    let on: Arc<dyn Backend> = Arc::new(CpuBackend::new().unwrap());
    // One head of four, and the first two of four, which share keys and values.
    for (config, idle_heads, every) in
        [(GptConfig::gpt2(16, 64, 2, 4), vec![2], 4), (GptConfig::llama(16, 64, 2, 4, 2), vec![0, 1], 2)]
    {
        let keep = 1.0 - 1.0 / every as f64;
        let gpt = Gpt::new(&config).unwrap();
        let mut weights = Params::init(&on, gpt.plan(), 3).unwrap().export(&on).unwrap();
        silence(&config.transformer, &mut weights, &idle_heads, every);
        let (transformer, small) = prune_units(&config.transformer, &weights, keep).unwrap();
        assert_eq!(transformer.heads, 4 - idle_heads.len());
        assert_eq!(transformer.d_ff, (config.transformer.d_ff as f64 * keep) as usize);
        assert!(small.params() < weights.params());
        let small_config = GptConfig { transformer, head: config.head };
        let (before, after) = (distribution(&on, &config, &weights), distribution(&on, &small_config, &small));
        let close = |(a, b): (&f32, &f32)| (a - b).abs() <= 1e-4 * a.abs();
        assert!(before.iter().zip(&after).all(close), "{before:?} {after:?}");
    }
    let config = GptConfig::gpt2(16, 64, 2, 4);
    assert!(prune_units(&config.transformer, &Weights::default(), 0.75).is_err());
}
