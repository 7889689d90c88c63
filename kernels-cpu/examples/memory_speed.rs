//! Bytes per second of the ops that memory bounds, by [`Op::cost`]: `cargo run --release -p kernels-cpu --example memory_speed`.
//! Threads as `SIZEWISE_THREADS` says. Prints the median of 15 runs, first in cache, then beyond it.

use kernels::ops::*;
use kernels::{Buffer, DType, Memory, Op, Result};
use kernels_cpu::CpuBackend;
use std::time::Instant;

const WIDTH: usize = 768;

fn report(name: &str, cpu: &CpuBackend, mut make: impl FnMut() -> Result<()>, bytes: u64) -> Result<()> {
    let repeats = (50_000_000 / bytes).max(1);
    let mut seconds: Vec<f64> = Vec::new();
    for _ in 0..17 {
        let start = Instant::now();
        for _ in 0..repeats {
            make()?;
        }
        seconds.push(start.elapsed().as_secs_f64() / repeats as f64);
    }
    seconds.drain(..2); // warm-up
    seconds.sort_by(f64::total_cmp);
    println!("{name:24} {:2} threads {:10.1} GB/s", cpu.threads(), bytes as f64 / seconds[7] / 1e9);
    Ok(())
}

fn noise(cpu: &CpuBackend, dtype: DType, len: usize) -> Result<Buffer> {
    let mut buffer = cpu.alloc(dtype, len)?;
    let distribution = Distribution::Normal { mean: 0.0, std: 1.0 };
    Random { seed: 1, stream: 0, distribution, out: buffer.view_mut([len])? }.run(cpu)?;
    Ok(buffer)
}

/// Runs `$op` again and again, measured by its own cost.
macro_rules! measure {
    ($name:expr, $cpu:expr, $ty:ident, $op:expr) => {{
        let bytes = $op.cost().bytes;
        report(&$name, $cpu, || $op.run($cpu), bytes)?;
    }};
}

fn main() -> Result<()> {
    let cpu = &CpuBackend::new()?;
    for (rows, place) in [(64, "in cache"), (20_000, "in memory")] {
        let len = rows * WIDTH;
        let shape = [rows, WIDTH];
        println!("{place}: [{rows}, {WIDTH}] on {}", cpu.isa().name());
        for dtype in [DType::F32, DType::Bf16] {
            let (x, d) = (noise(cpu, dtype, len)?, noise(cpu, dtype, len)?);
            let weight = noise(cpu, dtype, WIDTH)?;
            let mut out = cpu.alloc(dtype, len)?;
            let (mut mean, mut rstd) = (cpu.alloc(DType::F32, rows)?, cpu.alloc(DType::F32, rows)?);
            let (mut dweight, mut dbias) = (cpu.alloc(dtype, WIDTH)?, cpu.alloc(dtype, WIDTH)?);
            let name = |op: &str| format!("{op} {dtype}");
            measure!(name("copy"), cpu, Copy, Copy { x: x.view(shape)?, out: out.view_mut(shape)? });
            measure!(
                name("layer_norm"),
                cpu,
                LayerNorm,
                LayerNorm {
                    x: x.view(shape)?,
                    weight: weight.view([WIDTH])?,
                    bias: None,
                    eps: 1e-5,
                    out: out.view_mut(shape)?,
                    mean: Some(mean.view_mut([rows])?),
                    rstd: Some(rstd.view_mut([rows])?),
                }
            );
            measure!(
                name("layer_norm_backward"),
                cpu,
                LayerNormBackward,
                LayerNormBackward {
                    x: x.view(shape)?,
                    weight: weight.view([WIDTH])?,
                    mean: mean.view([rows])?,
                    rstd: rstd.view([rows])?,
                    dout: d.view(shape)?,
                    dx: out.view_mut(shape)?,
                    dweight: dweight.view_mut([WIDTH])?,
                    dbias: Some(dbias.view_mut([WIDTH])?),
                }
            );
            let eps = 1e-5;
            measure!(
                name("rms_norm"),
                cpu,
                RmsNorm,
                RmsNorm { x: x.view(shape)?, weight: weight.view([WIDTH])?, eps, out: out.view_mut(shape)?, rstd: None }
            );
            measure!(name("softmax"), cpu, Softmax, Softmax { x: x.view(shape)?, out: out.view_mut(shape)? });
            for op in [UnaryOp::Exp, UnaryOp::Gelu, UnaryOp::GeluErf, UnaryOp::Silu] {
                let name = name(&format!("{op:?}"));
                measure!(name, cpu, Unary, Unary { op, x: x.view(shape)?, out: out.view_mut(shape)? });
            }
            let op = BinaryOp::Add;
            measure!(name("add"), cpu, Binary, Binary { op, a: x.view(shape)?, b: d.view(shape)?, out: out.view_mut(shape)? });
            let op = ReduceOp::Sum;
            measure!(name("reduce rows"), cpu, Reduce, Reduce { op, x: x.view(shape)?, axis: 1, out: mean.view_mut([rows, 1])? });
            measure!(
                name("reduce columns"),
                cpu,
                Reduce,
                Reduce { op, x: x.view(shape)?, axis: 0, out: dbias.view_mut([1, WIDTH])? }
            );
            let mut wide = cpu.alloc(DType::F32, len)?;
            measure!(name("cast to f32 from"), cpu, Cast, Cast { x: x.view(shape)?, out: wide.view_mut(shape)? });
            measure!(name("cast from f32 to"), cpu, Cast, Cast { x: wide.view(shape)?, out: out.view_mut(shape)? });
            let (mut m, mut v) = (noise(cpu, DType::F32, len)?, cpu.alloc(DType::F32, len)?);
            measure!(
                name("adamw, gradient"),
                cpu,
                AdamW,
                AdamW {
                    param: wide.view_mut(shape)?,
                    grad: x.view(shape)?,
                    m: m.view_mut(shape)?,
                    v: v.view_mut(shape)?,
                    lr: 1e-3,
                    beta1: 0.9,
                    beta2: 0.999,
                    eps: 1e-8,
                    weight_decay: 0.01,
                    l1: 0.0,
                    step: 10,
                }
            );
            let distribution = Distribution::Normal { mean: 0.0, std: 1.0 };
            measure!(name("random normal"), cpu, Random, Random { seed: 1, stream: 2, distribution, out: out.view_mut(shape)? });
        }
    }
    Ok(())
}
