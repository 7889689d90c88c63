//! Times attention beside the machine's limits, for work on the kernel:
//! `cargo run --release -p kernels-cpu --example attention_speed [THREADS]`.
//!
//! Prints one line per shape in about fifteen seconds: median and least time, share of the peak of f32 on unmasked work, and the rate
//! at which keys and values are read.

mod operands;

use kernels::ops::{Attention, AttentionBackward, Mask};
use kernels::{DType, Memory, Op, Result};
use kernels_cpu::{CpuBackend, measure_limits};
use operands::ones;
use std::time::Instant;

/// Median and least time of one call in ns, over about 0.3 s.
fn time_ns(mut call: impl FnMut() -> Result<()>) -> Result<(f64, f64)> {
    call()?;
    let (start, mut times) = (Instant::now(), Vec::new());
    while start.elapsed().as_millis() < 300 || times.len() < 5 {
        let begin = Instant::now();
        call()?;
        times.push(begin.elapsed().as_nanos() as f64);
    }
    times.sort_by(f64::total_cmp);
    Ok((times[times.len() / 2], times[0]))
}

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let threads = std::env::args().nth(1).map_or(Ok(1), |text| text.parse())?;
    let cpu = CpuBackend::builder().threads(threads).build()?;
    let limits = measure_limits(cpu.isa(), &[threads])?[0];
    println!("{} {limits:?}", cpu.isa().name());
    let line = |what: &str, flop: f64, bytes: f64, (median, least): (f64, f64)| {
        let share = 100.0 * flop / median / limits.peak_f32_gflop_per_s;
        let (median_us, least_us) = (median / 1e3, least / 1e3);
        println!("{what:<40} {median_us:>10.1} µs (least {least_us:>10.1}) {share:>5.1} % {:>6.1} GB/s", bytes / median);
    };
    // Tq, Tk, heads, key heads, D.
    let prompts = [128, 512, 1024, 2048].map(|t| [t, t, 12, 12, 64]);
    let cached =
        [[1, 256, 12, 12, 64], [1, 1024, 12, 12, 64], [1, 4096, 12, 12, 64], [1, 16384, 12, 12, 64], [1, 4096, 32, 4, 128]];
    for [tq, tk, heads, kv_heads, d] in prompts.into_iter().chain(cached) {
        for dtype in [DType::F32, DType::Bf16] {
            let (q_len, k_len) = (tq * heads * d, tk * kv_heads * d);
            let ones = |len| ones(&cpu, dtype, len);
            let (q, k, v, dout, mut out) = (ones(q_len)?, ones(k_len)?, ones(k_len)?, ones(q_len)?, ones(q_len)?);
            let (mut dq, mut dk, mut dv) = (ones(q_len)?, ones(k_len)?, ones(k_len)?);
            let mut lse = cpu.alloc(DType::F32, heads * tq)?;
            let (q_shape, k_shape, mask, scale) = ([1, tq, heads, d], [1, tk, kv_heads, d], Mask::Causal, 0.125);
            let pairs = (0..tq).map(|t| mask.visible(t, tq, tk) as f64).sum::<f64>() * heads as f64;
            let (flop, bytes) = (2.0 * d as f64 * pairs, (2 * k_len * dtype.size_bytes()) as f64);
            let what = format!("{tq}x{tk}, {heads}/{kv_heads} heads of {d}, {dtype}");
            let time = time_ns(|| {
                let (q, k, v) = (q.view(q_shape)?, k.view(k_shape)?, v.view(k_shape)?);
                let (out, lse) = (out.view_mut(q_shape)?, Some(lse.view_mut([1, heads, tq])?));
                Attention { q, k, v, lengths: None, mask, scale, out, lse }.run(&cpu)
            })?;
            line(&what, 2.0 * flop, bytes, time);
            if tq > 1 && tq <= 1024 {
                let time = time_ns(|| {
                    let (q, k, v) = (q.view(q_shape)?, k.view(k_shape)?, v.view(k_shape)?);
                    let (out, lse, dout) = (out.view(q_shape)?, lse.view([1, heads, tq])?, dout.view(q_shape)?);
                    let (dq, dk, dv) = (dq.view_mut(q_shape)?, dk.view_mut(k_shape)?, dv.view_mut(k_shape)?);
                    AttentionBackward { q, k, v, lengths: None, mask, scale, out, lse, dout, dq, dk, dv }.run(&cpu)
                })?;
                line(&format!("backward {what}"), 5.0 * flop, bytes, time);
            }
        }
    }
    Ok(())
}
