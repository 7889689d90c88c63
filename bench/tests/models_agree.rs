//! The same models on cpu, on wgpu and, emulated, on CUDA: curves of training, greedy tokens, and fitted linear models.
//!
//! **Curves.** A step is a chain of at most K = 300 roundings from parameters to new parameters (forward, backward, update), each of
//! which moves an intermediate value by at most 2⁻²⁴ of itself. Two backends round differently, so that a step of one differs from
//! that of the other as if its parameters had been moved by at most ε = 2·K·2⁻²⁴ of themselves. What a move does to the loss s steps
//! later is a property of the task, which the cpu measures: it trains again from parameters moved by ε, each up or down at random.
//! With S(t) the largest change of the loss within t steps over a few such runs, the t moves of t steps add up to at most t·S(t), if
//! all point the same way; the first has the longest time to grow. The loss itself has K roundings of its own.

#![cfg(any(feature = "wgpu", feature = "cuda-emulation"))]

use bench::backends::{Choice, open};
use kernels::weight::{Bits, QuantScheme, Values, Zero};
use kernels::{Backend, DType, Weight, ops::Act};
use model_zoo::autograd::{Tape, Target, Var};
use model_zoo::data::{Classification, digits};
use model_zoo::large::fit::{fit_gpt, transformer_config};
use model_zoo::large::gpt::{Gpt, GptConfig};
use model_zoo::large::sampling::Sampling;
use model_zoo::large::session::GptRunner;
use model_zoo::model::{Classify, accuracy};
use model_zoo::params::{Init, Params, Plan, Role, Vars};
use model_zoo::random::Random;
use model_zoo::shrink::quantize::quantize;
use model_zoo::small::forest::{Forest, ForestConfig};
use model_zoo::small::logistic::{Logistic, LogisticConfig, Targets};
use model_zoo::small::reader::Reader;
use model_zoo::small::svm::{Calibration, Svm, SvmConfig};
use model_zoo::train::fit::{Batch, Progress, Surroundings, Trainer};
use model_zoo::weights::{Tensor, Weights};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

const STEPS: u64 = 200;
/// Roundings on the way of a step, and their size.
const ROUNDINGS: f64 = 300.0 / (1u64 << 24) as f64;
/// Its epochs, of which the last batch is a small one, end several times before the middle of a run.
const TEXT: &[u8] = include_bytes!("../../ARCHITECTURE.md").first_chunk::<6000>().expect("a text longer than that");

fn on(name: &str) -> Arc<dyn Backend> {
    open(name, &Choice::default()).unwrap_or_else(|error| panic!("{error}"))
}

/// Every test below, on every backend but the cpu.
macro_rules! on_each {
    ($($test:ident),* $(,)?) => {
        #[cfg(feature = "wgpu")]
        mod wgpu {
            $(#[test]
            fn $test() {
                super::$test(&super::on("wgpu"));
            })*
        }

        #[cfg(feature = "cuda-emulation")]
        mod cuda_emulated {
            $(#[test]
            fn $test() {
                let emulated: std::sync::Arc<dyn kernels::Backend> = std::sync::Arc::new(kernels_cuda::CudaBackend::emulated());
                super::$test(&emulated);
            })*
        }
    };
}

on_each!(
    an_mlp_trains_along_the_curve_of_the_cpu,
    a_gpt_trains_along_the_curve_of_the_cpu,
    a_gpt_says_what_it_says_on_the_cpu,
    a_decode_step_makes_nothing_on_the_device,
    linear_models_fit_and_predict_as_on_the_cpu,
    a_forest_says_what_it_says_on_the_host,
);

fn moved(weights: &Weights, seed: u64) -> Weights {
    let mut random = Random::new(seed);
    let mut values = |values: &Values| {
        let signs = values.to_f32().into_iter();
        Values::F32(signs.map(|v| v * (1.0 + 2.0 * ROUNDINGS as f32 * if random.unit() < 0.5 { 1.0 } else { -1.0 })).collect())
    };
    let mut all = Weights::default();
    for (name, tensor) in weights.iter() {
        let tensor = match tensor {
            Tensor::Matrix(Weight::Dense { n, k, values: v }) => Tensor::Matrix(Weight::dense(*n, *k, values(v)).unwrap()),
            Tensor::Matrix(other) => Tensor::Matrix(other.clone()),
            Tensor::Dense { shape, values: v } => Tensor::Dense { shape: shape.clone(), values: values(v) },
        };
        all.insert(name, tensor);
    }
    all
}

/// Trains on the cpu and on another backend and compares the losses of every step.
fn follows(other: &Arc<dyn Backend>, start: &Weights, curve: impl Fn(&Arc<dyn Backend>, &Weights) -> Vec<f64>) {
    let cpu = on("cpu");
    let wanted = curve(&cpu, start);
    let got = curve(other, start);
    let others: Vec<Vec<f64>> = (1..=4).map(|seed| curve(&cpu, &moved(start, seed))).collect();
    assert_eq!((wanted.len(), got.len()), (STEPS as usize, STEPS as usize));
    let (mut sensitivity, mut used) = (0f64, 0f64);
    for (t, (wanted, got)) in wanted.iter().zip(&got).enumerate() {
        sensitivity = others.iter().fold(sensitivity, |most, other| most.max((other[t] - wanted).abs()));
        let bound = t as f64 * sensitivity + ROUNDINGS * wanted.abs();
        let error = (got - wanted).abs();
        assert!(error <= bound, "step {t}: {got} instead of {wanted}, off by {error:.3e}, bound {bound:.3e}");
        used = used.max(error / bound);
    }
    let bound = STEPS as f64 * sensitivity;
    println!("loss {} to {}, bound at the end {bound:.2e}, used {used:.3}", wanted[0], wanted[STEPS as usize - 1]);
    // A bound that allows another curve proves nothing.
    assert!(wanted[STEPS as usize - 1] < 0.8 * wanted[0] && bound < 0.1 * (wanted[0] - wanted[STEPS as usize - 1]), "{bound}");
}

/// The digits, as columns around 0.
fn columns(task: &Classification) -> (Vec<f32>, &[u32], usize) {
    let table = task.train.inputs.table().unwrap();
    (table.values.iter().map(|x| x / 8.0 - 1.0).collect(), &task.train.labels, table.cols)
}

fn an_mlp_trains_along_the_curve_of_the_cpu(other: &Arc<dyn Backend>) {
    let task = digits().unwrap();
    let (x, labels, cols) = columns(&task);
    let mut plan = Plan::default();
    let he = |inputs: usize| Init::Normal { std: (2.0 / inputs as f32).sqrt() };
    let ids = [
        plan.declare("hidden.weight", [33, cols], Role::Matrix, he(cols)),
        plan.declare("hidden.bias", [33], Role::Vector, Init::Zeros),
        plan.declare("out.weight", [10, 33], Role::Matrix, he(33)),
        plan.declare("out.bias", [10], Role::Vector, Init::Zeros),
    ];
    let loss = |tape: &mut Tape, vars: &Vars, batch: &Batch<'_>| -> model_zoo::Result<Var> {
        let rows: Vec<f32> = batch.examples.iter().flat_map(|&row| x[row * cols..][..cols].iter().copied()).collect();
        let classes: Vec<u32> = batch.examples.iter().map(|&row| labels[row]).collect();
        let rows = tape.upload(&rows, [batch.examples.len(), cols])?;
        let classes = tape.upload(&classes, [classes.len()])?;
        let [w1, b1, w2, b2] = ids;
        let hidden = tape.linear(&rows, vars.matrix(w1), Some(vars.dense(b1)?), Act::Relu)?;
        let logits = tape.linear(&hidden, vars.matrix(w2), Some(vars.dense(b2)?), Act::None)?;
        let losses = tape.cross_entropy(&logits, Target::Class(&classes), 1.0)?;
        Ok(tape.mean(&losses)?)
    };
    let curve = |on: &Arc<dyn Backend>, start: &Weights| {
        let params = Params::import(on, &plan, start).unwrap();
        let mut trainer = Trainer::new(on, params, labels.len(), transformer_config(STEPS, 32, 3e-3, 5)).unwrap();
        collected(on, |around| trainer.run(&mut |tape, vars, batch| loss(tape, vars, batch), around).map(drop))
    };
    follows(other, &initial(&plan), curve);
}

/// The losses of a run, which makes nothing on the device in its later half.
fn collected(on: &Arc<dyn Backend>, run: impl FnOnce(&mut Surroundings<'_>) -> model_zoo::Result<()>) -> Vec<f64> {
    let (mut losses, mut counts, stop) = (Vec::new(), Vec::new(), AtomicBool::new(false));
    let mut note = |progress: &Progress| {
        losses.push(progress.loss);
        counts.push(made(on));
    };
    run(&mut Surroundings::new(&mut note, &stop)).unwrap();
    assert_eq!(counts[STEPS as usize / 2], counts[STEPS as usize - 1], "{counts:?}");
    losses
}

/// What has been made on a device so far: buffers; on wgpu also pipelines. Its bind groups are counted by `steady_training.rs`.
fn made(on: &Arc<dyn Backend>) -> [u64; 2] {
    #[cfg(feature = "wgpu")]
    if let Some(gpu) = (&**on as &dyn std::any::Any).downcast_ref::<kernels_wgpu::WgpuBackend>() {
        let made = gpu.made();
        return [made.buffers, made.pipelines];
    }
    [on.memory_stats().allocations, 0]
}

/// Weights drawn on the cpu, for both.
fn initial(plan: &Plan) -> Weights {
    let cpu = on("cpu");
    Params::init(&cpu, plan, 7).unwrap().export(&cpu).unwrap()
}

fn small_gpt() -> Gpt {
    Gpt::new(&GptConfig::gpt2(32, 32, 2, 2)).unwrap()
}

fn a_gpt_trains_along_the_curve_of_the_cpu(other: &Arc<dyn Backend>) {
    let gpt = small_gpt();
    follows(other, &initial(gpt.plan()), |on, start| {
        collected(on, |around| {
            fit_gpt(on, &gpt, TEXT, Some(start), None, transformer_config(STEPS, 4, 3e-3, 11), around).map(drop)
        })
    });
}

fn a_gpt_says_what_it_says_on_the_cpu(other: &Arc<dyn Backend>) {
    let (cpu, gpt) = (on("cpu"), Arc::new(small_gpt()));
    let (stop, mut quiet) = (AtomicBool::new(false), |_: &Progress| ());
    let mut around = Surroundings::new(&mut quiet, &stop);
    // A short text, known well enough after these steps that its words come back.
    let config = transformer_config(1000, 8, 1e-2, 11);
    let (trained, _) = fit_gpt(&cpu, &gpt, &TEXT[..1024], None, None, config, &mut around).unwrap();
    let int4 = QuantScheme { bits: Bits::Int4, group_size: 16, zero: Zero::Asymmetric };
    let small = trained.map(|_, weight| quantize(weight, int4)).unwrap();
    for (name, weights) in [("f32", &trained), ("int4", &small)] {
        let says = |on: &Arc<dyn Backend>| {
            let runner = GptRunner::new(Arc::clone(on), Arc::clone(&gpt), weights, DType::F32).unwrap();
            runner.generate_with(b"This page is ", 64, Sampling::GREEDY, 0).unwrap()
        };
        let (wanted, got) = (says(&cpu), says(other));
        println!("{name}: {}", String::from_utf8_lossy(&wanted));
        assert_eq!(String::from_utf8_lossy(&got), String::from_utf8_lossy(&wanted), "{name}");
        let used = (0..=u8::MAX).filter(|byte| wanted.contains(byte)).count();
        assert!(used > 10, "{name}: {used} bytes over and over prove little");
    }
}

fn a_decode_step_makes_nothing_on_the_device(other: &Arc<dyn Backend>) {
    let gpt = Arc::new(Gpt::new(&GptConfig::llama(128, 32, 2, 4, 2)).unwrap());
    let weights = initial(gpt.plan());
    let int4 = QuantScheme { bits: Bits::Int4, group_size: 16, zero: Zero::Symmetric };
    let small = weights.map(|_, weight| quantize(weight, int4)).unwrap();
    for (weights, dtype) in [(&weights, DType::F32), (&weights, DType::Bf16), (&small, DType::F32)] {
        let runner = GptRunner::new(Arc::clone(other), Arc::clone(&gpt), weights, dtype).unwrap();
        let mut session = runner.session().unwrap();
        // A first text meets every length for the first time.
        let mut text = || {
            session.clear();
            session.prefill(&[1, 2, 3]).unwrap();
            (0..64).map(|token| session.decode(token).map(|_| made(other)).unwrap()).collect::<Vec<_>>()
        };
        let (first, second) = (text(), text());
        assert_eq!(first[63], second[63], "{first:?} {second:?}");
    }
}

fn linear_models_fit_and_predict_as_on_the_cpu(other: &Arc<dyn Backend>) {
    let (cpu, task) = (on("cpu"), digits().unwrap());
    let (inputs, labels, test) = (&task.train.inputs, &task.train.labels, &task.test);
    let fit = |on: &Arc<dyn Backend>| {
        let targets = Targets::Classes(labels);
        let (model, _) = Logistic::fit(&**on, Reader::Table, inputs, targets, 10, LogisticConfig::default()).unwrap();
        model
    };
    let svm =
        Svm::fit(Reader::Table, inputs, labels, 10, SvmConfig { calibration: Calibration::Softmax, ..SvmConfig::default() });
    let (wanted, got, svm) = (fit(&cpu), fit(other), svm.unwrap());
    let scores = |model: &dyn Classify| {
        println!("accuracy {}", accuracy(&model.predict(&test.inputs).unwrap(), &test.labels).unwrap());
        model.predict(&test.inputs).unwrap()
    };
    // Both searches end where the gradient of the mean loss is below 1e-4: at minima that classify alike all but rows on the border.
    let (a, b) = (scores(&wanted.place(&cpu).unwrap()), scores(&got.place(other).unwrap()));
    let differ = a.iter().zip(&b).filter(|(a, b)| a != b).count();
    assert!(differ * 200 <= a.len(), "{differ} of {} rows", a.len());
    // The same weights give the same classes.
    assert_eq!(scores(&wanted.place(other).unwrap()), a);
    assert_eq!(scores(&svm.place(other).unwrap()), scores(&svm.place(&cpu).unwrap()));
}

fn a_forest_says_what_it_says_on_the_host(other: &Arc<dyn Backend>) {
    let task = digits().unwrap();
    let (table, labels) = (task.train.inputs.table().unwrap(), &task.train.labels);
    let forest = Forest::fit(table, labels, 10, ForestConfig::default()).unwrap();
    let host = forest.predict_proba(&task.test.inputs).unwrap();
    for on in [&on("cpu"), other] {
        assert_eq!(forest.place(on).unwrap().predict_proba(&task.test.inputs).unwrap(), host, "{}", on.name());
    }
    assert!(host.iter().filter(|&&share| share > 0.0).count() > host.len() / 4);
}
