//! Training is a pure function of its configuration: resumed or not, on however many threads.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use kernels::ops::Act;
use kernels::{Backend, DType};
use kernels_cpu::CpuBackend;
use model_zoo::autograd::{Tape, Target, Var};
use model_zoo::params::{Init, ParamId, Params, Plan, Role, Vars};
use model_zoo::random::Random;
use model_zoo::train::checkpoint::{Checkpoints, Standing};
use model_zoo::train::fit::{Batch, CheckpointEvery, Ended, FitConfig, Progress, Summary, Surroundings, Trainer};
use model_zoo::train::optimizer::Rule;
use model_zoo::train::precision::Precision;
use model_zoo::train::regularize::{Penalty, Regularization};
use model_zoo::train::schedule::Schedule;
use model_zoo::{Error, Result};

fn cpu(threads: usize) -> Arc<dyn Backend> {
    Arc::new(CpuBackend::builder().threads(threads).build().unwrap())
}

const EXAMPLES: usize = 90;
const COLS: usize = 12;
const CLASSES: usize = 5;

/// A network of two layers, and data it can learn.
struct Task {
    plan: Plan,
    ids: [ParamId; 4],
    x: Vec<f32>,
    labels: Vec<u32>,
}

impl Task {
    fn new() -> Self {
        let (mut plan, mut random) = (Plan::default(), Random::new(3));
        let normal = Init::Normal { std: 0.3 };
        let ids = [
            plan.declare("hidden.weight", [33, COLS], Role::Matrix, normal),
            plan.declare("hidden.bias", [33], Role::Vector, Init::Zeros),
            plan.declare("out.weight", [CLASSES, 33], Role::Matrix, normal),
            plan.declare("out.bias", [CLASSES], Role::Vector, Init::Zeros),
        ];
        let x: Vec<f32> = (0..EXAMPLES * COLS).map(|_| random.unit() as f32 - 0.5).collect();
        let labels = x.chunks(COLS).map(|row| model_zoo::model::most_probable(&row[..CLASSES])).collect();
        Self { plan, ids, x, labels }
    }

    fn loss(&self, tape: &mut Tape, vars: &Vars, examples: &[usize], dtype: DType) -> Result<Var> {
        let x: Vec<f32> = examples.iter().flat_map(|&row| self.x[row * COLS..][..COLS].iter().copied()).collect();
        let labels: Vec<u32> = examples.iter().map(|&row| self.labels[row]).collect();
        let x = tape.upload(&x, [examples.len(), COLS])?;
        let x = tape.cast(&x, dtype)?;
        let labels = tape.upload(&labels, [examples.len()])?;
        let [w1, b1, w2, b2] = self.ids;
        let hidden = tape.linear(&x, vars.matrix(w1), Some(vars.dense(b1)?), Act::Gelu)?;
        let logits = tape.linear(&hidden, vars.matrix(w2), Some(vars.dense(b2)?), Act::None)?;
        let losses = tape.cross_entropy(&logits, Target::Class(&labels), 1.0)?;
        Ok(tape.mean(&losses)?)
    }

    fn trainer(&self, on: &Arc<dyn Backend>, config: FitConfig) -> Trainer {
        Trainer::new(on, Params::init(on, &self.plan, 7).unwrap(), EXAMPLES, config).unwrap()
    }

    fn run(&self, trainer: &mut Trainer, checkpoints: Option<CheckpointEvery>) -> Result<(Summary, Vec<f64>)> {
        self.run_with(trainer, checkpoints, &AtomicBool::new(false), None)
    }

    fn run_with(
        &self,
        trainer: &mut Trainer,
        checkpoints: Option<CheckpointEvery>,
        stop: &AtomicBool,
        time_budget: Option<Duration>,
    ) -> Result<(Summary, Vec<f64>)> {
        let dtype = trainer.config().precision.dtype();
        let mut losses = Vec::new();
        let mut progress = |progress: &Progress| losses.push(progress.loss);
        let mut around = Surroundings { progress: &mut progress, evaluate: None, stop, time_budget, checkpoints };
        let mut loss = |tape: &mut Tape, vars: &Vars, batch: &Batch<'_>| self.loss(tape, vars, batch.examples, dtype);
        let summary = trainer.run(&mut loss, &mut around)?;
        Ok((summary, losses))
    }
}

fn config(rule: Rule) -> FitConfig {
    FitConfig {
        steps: 20,
        batch: 16,
        micro_batches: 1,
        seed: 5,
        schedule: Schedule::WarmupCosine { peak: 0.02, floor: 0.001, warmup_steps: 3, total_steps: 20 },
        rule,
        regularization: Regularization::matrices(0.01, 0.001),
        max_norm: Some(0.5),
        precision: Precision::F32,
        evaluate_every: 0,
        patience: None,
    }
}

fn bits(trainer: &Trainer) -> Vec<u32> {
    let weights = trainer.params().export(trainer.on()).unwrap();
    let values = weights.iter().flat_map(|(_, tensor)| match tensor {
        model_zoo::weights::Tensor::Matrix(weight) => weight.to_f32(),
        model_zoo::weights::Tensor::Dense { values, .. } => values.to_f32(),
    });
    values.map(f32::to_bits).collect()
}

const RULES: [Rule; 3] = [Rule::ADAMW, Rule::Sgd { momentum: 0.9 }, Rule::Nesterov { momentum: 0.8 }];

#[test]
fn a_resumed_run_ends_with_the_same_bits() {
    let (task, on) = (Task::new(), cpu(2));
    for precision in [Precision::F32, Precision::Bf16] {
        for rule in RULES {
            let config = FitConfig { precision, ..config(rule) };
            let mut straight = task.trainer(&on, config.clone());
            let (_, losses) = task.run(&mut straight, None).unwrap();

            let directory = tempfile::tempdir().unwrap();
            let mut first = task.trainer(&on, config.clone());
            let every = CheckpointEvery { directory: directory.path().into(), steps: 10 };
            // The time budget ends the run after its first step; a second run takes it to step 10, where a checkpoint falls due.
            let (summary, _) =
                task.run_with(&mut first, Some(every.clone()), &AtomicBool::new(false), Some(Duration::ZERO)).unwrap();
            assert_eq!((summary.ended, summary.steps), (Ended::OutOfTime, 1));

            let mut second = task.trainer(&on, config.clone());
            let checkpoints = Checkpoints::new(directory.path());
            assert_eq!(checkpoints.resume(&mut second).unwrap().step, Some(1));
            let (_, tail) = task.run(&mut second, Some(every)).unwrap();
            assert_eq!(tail, losses[1..]);
            assert_eq!(bits(&second), bits(&straight), "{rule:?} {precision:?}");
            let steps: Vec<u64> = checkpoints.list().unwrap().iter().map(|path| Standing::load(path).unwrap().step()).collect();
            assert_eq!(steps, [20, 10]);

            std::fs::remove_file(&checkpoints.list().unwrap()[0]).unwrap();
            let mut third = task.trainer(&on, config);
            assert_eq!(checkpoints.resume(&mut third).unwrap().step, Some(10));
            assert_eq!(task.run(&mut third, None).unwrap().1, losses[10..]);
            assert_eq!(bits(&third), bits(&straight), "{rule:?} {precision:?}");
        }
    }
}

#[test]
fn the_number_of_threads_changes_no_bit_and_the_seed_does() {
    let task = Task::new();
    let run = |threads, seed| {
        let mut trainer = task.trainer(&cpu(threads), FitConfig { seed, ..config(Rule::ADAMW) });
        task.run(&mut trainer, None).unwrap();
        bits(&trainer)
    };
    assert_eq!(run(1, 5), run(2, 5));
    assert_ne!(run(1, 5), run(1, 6));
}

#[test]
fn a_batch_in_parts_takes_the_step_of_the_whole() {
    let (task, on) = (Task::new(), cpu(1));
    let run = |micro_batches| {
        let schedule = Schedule::Constant { lr: 0.2 };
        let config = FitConfig { steps: 60, micro_batches, schedule, ..config(Rule::Sgd { momentum: 0.9 }) };
        let mut trainer = task.trainer(&on, config);
        let (_, losses) = task.run(&mut trainer, None).unwrap();
        losses
    };
    let (whole, parts) = (run(1), run(3));
    for (whole, parts) in whole.iter().zip(&parts) {
        assert!((whole - parts).abs() < 1e-4, "{whole} {parts}");
    }
    assert!(whole[59] < 0.7 * whole[0], "{whole:?}");
}

/// One step of each rule in f64, as its definition says.
#[test]
fn steps_are_those_of_the_definitions() {
    let on = cpu(1);
    let mut plan = Plan::default();
    let id = plan.declare("w", [3, 1], Role::Matrix, Init::Normal { std: 1.0 });
    for rule in RULES {
        let regularization = Regularization { matrices: Penalty { l2: 0.1, l1: 0.05 }, ..Regularization::default() };
        let config = FitConfig {
            steps: 3,
            batch: 1,
            schedule: Schedule::Constant { lr: 0.1 },
            regularization,
            max_norm: None,
            ..config(rule)
        };
        let mut trainer = Trainer::new(&on, Params::init(&on, &plan, 1).unwrap(), 1, config).unwrap();
        let start = bits(&trainer);
        let stop = AtomicBool::new(false);
        let mut quiet = |_: &_| ();
        let mut around = Surroundings { progress: &mut quiet, evaluate: None, stop: &stop, time_budget: None, checkpoints: None };
        // loss = mean w², so grad = 2w/3.
        let mut loss = |tape: &mut Tape, vars: &Vars, _: &Batch<'_>| {
            let w = vars.dense(id)?;
            let square = tape.mul(w, w)?;
            let square = tape.reshape(&square, [3])?;
            Ok(tape.mean(&square)?)
        };
        trainer.run(&mut loss, &mut around).unwrap();
        for (start, end) in start.iter().zip(bits(&trainer)) {
            let mut w = f64::from(f32::from_bits(*start));
            let (mut velocity, mut m, mut v) = (0f64, 0f64, 0f64);
            for step in 1..=3 {
                let grad = 2.0 * w / 3.0;
                let g = grad + 0.1 * w + 0.05 * w.signum();
                match rule {
                    Rule::Sgd { momentum } => {
                        velocity = f64::from(momentum) * velocity + g;
                        w -= 0.1 * velocity;
                    }
                    Rule::Nesterov { momentum } => {
                        velocity = f64::from(momentum) * velocity + g;
                        w -= 0.1 * (g + f64::from(momentum) * velocity);
                    }
                    Rule::Adamw { .. } => {
                        m = 0.9 * m + 0.1 * grad;
                        v = 0.999 * v + 0.001 * grad * grad;
                        let adam = (m / (1.0 - 0.9f64.powi(step))) / ((v / (1.0 - 0.999f64.powi(step))).sqrt() + 1e-8);
                        w -= 0.1 * (adam + 0.1 * w + 0.05 * w.signum());
                    }
                }
            }
            let end = f64::from(f32::from_bits(end));
            assert!((end - w).abs() < 1e-5 * w.abs().max(0.1), "{rule:?}: {end} instead of {w}");
        }
    }
}

#[test]
fn a_loss_that_is_no_number_stops_the_run_before_it_does_harm() {
    let (task, on) = (Task::new(), cpu(1));
    let mut trainer = task.trainer(&on, config(Rule::ADAMW));
    let stop = AtomicBool::new(false);
    let mut last = None;
    let mut progress = |progress: &Progress| last = Some(progress.loss);
    let mut around = Surroundings { progress: &mut progress, evaluate: None, stop: &stop, time_budget: None, checkpoints: None };
    let mut loss = |tape: &mut Tape, vars: &Vars, batch: &Batch<'_>| {
        let loss = task.loss(tape, vars, batch.examples, DType::F32)?;
        let poison = if batch.step == 7 { f32::NAN } else { 1.0 };
        let poison = tape.upload(&[poison], [1])?;
        Ok(tape.mul(&loss, &poison)?)
    };
    let error = trainer.run(&mut loss, &mut around).unwrap_err();
    let Error::Diverged { step, what, value, last_good_loss } = error else { panic!("{error}") };
    assert_eq!((step, what, last_good_loss), (7, "loss", last));
    assert!(value.is_nan());
    assert!(bits(&trainer).iter().all(|&w| f32::from_bits(w).is_finite()));
}

#[test]
fn the_best_weights_come_back_when_nothing_improves() {
    let (task, on) = (Task::new(), cpu(1));
    let config = FitConfig { steps: 100, evaluate_every: 2, patience: Some(3), ..config(Rule::ADAMW) };
    let mut trainer = task.trainer(&on, config);
    let stop = AtomicBool::new(false);
    let (mut quiet, mut calls) = (|_: &_| (), 0);
    let mut evaluate = |_: &mut Tape, _: &Vars| {
        calls += 1;
        Ok(if calls < 5 { 1.0 / f64::from(calls) } else { 7.0 })
    };
    let mut around =
        Surroundings { progress: &mut quiet, evaluate: Some(&mut evaluate), stop: &stop, time_budget: None, checkpoints: None };
    let mut loss = |tape: &mut Tape, vars: &Vars, batch: &Batch<'_>| task.loss(tape, vars, batch.examples, DType::F32);
    let summary = trainer.run(&mut loss, &mut around).unwrap();
    assert_eq!((summary.ended, summary.best, summary.steps), (Ended::NoImprovement, Some(0.25), 14));

    let mut eight = task.trainer(&on, FitConfig { steps: 8, ..without_evaluations(&trainer) });
    let mut around = Surroundings { progress: &mut quiet, evaluate: None, stop: &stop, time_budget: None, checkpoints: None };
    eight.run(&mut loss, &mut around).unwrap();
    assert_eq!(bits(&trainer), bits(&eight));
}

/// The configuration of a run without its evaluations.
fn without_evaluations(trainer: &Trainer) -> FitConfig {
    FitConfig { evaluate_every: 0, patience: None, ..trainer.config().clone() }
}

#[test]
fn a_set_flag_ends_the_run_after_the_step() {
    let (task, on) = (Task::new(), cpu(1));
    let mut trainer = task.trainer(&on, config(Rule::ADAMW));
    let (summary, losses) = task.run_with(&mut trainer, None, &AtomicBool::new(true), None).unwrap();
    assert_eq!((summary.ended, summary.steps, losses.len()), (Ended::Stopped, 1, 1));
}

/// Checkpoints of steps 10 and 20 in `directory`.
fn two_checkpoints(task: &Task, on: &Arc<dyn Backend>, directory: &Path) {
    let mut trainer = task.trainer(on, config(Rule::ADAMW));
    task.run(&mut trainer, Some(CheckpointEvery { directory: directory.into(), steps: 10 })).unwrap();
}

#[test]
fn damaged_checkpoints_are_refused_and_the_one_before_is_used() {
    let (task, on) = (Task::new(), cpu(1));
    let directory = tempfile::tempdir().unwrap();
    two_checkpoints(&task, &on, directory.path());
    let checkpoints = Checkpoints::new(directory.path());
    let newest = checkpoints.list().unwrap().remove(0);
    let whole = std::fs::read(&newest).unwrap();
    let mut damaged: Vec<(String, Vec<u8>)> = Vec::new();
    for cut in [0, 1, 7, 8, 100, whole.len() / 2, whole.len() - 1] {
        damaged.push((format!("cut at {cut}"), whole[..cut].to_vec()));
    }
    for at in [3, 9, 60, whole.len() / 2, whole.len() - 1] {
        let mut flipped = whole.clone();
        flipped[at] ^= 0x10;
        damaged.push((format!("bit flipped in byte {at}"), flipped));
    }
    let mut zeros = whole.clone();
    let tail = zeros.len() - 512;
    zeros[tail..].fill(0);
    damaged.push(("zeros at the end".into(), zeros));
    for (how, bytes) in &damaged {
        std::fs::write(&newest, bytes).unwrap();
        let mut trainer = task.trainer(&on, config(Rule::ADAMW));
        let resumed = checkpoints.resume(&mut trainer).unwrap();
        assert_eq!(resumed.step, Some(10), "{how}");
        assert!(matches!(&resumed.notices[..], [Error::Format { path, .. }] if *path == newest), "{how}: {:?}", resumed.notices);
    }
    // With the other one damaged too there is nothing to go on from, and the run is untouched.
    for path in checkpoints.list().unwrap() {
        std::fs::write(path, b"not a checkpoint").unwrap();
    }
    let mut trainer = task.trainer(&on, config(Rule::ADAMW));
    let before = bits(&trainer);
    assert!(matches!(checkpoints.resume(&mut trainer), Err(Error::Format { .. })));
    assert_eq!(bits(&trainer), before);
}

#[test]
fn checkpoints_of_other_runs_are_foreign() {
    let (task, on) = (Task::new(), cpu(1));
    let directory = tempfile::tempdir().unwrap();
    two_checkpoints(&task, &on, directory.path());
    let checkpoints = Checkpoints::new(directory.path());
    let mut seeded = task.trainer(&on, FitConfig { seed: 6, ..config(Rule::ADAMW) });
    let error = checkpoints.resume(&mut seeded).unwrap_err();
    assert!(error.to_string().contains("seed: 5"), "{error}");
    let params = Params::init(&on, &task.plan, 7).unwrap();
    let mut longer = Trainer::new(&on, params, EXAMPLES + 1, config(Rule::ADAMW)).unwrap();
    assert!(matches!(checkpoints.resume(&mut longer), Err(Error::Format { .. })));
    let empty = tempfile::tempdir().unwrap();
    let mut fresh = task.trainer(&on, config(Rule::ADAMW));
    assert_eq!(Checkpoints::new(&empty.path().join("none")).resume(&mut fresh).unwrap().step, None);
}

#[test]
fn a_steady_step_takes_no_device_memory() {
    let (task, on) = (Task::new(), cpu(1));
    // 96 examples would do without a shorter last batch; 90 have one, and its buffers are of the same size class or taken once.
    let mut trainer = task.trainer(&on, FitConfig { steps: 40, ..config(Rule::ADAMW) });
    let mut allocations = Vec::new();
    let stop = AtomicBool::new(false);
    let backend = Arc::clone(&on);
    let mut progress = |_: &_| allocations.push(backend.memory_stats().allocations);
    let mut around = Surroundings { progress: &mut progress, evaluate: None, stop: &stop, time_budget: None, checkpoints: None };
    let mut loss = |tape: &mut Tape, vars: &Vars, batch: &Batch<'_>| task.loss(tape, vars, batch.examples, DType::F32);
    trainer.run(&mut loss, &mut around).unwrap();
    assert_eq!(allocations[12], allocations[39], "{allocations:?}");
}
