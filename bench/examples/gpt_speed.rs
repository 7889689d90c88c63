//! Tokens per second of a decoder of GPT-2's size, with weights as drawn, on one backend:
//! `cargo run --release -p bench --example gpt_speed -- --help`.
//!
//! The vocabulary is that of the zoo, 256 bytes: GPT-2's own 50,257 would add a product of [1, 768] by [768, 50257] to each token.

use std::error::Error;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use bench::backends::{Choice, NAMES, open};
use clap::Parser;
use half::bf16;
use kernels::weight::Values;
use kernels::{Backend, DType, Weight};
use model_zoo::large::fit::{fit_gpt, transformer_config};
use model_zoo::large::gpt::{Gpt, GptConfig};
use model_zoo::large::session::GptRunner;
use model_zoo::params::Params;
use model_zoo::train::fit::{FitConfig, Surroundings};
use model_zoo::train::precision::Precision;

/// Times prompts, decoding and training of a decoder of GPT-2's shape
#[derive(Parser)]
struct Args {
    /// Backend to run on
    #[arg(long, default_value = "cpu", value_parser = NAMES)]
    backend: String,
    /// Index or part of the name of the device
    #[arg(long)]
    device: Option<String>,
    /// Worker threads [default: all cores]
    #[arg(long)]
    threads: Option<NonZeroUsize>,
    /// Type of weights and activations
    #[arg(long, default_value = "f32", value_parser = ["f32", "bf16"])]
    dtype: String,
    /// Width; 768 is GPT-2's smallest (124 million parameters)
    #[arg(long, default_value_t = 768)]
    width: usize,
    /// Blocks
    #[arg(long, default_value_t = 12)]
    layers: usize,
    /// Heads
    #[arg(long, default_value_t = 12)]
    heads: usize,
    /// Tokens of a window
    #[arg(long, default_value_t = 1024)]
    context: usize,
    /// Tokens read before and written while decoding is timed
    #[arg(long, default_value_t = 128)]
    tokens: usize,
    /// Windows of a training step
    #[arg(long, default_value_t = 8)]
    batch: usize,
    /// Training steps that are timed, after two that are not; 0 for none
    #[arg(long, default_value_t = 5)]
    steps: u64,
}

fn main() -> Result<(), Box<dyn Error>> {
    let args = Args::parse();
    let on = open(&args.backend, &Choice { threads: args.threads.map(usize::from), device: args.device.clone() })?;
    let dtype = if args.dtype == "bf16" { DType::Bf16 } else { DType::F32 };
    let gpt = Arc::new(Gpt::new(&GptConfig::gpt2(args.context, args.width, args.layers, args.heads))?);
    let weights = Params::init(&on, gpt.plan(), 42)?.export(&on)?;
    let software = if on.info().software { ", software" } else { "" };
    println!("{} ({}{software}), {dtype}: {:.1} million parameters", on.info().name, args.backend, weights.params() as f64 / 1e6);

    let stored = weights.map(|_, weight| rounded(weight, dtype))?;
    let runner = GptRunner::new(Arc::clone(&on), Arc::clone(&gpt), &stored, dtype)?;
    let mut session = runner.session()?;
    let prompt: Vec<u32> = (0..args.tokens as u32).map(|token| token * 31 % 256).collect();
    session.prefill(&prompt)?;
    session.decode(0)?;
    session.clear();
    let start = Instant::now();
    session.prefill(&prompt)?;
    println!("prompt: {:.0} tokens/s, {} tokens", args.tokens as f64 / start.elapsed().as_secs_f64(), args.tokens);
    let mut seconds = Vec::with_capacity(args.tokens);
    for token in 0..args.tokens as u32 {
        let start = Instant::now();
        session.decode(token * 17 % 256)?;
        seconds.push(start.elapsed().as_secs_f64());
    }
    println!("decode: {:.1} tokens/s, median of {}", 1.0 / median(&mut seconds), args.tokens);
    drop((session, runner));
    if args.steps > 0 {
        train(&args, &on, &gpt, dtype)?;
    }
    Ok(())
}

/// The matrix in this type.
fn rounded(weight: &Weight, dtype: DType) -> model_zoo::Result<Weight> {
    let values = weight.to_f32();
    let values =
        if dtype == DType::Bf16 { Values::Bf16(values.into_iter().map(bf16::from_f32).collect()) } else { Values::F32(values) };
    Ok(Weight::dense(weight.n(), weight.k(), values)?)
}

fn train(args: &Args, on: &Arc<dyn Backend>, gpt: &Gpt, dtype: DType) -> Result<(), Box<dyn Error>> {
    const UNTIMED: u64 = 2;
    let text: Vec<u8> =
        (0..(args.batch * (args.steps + UNTIMED) as usize + 2) * args.context).map(|at| (at * 37 % 251) as u8).collect();
    let precision = if dtype == DType::Bf16 { Precision::Bf16 } else { Precision::F32 };
    let config = FitConfig { precision, ..transformer_config(args.steps + UNTIMED, args.batch, 1e-4, 42) };
    let (mut seconds, mut before, stop) = (Vec::new(), Instant::now(), AtomicBool::new(false));
    let mut progress = |progress: &model_zoo::train::fit::Progress| {
        if progress.step > UNTIMED {
            seconds.push(before.elapsed().as_secs_f64());
        }
        before = Instant::now();
    };
    fit_gpt(on, gpt, &text, None, None, config, &mut Surroundings::new(&mut progress, &stop))?;
    let per_step = (args.batch * args.context) as f64;
    println!("training: {:.0} tokens/s, {} of {} tokens a step", per_step / median(&mut seconds), args.batch, args.context);
    Ok(())
}

fn median(seconds: &mut [f64]) -> f64 {
    seconds.sort_by(f64::total_cmp);
    seconds.get(seconds.len() / 2).copied().unwrap_or(f64::NAN)
}
