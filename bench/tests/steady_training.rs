//! A training loop whose batches have two shapes in turns makes nothing on a GPU once it has seen both.

#![cfg(feature = "wgpu")]

use kernels::Backend;
use kernels_wgpu::{Made, WgpuBackend};
use model_zoo::autograd::{Tape, Var};
use model_zoo::large::fit::transformer_config;
use model_zoo::large::gpt::{Gpt, GptConfig};
use model_zoo::params::{Params, Vars};
use model_zoo::train::fit::{Batch, Surroundings, Trainer};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

#[test]
fn batches_of_other_shapes_between_make_no_bind_groups() {
    let gpu = Arc::new(WgpuBackend::new(None).unwrap_or_else(|error| panic!("{error}")));
    let on: Arc<dyn Backend> = gpu.clone();
    let gpt = Gpt::new(&GptConfig::gpt2(16, 16, 2, 2)).unwrap();
    let params = Params::init(&on, gpt.plan(), 1).unwrap();
    // Seven examples in batches of three: the last of an epoch has one.
    let mut trainer = Trainer::new(&on, params, 7, transformer_config(42, 3, 1e-3, 1)).unwrap();
    let mut loss = |tape: &mut Tape, vars: &Vars, batch: &Batch<'_>| -> model_zoo::Result<Var> {
        let tokens: Vec<u32> =
            batch.examples.iter().flat_map(|&at| (0..16).map(move |i| ((at * 31 + i * 7) % 256) as u32)).collect();
        gpt.loss(tape, vars, &tokens, &tokens, batch.examples.len())
    };
    let mut made: Vec<Made> = Vec::new();
    let mut progress = |_: &_| made.push(gpu.made());
    let stop = AtomicBool::new(false);
    let mut around = Surroundings { progress: &mut progress, evaluate: None, stop: &stop, time_budget: None, checkpoints: None };
    trainer.run(&mut loss, &mut around).unwrap();
    assert_eq!(made.len(), 42);
    let of_step: Vec<_> = made.windows(2).map(|pair| pair[1].bind_groups - pair[0].bind_groups).collect();
    assert_eq!(made[20], made[41], "bind groups made in each step: {of_step:?}");
}
