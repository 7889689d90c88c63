//! Times products beside the measured limits: `cargo run --release -p kernels-cpu --example gemm_speed -- THREADS [FILTER]`.

mod operands;

use kernels::ops::{Act, Linear, Matmul};
use kernels::weight::Values;
use kernels::{DType, Memory, Op, Result, Weight, WeightRef};
use kernels_cpu::{CpuBackend, measure_limits};
use operands::ones;
use std::time::Instant;

fn median_ns(mut call: impl FnMut() -> Result<()>) -> Result<f64> {
    call()?;
    let begin = Instant::now();
    call()?;
    let calls = (2e6 / begin.elapsed().as_nanos() as f64).ceil().max(1.0) as usize;
    let (start, mut all) = (Instant::now(), Vec::new());
    while start.elapsed().as_millis() < 150 || all.len() < 3 {
        let begin = Instant::now();
        for _ in 0..calls {
            call()?;
        }
        all.push(begin.elapsed().as_nanos() as f64 / calls as f64);
    }
    all.sort_by(f64::total_cmp);
    Ok(all[all.len() / 2])
}

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let threads = std::env::args().nth(1).map_or(Ok(1), |text| text.parse())?;
    let filter = std::env::args().nth(2).unwrap_or_default();
    let cpu = CpuBackend::builder().threads(threads).build()?;
    let limits = measure_limits(cpu.isa(), &[threads])?[0];
    println!("{} {limits:?}", cpu.isa().name());
    let print = |what: String, dtype: DType, flop: f64, ns: f64| {
        let peak = match dtype {
            DType::I8 => limits.peak_int8_gop_per_s,
            DType::Bf16 => limits.peak_bf16_gflop_per_s,
            _ => limits.peak_f32_gflop_per_s,
        };
        println!("{what:<34} {ns:>12.0} ns {:>7.1} GFLOP/s {:>4.0} %", flop / ns, 100.0 * flop / ns / peak);
    };
    for (m, n, k) in [(256, 256, 256), (512, 512, 512), (1024, 1024, 1024), (2048, 2048, 2048), (32, 4096, 4096), (1, 4096, 4096)]
    {
        let name = format!("matmul i8 {m}x{n}x{k}");
        if !name.contains(&filter) {
            continue;
        }
        let (a, b) = (ones(&cpu, DType::I8, m * k)?, ones(&cpu, DType::I8, k * n)?);
        let mut out = cpu.alloc(DType::I32, m * n)?;
        let ns = median_ns(|| Matmul::new(a.view([m, k])?, b.view([k, n])?, out.view_mut([m, n])?).run(&cpu))?;
        print(name, DType::I8, 2.0 * (m * n * k) as f64, ns);
    }
    for dtype in [DType::F32, DType::Bf16] {
        for size in [8, 32, 64, 128, 256, 512, 1024, 2048, 4096] {
            let name = format!("matmul {dtype} {size}³");
            if !name.contains(&filter) {
                continue;
            }
            let (a, b) = (ones(&cpu, dtype, size * size)?, ones(&cpu, dtype, size * size)?);
            let mut out = cpu.alloc(dtype, size * size)?;
            let square = [size, size];
            let ns = median_ns(|| Matmul::new(a.view(square)?, b.view(square)?, out.view_mut(square)?).run(&cpu))?;
            print(name, dtype, 2.0 * (size as f64).powi(3), ns);
        }
        for (n, k) in [(768, 768), (2304, 768), (768, 3072), (4096, 4096), (11008, 4096)] {
            let name = |m: usize| format!("linear {dtype} {m}x{n}x{k}");
            let rows: Vec<usize> = [1, 8, 32, 128, 512, 2048].into_iter().filter(|&m| name(m).contains(&filter)).collect();
            if rows.is_empty() {
                continue;
            }
            let values = Values::from_f32(dtype, &vec![0.1f32; n * k]).ok_or("no such values")?;
            let packed = cpu.pack(&Weight::dense(n, k, values)?)?;
            for m in rows {
                let (x, mut out) = (ones(&cpu, dtype, m * k)?, cpu.alloc(dtype, m * n)?);
                let ns = median_ns(|| {
                    let (x, weight) = (x.view([m, k])?, WeightRef::Packed(&packed));
                    Linear { x, weight, bias: None, act: Act::None, out: out.view_mut([m, n])? }.run(&cpu)
                })?;
                print(name(m) + &format!(" {:.1} GB/s", packed.size_bytes() as f64 / ns), dtype, 2.0 * (m * n * k) as f64, ns);
            }
        }
    }
    Ok(())
}
