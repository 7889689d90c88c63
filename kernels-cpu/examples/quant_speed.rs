//! Times layers of integer codes beside the machine's limits, for work on the kernels:
//! `cargo run --release -p kernels-cpu --example quant_speed [THREADS] [TEXT] [M]`, where TEXT picks layers whose name contains it.
//!
//! The benchmarks that count are those of the `bench` crate.

mod operands;

use kernels::ops::{Act, Linear, LinearInt8, Matmul, Quantize, Upload};
use kernels::weight::{Bits, BlockFormat, Blocks, Quant, QuantScheme, Zero};
use kernels::{DType, Memory, Op, Packed, Result, Weight, WeightRef};
use kernels_cpu::{CpuBackend, Limits, measure_limits};
use operands::ones;
use std::time::Instant;

/// Median time of one call in ns, over about 0.15 s.
fn median_ns(mut call: impl FnMut() -> Result<()>) -> Result<f64> {
    call()?;
    let begin = Instant::now();
    call()?;
    let calls = (100_000 / begin.elapsed().as_nanos().max(1) + 1) as usize;
    let (start, mut times) = (Instant::now(), Vec::new());
    while start.elapsed().as_millis() < 150 || times.len() < 5 {
        let begin = Instant::now();
        for _ in 0..calls {
            call()?;
        }
        times.push(begin.elapsed().as_nanos() as f64 / calls as f64);
    }
    times.sort_by(f64::total_cmp);
    Ok(times[times.len() / 2])
}

/// A form of weight: `int8`, `int8-g64`, `int4-g32`, `int4-g32-asym`, `q4_0`, …
fn weight(form: &str, n: usize, k: usize) -> Result<Weight> {
    let mut state = 1u32;
    let mut random = move || {
        state = state.wrapping_mul(747_796_405).wrapping_add(2_891_336_453);
        (state >> 16) as u8
    };
    if let Some(format) = BlockFormat::ALL.into_iter().find(|format| format.name() == form) {
        let size = format.block_bytes();
        let mut bytes: Vec<u8> = (0..n * k / format.block_size() * size).map(|_| random()).collect();
        for block in bytes.chunks_exact_mut(size) {
            let at = if format == BlockFormat::Q6K { 208 } else { 0 };
            block[at..at + 2].copy_from_slice(&half::f16::from_f32(0.01).to_le_bytes());
            if format.has_minima() {
                block[at + 2..at + 4].copy_from_slice(&half::f16::from_f32(0.02).to_le_bytes());
            }
        }
        return Blocks::new(n, k, format, bytes).map(Weight::Blocks);
    }
    let bits = if form.starts_with("int8") { Bits::Int8 } else { Bits::Int4 };
    let group = form.split('-').find_map(|part| part.strip_prefix('g')?.parse().ok());
    let zero = if form.ends_with("asym") { Zero::Asymmetric } else { Zero::Symmetric };
    let scheme = QuantScheme { bits, group_size: group.unwrap_or(usize::MAX), zero };
    let groups = n * scheme.groups(k);
    let zeros = if zero == Zero::Asymmetric { vec![7; groups] } else { Vec::new() };
    let codes = (0..n * scheme.row_bytes(k)).map(|_| random()).collect();
    Quant::new(n, k, scheme, codes, vec![0.01; groups], zeros).map(Weight::Quant)
}

struct Speed {
    cpu: CpuBackend,
    limits: Limits,
    pick: String,
}

impl Speed {
    fn print(&self, what: &str, work: f64, bytes: f64, ns: f64) {
        let (gop, gb) = (work / ns, bytes / ns);
        let shares = (100.0 * gop / self.limits.peak_int8_gop_per_s, 100.0 * gb / self.limits.bandwidth_gb_per_s);
        println!("{what:<44} {:>10.1} µs {gop:>7.1} Gop/s {:>3.0} %  {gb:>6.1} GB/s {:>4.0} %", ns / 1e3, shares.0, shares.1);
    }

    /// The layer on quantized rows alone, and with the quantization of its rows.
    fn linear(&self, form: &str, m: usize, packed: &Packed) -> Result<()> {
        let (cpu, n, k) = (&self.cpu, packed.n(), packed.k());
        let (work, bytes) = (2.0 * (m * n * k) as f64, packed.size_bytes() as f64);
        let values: Vec<f32> = (0..m * k).map(|i| ((i * 37) % 255) as f32 - 127.0).collect();
        let (mut x, mut q) = (cpu.alloc(DType::F32, m * k)?, cpu.alloc(DType::I8, m * k)?);
        let (mut scale, mut out) = (cpu.alloc(DType::F32, m)?, cpu.alloc(DType::F32, m * n)?);
        Upload::new(&values, x.view_mut([m * k])?).run(cpu)?;
        let mut quantize = || Quantize { x: x.view([m, k])?, q: q.view_mut([m, k])?, scale: scale.view_mut([m])? }.run(cpu);
        quantize()?;
        let ns = median_ns(&mut quantize)?;
        let quantize_us = ns / 1e3;
        let mut layer = || {
            let (x, x_scale, out) = (q.view([m, k])?, scale.view([m])?, out.view_mut([m, n])?);
            LinearInt8 { x, x_scale, weight: packed, bias: None, act: Act::None, out }.run(cpu)
        };
        let ns = median_ns(&mut layer)?;
        self.print(&format!("linear_int8 {m}x{n}x{k} {form}"), work, bytes, ns);
        let mut both = || {
            Quantize { x: x.view([m, k])?, q: q.view_mut([m, k])?, scale: scale.view_mut([m])? }.run(cpu)?;
            let (x, x_scale, out) = (q.view([m, k])?, scale.view([m])?, out.view_mut([m, n])?);
            LinearInt8 { x, x_scale, weight: packed, bias: None, act: Act::None, out }.run(cpu)
        };
        let ns = median_ns(&mut both)?;
        self.print(&format!("  and quantize ({quantize_us:.1} µs)"), work, bytes, ns);
        if m <= 2 {
            let ns = median_ns(|| {
                let (x, weight) = (x.view([m, k])?, WeightRef::Packed(packed));
                Linear { x, weight, bias: None, act: Act::None, out: out.view_mut([m, n])? }.run(cpu)
            })?;
            self.print(&format!("  linear {m}x{n}x{k} {form}"), work, bytes, ns);
        }
        Ok(())
    }

    fn matmul(&self, m: usize, n: usize, k: usize) -> Result<()> {
        let (a, b) = (ones(&self.cpu, DType::I8, m * k)?, ones(&self.cpu, DType::I8, k * n)?);
        let mut out = self.cpu.alloc(DType::I32, m * n)?;
        let ns = median_ns(|| Matmul::new(a.view([m, k])?, b.view([k, n])?, out.view_mut([m, n])?).run(&self.cpu))?;
        self.print(&format!("matmul i8 {m}x{n}x{k}"), 2.0 * (m * n * k) as f64, (k * n) as f64, ns);
        Ok(())
    }

    fn picks(&self, what: &str) -> bool {
        what.contains(&self.pick)
    }
}

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let threads = args.next().map_or(Ok(1), |text| text.parse())?;
    let cpu = CpuBackend::builder().threads(threads).build()?;
    let limits = measure_limits(cpu.isa(), &[threads])?[0];
    println!("{} {limits:?}", cpu.isa().name());
    let speed = Speed { cpu, limits, pick: args.next().unwrap_or_default() };
    let rows = args.next().map(|text| text.parse()).transpose()?;
    for (n, k) in [(768, 768), (3072, 768), (768, 3072), (4096, 4096)] {
        for m in [32, 512] {
            if speed.picks("matmul") {
                speed.matmul(m, n, k)?;
            }
        }
    }
    for form in ["int8", "int8-g64", "int4-g32", "int4-g32-asym", "q8_0", "q4_0", "q4_k", "q5_k", "q6_k"] {
        for (n, k) in [(768, 768), (3072, 768), (768, 3072), (4096, 4096)] {
            if speed.picks(&format!("batch {form} {n}x{k}")) {
                let packed = speed.cpu.pack(&weight(form, n, k)?)?;
                match rows {
                    Some(m) => speed.linear(form, m, &packed)?,
                    None => [1, 4, 8, 32, 512].into_iter().try_for_each(|m| speed.linear(form, m, &packed))?,
                }
            }
        }
        let (n, k) = (32_768, 16_384);
        if speed.picks(&format!("decode {form} {n}x{k}")) {
            let packed = speed.cpu.pack(&weight(form, n, k)?)?;
            [1, 4].into_iter().try_for_each(|m| speed.linear(form, m, &packed))?;
        }
    }
    Ok(())
}
