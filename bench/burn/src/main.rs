//! Our wgpu backend and burn's on the same work and the same adapter, in one process and in turns:
//! `cargo run --release --manifest-path bench/burn/Cargo.toml`.
//!
//! The first call of each side is told apart from the others: it compiles, and burn's also chooses by measurement. After that each
//! side queues some calls and waits once, and the ratio is the median over the rounds of burn's time over ours in the same round.

mod gpt;

use burn::tensor::module::attention;
use burn::tensor::ops::AttentionModuleOptions;
use burn::tensor::{Device, DeviceKind, Tensor};
use kernels::ops::{Attention, Download, Mask, Matmul, Upload};
use kernels::{Backend, Buffer, DType, Memory, Op};
use kernels_wgpu::WgpuBackend;
use std::error::Error;
use std::sync::Arc;
use std::time::Instant;

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

/// Rounds that count, and seconds that each side works in one.
const ROUNDS: usize = 15;
const ROUND_S: f64 = 0.3;
/// Calls after the first that do not count.
const WARM_UP: usize = 3;
/// Largest difference of results, relative to the largest value.
const TOLERANCE: f32 = 1e-4;

/// The same work on one side.
struct Side<'a> {
    /// Seconds of its first call.
    first_s: f64,
    /// Queues the work.
    call: Box<dyn FnMut() -> Outcome + 'a>,
    /// Waits for what is queued.
    wait: Box<dyn Fn() -> Outcome + 'a>,
}

impl Side<'_> {
    /// Warms up. Calls that fill a round.
    fn calls(&mut self) -> Outcome<usize> {
        self.seconds(WARM_UP)?;
        Ok((ROUND_S / self.seconds(1)?).clamp(1.0, 1000.0) as usize)
    }

    /// Seconds each of so many calls takes.
    fn seconds(&mut self, calls: usize) -> Outcome<f64> {
        let start = Instant::now();
        (0..calls).try_for_each(|_| (self.call)())?;
        (self.wait)()?;
        Ok(start.elapsed().as_secs_f64() / calls as f64)
    }
}

/// What a call gives, and its seconds.
fn timed<T>(call: impl FnOnce() -> Outcome<T>) -> Outcome<(T, f64)> {
    let start = Instant::now();
    let got = call()?;
    Ok((got, start.elapsed().as_secs_f64()))
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Measures both, prints a line of a table and gives the ratio.
fn beside(name: &str, mut ours: Side<'_>, mut theirs: Side<'_>) -> Outcome<f64> {
    let (of_ours, of_theirs) = (ours.calls()?, theirs.calls()?);
    let (mut a, mut b, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        a.push(ours.seconds(of_ours)?);
        b.push(theirs.seconds(of_theirs)?);
        ratios.push(b[b.len() - 1] / a[a.len() - 1]);
    }
    let (a, b, ratio) = (1e3 * median(&mut a), 1e3 * median(&mut b), median(&mut ratios));
    let [low, high] = [ratios[ROUNDS / 5], ratios[ROUNDS - 1 - ROUNDS / 5]];
    let (first_a, first_b) = (ours.first_s, theirs.first_s);
    println!("| {name} | {a:.2} ms | {b:.2} ms | {ratio:.2}× ({low:.2}–{high:.2}) | {first_a:.2} s | {first_b:.2} s |");
    Ok(ratio)
}

fn numbers(len: usize, seed: u32) -> Vec<f32> {
    let mut at = seed;
    let mut next = || {
        at = at.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (at >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..len).map(|_| next()).collect()
}

fn uploaded(on: &dyn Backend, values: &[f32]) -> kernels::Result<Buffer> {
    let mut buffer = on.alloc(DType::F32, values.len())?;
    Upload::new(values, buffer.view_mut([values.len()])?).run(on)?;
    Ok(buffer)
}

fn downloaded(on: &dyn Backend, from: &Buffer, len: usize) -> kernels::Result<Vec<f32>> {
    let mut values = vec![0f32; len];
    Download::new(from.view([len])?, &mut values).run(on)?;
    Ok(values)
}

/// Refuses results that are not the same but for rounding: times of different work say nothing.
fn compare(name: &str, ours: &[f32], theirs: &[f32]) -> Outcome {
    let most = theirs.iter().fold(0f32, |most, value| most.max(value.abs()));
    let off = ours.iter().zip(theirs).fold(0f32, |most, (a, b)| most.max((a - b).abs()));
    if ours.len() == theirs.len() && off <= TOLERANCE * most {
        Ok(())
    } else {
        Err(format!("{name}: results differ by {off}").into())
    }
}

fn wait_for<'a>(device: &'a Device) -> Box<dyn Fn() -> Outcome + 'a> {
    Box::new(|| device.sync().map_err(|error| format!("burn: {error:?}").into()))
}

fn wait_for_ours(on: &WgpuBackend) -> Box<dyn Fn() -> Outcome + '_> {
    Box::new(|| Ok(on.sync()?))
}

fn on_host<const D: usize>(tensor: Tensor<D>) -> Outcome<Vec<f32>> {
    tensor.into_data().try_to_vec().map_err(|error| format!("burn: {error:?}").into())
}

/// Compares what both sides make of the same work, `len` values, and measures them. `as_ours` orders burn's values as ours.
fn contend<const D: usize>(
    name: &str,
    (on, device): (&WgpuBackend, &Device),
    len: usize,
    run: impl Fn(&mut Buffer) -> kernels::Result<()>,
    theirs: impl Fn() -> Tensor<D>,
    as_ours: impl Fn(Tensor<D>) -> Tensor<D>,
) -> Outcome<f64> {
    let mut out = on.alloc(DType::F32, len)?;
    let (got, ours_s) = timed(|| {
        run(&mut out)?;
        Ok(downloaded(on, &out, len)?)
    })?;
    let (wanted, theirs_s) = timed(|| on_host(as_ours(theirs())))?;
    compare(name, &got, &wanted)?;
    let ours = Side { first_s: ours_s, call: Box::new(|| Ok(run(&mut out)?)), wait: wait_for_ours(on) };
    let call = || {
        std::hint::black_box(theirs());
        Ok(())
    };
    beside(name, ours, Side { first_s: theirs_s, call: Box::new(call), wait: wait_for(device) })
}

fn matmul(on: &WgpuBackend, device: &Device, size: usize) -> Outcome<f64> {
    let name = format!("matmul {size}³");
    let [a, b] = [1, 2].map(|seed| numbers(size * size, seed));
    let (x, y) = (uploaded(on, &a)?, uploaded(on, &b)?);
    let run = |out: &mut Buffer| Matmul::new(x.view([size, size])?, y.view([size, size])?, out.view_mut([size, size])?).run(on);
    let [a, b] = [a, b].map(|values| Tensor::<1>::from_floats(&values[..], device).reshape([size, size]));
    let theirs = || a.clone().matmul(b.clone());

    contend(&name, (on, device), size * size, run, theirs, |product| product)
}

/// Queries, keys and values lie by position with us, by head with burn; each side is given what it likes.
fn attend(on: &WgpuBackend, device: &Device, causal: bool) -> Outcome<f64> {
    const SEQ: usize = 512;
    const HEAD_DIM: usize = 64;
    const HEADS: usize = 8;
    let shape = [1, SEQ, HEADS, HEAD_DIM];
    let name = format!("attention {SEQ}×{HEAD_DIM}×{HEADS}{}", if causal { ", causal" } else { "" });
    let values = [3, 4, 5].map(|seed| numbers(SEQ * HEADS * HEAD_DIM, seed));
    let len = values[0].len();
    let [q, k, v] = [uploaded(on, &values[0])?, uploaded(on, &values[1])?, uploaded(on, &values[2])?];
    let run = |out: &mut Buffer| {
        let (q, k, v) = (q.view(shape)?, k.view(shape)?, v.view(shape)?);
        let (mask, scale) = (if causal { Mask::Causal } else { Mask::None }, 1.0 / (HEAD_DIM as f32).sqrt());
        Attention { q, k, v, lengths: None, mask, scale, out: out.view_mut(shape)?, lse: None }.run(on)
    };
    // Through the host, so that it lies so and is no view of something else.
    let by_head = |values: &[f32]| {
        let turned = Tensor::<1>::from_floats(values, device).reshape(shape).swap_dims(1, 2);
        Tensor::<4>::from_data(turned.into_data(), device)
    };
    let [tq, tk, tv] = [by_head(&values[0]), by_head(&values[1]), by_head(&values[2])];
    let options = AttentionModuleOptions { scale: None, softcap: None, is_causal: causal };
    let theirs = || attention(tq.clone(), tk.clone(), tv.clone(), None, None, options);

    contend(&name, (on, device), len, run, theirs, |by_head| by_head.swap_dims(1, 2))
}

fn main() -> Outcome {
    let on = Arc::new(WgpuBackend::new(None)?);
    let device = Device::wgpu(DeviceKind::DefaultDevice);
    let info = on.info();
    println!("{} ({}), burn 0.22.1 with wgpu, autotune and fusion\n", info.name, info.driver);
    println!("| work, f32 | ours | burn | ratio (middle three fifths) | our first call | burn's first call |");
    println!("|---|---|---|---|---|---|");
    let mut ratios = vec![matmul(&on, &device, 512)?, matmul(&on, &device, 1024)?];
    ratios.push(attend(&on, &device, false)?);
    ratios.push(attend(&on, &device, true)?);
    ratios.push(gpt::forward(&on, &device)?);
    let mean = (ratios.iter().map(|ratio| ratio.ln()).sum::<f64>() / ratios.len() as f64).exp();
    println!("\nGeometric mean of the ratios: {mean:.2}×");
    Ok(())
}
