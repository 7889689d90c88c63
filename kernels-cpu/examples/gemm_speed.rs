//! Times single products, for work on the kernels: `cargo run --release -p kernels-cpu --example gemm_speed [THREADS]`.
//!
//! The benchmarks that count are those of the `bench` crate; this prints one line per size in a few seconds.

use kernels::ops::Matmul;
use kernels::{DType, Memory, Op};
use kernels_cpu::CpuBackend;
use std::hint::black_box;
use std::time::Instant;

/// Least time of one call, in ns, over about 0.3 s.
fn least_ns(mut call: impl FnMut()) -> f64 {
    call();
    let (start, mut least) = (Instant::now(), f64::MAX);
    while start.elapsed().as_millis() < 300 {
        let (begin, mut calls) = (Instant::now(), 0);
        while begin.elapsed().as_micros() < 200 {
            call();
            calls += 1;
        }
        least = least.min(begin.elapsed().as_nanos() as f64 / calls as f64);
    }
    least
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let threads = std::env::args().nth(1).map_or(Ok(1), |text| text.parse())?;
    let cpu = CpuBackend::builder().threads(threads).build()?;
    println!("{} on {threads} threads", cpu.isa().name());
    for (m, n, k) in [
        (8, 8, 8),
        (32, 32, 32),
        (64, 64, 64),
        (128, 128, 128),
        (256, 256, 256),
        (512, 512, 512),
        (1024, 1024, 1024),
        (2048, 2048, 2048),
    ] {
        let (a, b) = (cpu.alloc(DType::F32, m * k)?, cpu.alloc(DType::F32, k * n)?);
        let mut out = cpu.alloc(DType::F32, m * n)?;
        for transposed in [false, true] {
            let ns = least_ns(|| {
                let right = if transposed { b.view([n, k]).and_then(|b| b.transpose(0, 1)) } else { b.view([k, n]) };
                let product =
                    right.and_then(|right| Matmul::new(a.view([m, k])?, right, out.view_mut([m, n])?).run(black_box(&cpu)));
                black_box(product).expect("the shapes fit");
            });
            let kind = if transposed { "b transposed" } else { "b as it is" };
            println!("matmul f32 {m}x{n}x{k} {kind}: {ns:.0} ns, {:.1} GFLOP/s", 2.0 * (m * n * k) as f64 / ns);
        }
    }
    Ok(())
}
