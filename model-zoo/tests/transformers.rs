//! Whole transformers against golden values of an independent implementation in float64 (`golden/make_transformers.py`), and
//! what must hold between the ways of running one.
//!
//! A value here is the end of a few hundred roundings in f32, each at most 2⁻²⁴ of the intermediate values, which are of the size
//! of the results: `BOUND` = 300 · 2⁻²⁴ of the largest value of the same tensor.

use kernels::weight::Values;
use kernels::{Backend, DType, Op, Weight, ops};
use kernels_cpu::CpuBackend;
use model_zoo::autograd::{Gradients, Tape, Target, Var};
use model_zoo::data::{Inputs, Standardizer, Table};
use model_zoo::large::blocks::{Bias, Mlp, Norm, Positions, TransformerConfig};
use model_zoo::large::classifier::{Classifier, ClassifierConfig, Reading};
use model_zoo::large::classifier_runner::ClassifierRunner;
use model_zoo::large::gpt::{Gpt, GptConfig, Head, Scored, VOCAB};
use model_zoo::large::sampling::Sampling;
use model_zoo::large::session::GptRunner;
use model_zoo::model::{Classify, LanguageModel};
use model_zoo::params::{Params, Plan, Role, Vars};
use model_zoo::weights::{Tensor, Weights};
use safetensors::SafeTensors;
use std::sync::Arc;

const BOUND: f32 = 300.0 / (1u32 << 24) as f32;

fn cpu() -> Arc<dyn Backend> {
    Arc::new(CpuBackend::new().unwrap())
}

fn golden(name: &str) -> Vec<u8> {
    std::fs::read(format!("{}/tests/golden/{name}.safetensors", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

fn f32s(file: &SafeTensors<'_>, name: &str) -> Vec<f32> {
    bytemuck::pod_collect_to_vec(file.tensor(name).unwrap().data())
}

fn u32s(file: &SafeTensors<'_>, name: &str) -> Vec<u32> {
    bytemuck::pod_collect_to_vec(file.tensor(name).unwrap().data())
}

fn close(name: &str, got: &[f32], wanted: &[f32]) {
    assert_eq!(got.len(), wanted.len(), "{name}");
    let largest = wanted.iter().fold(1e-3f32, |largest, value| largest.max(value.abs()));
    for (at, (got, wanted)) in got.iter().zip(wanted).enumerate() {
        assert!((got - wanted).abs() <= BOUND * largest, "{name}[{at}]: {got} instead of {wanted}");
    }
}

/// The golden parameters, as a model would find them.
fn weights(file: &SafeTensors<'_>, plan: &Plan) -> Weights {
    let mut weights = Weights::default();
    for (_, declared) in plan.iter() {
        let values = Values::F32(f32s(file, &format!("param.{}", declared.name)));
        let tensor = match (declared.role, &declared.shape[..]) {
            (Role::Matrix, &[n, k]) => Tensor::Matrix(Weight::dense(n, k, values).unwrap()),
            _ => Tensor::Dense { shape: declared.shape.to_vec(), values },
        };
        weights.insert(&declared.name, tensor);
    }
    weights
}

fn compare_gradients(file: &SafeTensors<'_>, on: &Arc<dyn Backend>, params: &Params, vars: &Vars, gradients: &Gradients) {
    for (id, declared) in params.plan().iter() {
        let gradient = vars.gradient(gradients, id).unwrap_or_else(|| panic!("no gradient of {}", declared.name));
        let mut got = vec![0f32; gradient.shape().iter().product()];
        ops::Download::new(gradient.view().unwrap(), &mut got).run(&**on).unwrap();
        close(&declared.name, &got, &f32s(file, &format!("grad.{}", declared.name)));
    }
}

fn transformer(context: usize, kv_heads: usize) -> TransformerConfig {
    TransformerConfig {
        context,
        d_model: 8,
        layers: 2,
        heads: 2,
        kv_heads,
        head_dim: 4,
        d_ff: 24,
        norm: Norm::Layer,
        mlp: Mlp::Gelu,
        bias: Bias::With,
        positions: Positions::Learned,
    }
}

fn tiny(kind: &str) -> Gpt {
    let config = match kind {
        "gpt2" => GptConfig { transformer: transformer(8, 2), head: Head::Tied },
        _ => GptConfig {
            transformer: TransformerConfig {
                norm: Norm::Rms,
                mlp: Mlp::SwiGlu,
                bias: Bias::Without,
                positions: Positions::Rotary { theta: 10_000.0 },
                ..transformer(8, 1)
            },
            head: Head::Untied,
        },
    };
    Gpt::new(&config).unwrap()
}

#[test]
fn decoders_follow_the_golden_values() {
    for kind in ["gpt2", "llama"] {
        let (bytes, on, gpt) = (golden(kind), cpu(), tiny(kind));
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let params = Params::import(&on, gpt.plan(), &weights(&file, gpt.plan())).unwrap();
        let (inputs, targets) = (u32s(&file, "inputs"), u32s(&file, "targets"));
        let mut tape = Tape::new(Arc::clone(&on));
        let vars = params.record(&mut tape, DType::F32).unwrap();
        let tokens = tape.upload(&inputs, [inputs.len()]).unwrap();
        let logits = gpt.logits(&mut tape, &vars, &tokens, 2, Scored::All, None).unwrap();
        close("logits", &tape.download::<f32>(&logits).unwrap(), &f32s(&file, "logits"));
        let loss = gpt.loss(&mut tape, &vars, &inputs, &targets, 2).unwrap();
        close("loss", &tape.download::<f32>(&loss).unwrap(), &f32s(&file, "loss"));
        let gradients = tape.backward(&loss).unwrap();
        compare_gradients(&file, &on, &params, &vars, &gradients);
    }
}

#[test]
fn the_encoder_follows_the_golden_values() {
    let (bytes, on) = (golden("encoder"), cpu());
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let standardizer = Standardizer { mean: vec![0.0; 15], deviation: vec![1.0; 15] };
    let reading = Reading::Patches { width: 3, standardizer };
    let classifier = Classifier::new(&ClassifierConfig { transformer: transformer(5, 2), reading, classes: 3 }).unwrap();
    let weights = weights(&file, classifier.plan());
    let params = Params::import(&on, classifier.plan(), &weights).unwrap();
    let inputs = Inputs::Table(Table::new(2, 15, f32s(&file, "inputs")).unwrap());
    let batch = classifier.batch(&inputs, &[0, 1]).unwrap();
    let mut tape = Tape::new(Arc::clone(&on));
    let vars = params.record(&mut tape, DType::F32).unwrap();
    let class = tape.upload(&u32s(&file, "targets"), [2]).unwrap();
    let loss = classifier.loss(&mut tape, &vars, &batch, Target::Class(&class), 1.0, DType::F32).unwrap();
    close("loss", &tape.download::<f32>(&loss).unwrap(), &f32s(&file, "loss"));
    let gradients = tape.backward(&loss).unwrap();
    compare_gradients(&file, &on, &params, &vars, &gradients);
    let runner = ClassifierRunner::new(on, Arc::new(classifier), &weights, DType::F32).unwrap();
    close("logits", &runner.logits(&inputs).unwrap(), &f32s(&file, "logits"));
}

#[test]
fn mixed_precision_follows_within_bf16() {
    let (bytes, on, gpt) = (golden("llama"), cpu(), tiny("llama"));
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let params = Params::import(&on, gpt.plan(), &weights(&file, gpt.plan())).unwrap();
    let mut tape = Tape::new(Arc::clone(&on));
    let vars = params.record(&mut tape, DType::Bf16).unwrap();
    let loss = gpt.loss(&mut tape, &vars, &u32s(&file, "inputs"), &u32s(&file, "targets"), 2).unwrap();
    let (got, wanted) = (tape.download::<f32>(&loss).unwrap()[0], f32s(&file, "loss")[0]);
    assert!((got - wanted).abs() <= 0.05 * wanted, "{got} instead of {wanted}");
    let gradients = tape.backward(&loss).unwrap();
    assert!(gradients.iter().all(|gradient| gradient.dtype() == DType::F32));
}

/// A decoder with random weights, large enough that tokens differ.
fn runner(kind: &str, on: Arc<dyn Backend>) -> (GptRunner, Weights) {
    let config = match kind {
        "gpt2" => GptConfig::gpt2(24, 32, 2, 4),
        _ => GptConfig::llama(24, 32, 2, 4, 2),
    };
    let gpt = Arc::new(Gpt::new(&config).unwrap());
    let mut weights = Params::init(&on, gpt.plan(), 3).unwrap().export(&on).unwrap();
    // A wider spread than usual, so that distributions are far from uniform; a tied head soon repeats itself.
    let (name, factor) = if kind == "gpt2" { ("embedding", 2.0) } else { ("head.weight", 10.0) };
    let sharpen = |values: &[f32]| Values::F32(values.iter().map(|w| factor * w).collect());
    let sharper = match weights.get(name).unwrap() {
        Tensor::Matrix(weight) => Tensor::Matrix(Weight::dense(weight.n(), weight.k(), sharpen(&weight.to_f32())).unwrap()),
        Tensor::Dense { shape, values } => Tensor::Dense { shape: shape.clone(), values: sharpen(&values.to_f32()) },
    };
    weights.insert(name, sharper);
    (GptRunner::new(on, gpt, &weights, DType::F32).unwrap(), weights)
}

#[test]
fn the_cache_does_not_change_what_is_generated() {
    for kind in ["gpt2", "llama"] {
        let (runner, _) = runner(kind, cpu());
        for sampling in [Sampling::GREEDY, Sampling { temperature: 0.9, top_k: 20, top_p: 0.95 }] {
            let cached = runner.generate_with(b"fn main", 12, sampling, 5).unwrap();
            // Without: every token reads the whole text again.
            let mut sampler = model_zoo::large::sampling::Sampler::new(sampling, 5).unwrap();
            let mut text = b"\0fn main".map(u32::from).to_vec();
            for _ in 0..12 {
                let mut session = runner.session().unwrap();
                let token = sampler.sample(session.prefill(&text).unwrap());
                text.push(token);
            }
            assert_eq!(cached, text[8..].iter().map(|&token| token as u8).collect::<Vec<_>>(), "{kind}");
            // Greedy choices of random weights may well be one byte over and over; drawn ones are not.
            let varied = cached.windows(2).any(|pair| pair[0] != pair[1]);
            assert!(varied || sampling == Sampling::GREEDY, "{kind} says only {cached:?}");
        }
    }
}

#[test]
fn decoding_gives_the_logits_of_reading_at_once() {
    for kind in ["gpt2", "llama"] {
        let (runner, _) = runner(kind, cpu());
        let tokens: Vec<u32> = (0..24).map(|at| at * 37 % 256).collect();
        let mut session = runner.session().unwrap();
        session.prefill(&tokens[..5]).unwrap();
        for end in 6..=tokens.len() {
            let stepwise = session.decode(tokens[end - 1]).unwrap().to_vec();
            let mut whole = runner.session().unwrap();
            close(kind, &stepwise, whole.prefill(&tokens[..end]).unwrap());
        }
        assert!(session.decode(0).is_err(), "the context is full");
        assert_eq!(session.len(), 24);
    }
}

#[test]
fn generation_goes_on_beyond_the_context() {
    let (runner, _) = runner("llama", cpu());
    assert_eq!(runner.generate_with(b"", 60, Sampling::PLAIN, 1).unwrap().len(), 60);
    assert_eq!(runner.generate(b"x", 30, 2).unwrap(), runner.generate(b"x", 30, 2).unwrap());
    assert_ne!(runner.generate(b"x", 30, 2).unwrap(), runner.generate(b"x", 30, 3).unwrap());
}

#[test]
fn bits_per_byte_is_the_mean_of_the_next_distributions() {
    let (runner, _) = runner("gpt2", cpu());
    for text in
        [&b"short"[..], b"a text of exactly 24 byt", b"a text that is longer than the context of this model, several times over!"]
    {
        // The same windows, one byte at a time: at least half a context is seen once the first window is full.
        let window = text.len().min(24);
        let mut bits = 0f64;
        for at in 0..text.len() {
            let last_start = if at < window { 0 } else { window + (at - window) / 12 * 12 + 12 };
            let start = if at < window { 0 } else { last_start.min(text.len()) - window };
            // Byte −1 is the separator: position 0 of the first window.
            let seen: Vec<u8> = std::iter::once(0).chain(text.iter().copied()).skip(start).take(at + 1 - start).collect();
            let mut session = runner.session().unwrap();
            let tokens: Vec<u32> = seen.iter().map(|&byte| u32::from(byte)).collect();
            let logits = session.prefill(&tokens).unwrap();
            let total: f64 = logits.iter().map(|&logit| f64::from(logit).exp()).sum();
            bits -= (f64::from(logits[usize::from(text[at])]).exp() / total).log2();
        }
        let (got, wanted) = (runner.bits_per_byte(text).unwrap(), bits / text.len() as f64);
        assert!((got - wanted).abs() <= 1e-5 * wanted, "{got} instead of {wanted} for {} bytes", text.len());
    }
    assert!(runner.bits_per_byte(b"").is_err());
    let distribution = runner.next_distribution(b"let x = ").unwrap();
    assert_eq!(distribution.len(), VOCAB);
    assert!((distribution.iter().sum::<f32>() - 1.0).abs() < 1e-5);
}

#[test]
fn a_text_is_classified_the_same_in_any_batch() {
    let by_bytes = probabilities(&ClassifierConfig::bytes(16, 3, 32, 2, 4));
    assert_eq!(by_bytes[9..12], by_bytes[12..15], "both are the same first 16 bytes");
    let by_words = probabilities(&ClassifierConfig::words(512, 16, 3, 32, 2, 4));
    assert_ne!(by_words[9..12], by_words[12..15], "both are shorter than 16 words");
}

/// Of five texts at once, after comparing with one at a time.
fn probabilities(config: &ClassifierConfig) -> Vec<f32> {
    let on = cpu();
    let classifier = Arc::new(Classifier::new(config).unwrap());
    let weights = Params::init(&on, classifier.plan(), 9).unwrap().export(&on).unwrap();
    let runner = ClassifierRunner::new(on, classifier, &weights, DType::F32).unwrap();
    let texts = ["fn", "let mut x = 5;", "", "a text longer than the context is cut off there", "a text longer than"];
    let texts: Vec<Vec<u8>> = texts.iter().map(|text| text.as_bytes().to_vec()).collect();
    let together = runner.predict_proba(&Inputs::Text(texts.clone())).unwrap();
    for (at, text) in texts.iter().enumerate() {
        let alone = runner.predict_proba(&Inputs::Text(vec![text.clone()])).unwrap();
        close("alone", &together[3 * at..3 * at + 3], &alone);
    }
    assert_ne!(together[0..3], together[3..6]);
    together
}

#[test]
fn impossible_models_and_weights_are_refused() {
    let on = cpu();
    let broken = [
        TransformerConfig { head_dim: 0, ..transformer(8, 1) },
        TransformerConfig { heads: 1 << 12, head_dim: 1 << 12, ..transformer(8, 1) },
        TransformerConfig { heads: 4, kv_heads: 3, ..transformer(8, 2) },
        TransformerConfig { layers: 0, ..transformer(8, 2) },
        TransformerConfig { d_model: usize::MAX, ..transformer(8, 2) },
        TransformerConfig { head_dim: 3, positions: Positions::Rotary { theta: 1e4 }, ..transformer(8, 1) },
        TransformerConfig { positions: Positions::Rotary { theta: f32::NAN }, ..transformer(8, 1) },
    ];
    for transformer in broken {
        assert!(Gpt::new(&GptConfig { transformer: transformer.clone(), head: Head::Tied }).is_err(), "{transformer:?}");
    }
    let (gpt, other) = (tiny("gpt2"), tiny("llama"));
    let weights = Params::init(&on, other.plan(), 1).unwrap().export(&on).unwrap();
    assert!(gpt.plan().pack(&on, &weights, DType::F32).is_err());
    assert!(Params::import(&on, gpt.plan(), &weights).is_err());
    assert!(other.plan().pack(&on, &weights, DType::U8).is_err());
}

#[test]
fn parameters_cannot_be_written_while_a_tape_shows_them() {
    let (on, gpt) = (cpu(), tiny("gpt2"));
    let mut params = Params::init(&on, gpt.plan(), 1).unwrap();
    let id = params.ids().next().unwrap();
    let mut tape = Tape::new(on);
    let vars: Vars = params.record(&mut tape, DType::F32).unwrap();
    assert!(params.get_mut(id).is_err());
    let kept: Var = vars.dense(id).unwrap().clone();
    drop(vars);
    assert!(params.get_mut(id).is_err());
    drop(kept);
    assert!(params.get_mut(id).is_ok());
}
