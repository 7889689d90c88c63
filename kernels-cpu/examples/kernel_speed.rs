//! Times the four families beside the machine's limits, for work on the kernels:
//! `cargo run --release -p kernels-cpu --example kernel_speed [THREADS]`.
//!
//! The benchmarks that count are those of the `bench` crate; this prints one line per shape in about half a minute.

mod operands;

use kernels::ops::{Act, Attention, AttentionBackward, Linear, LinearInt8, Mask, Matmul};
use kernels::weight::{Bits, Pattern, Quant, QuantScheme, Sparse, Values, Zero};
use kernels::{DType, Memory, Op, Result, Weight, WeightRef};
use kernels_cpu::{CpuBackend, measure_limits};
use operands::ones;
use std::time::Instant;

/// Least time of one call in ns, over about 0.2 s.
fn least_ns(mut call: impl FnMut() -> Result<()>) -> Result<f64> {
    call()?;
    let (start, mut least) = (Instant::now(), f64::MAX);
    while start.elapsed().as_millis() < 200 {
        let (begin, mut calls) = (Instant::now(), 0);
        while begin.elapsed().as_micros() < 200 {
            call()?;
            calls += 1;
        }
        least = least.min(begin.elapsed().as_nanos() as f64 / calls as f64);
    }
    Ok(least)
}

fn print(what: String, flop: f64, ns: f64, peak: f64) {
    println!("{what:<44} {ns:>12.0} ns {:>7.1} Gop/s {:>4.0} %", flop / ns, 100.0 * flop / ns / peak);
}

fn weights(n: usize, k: usize) -> Result<Vec<Weight>> {
    let quant = |bits, group_size, zero| {
        let scheme = QuantScheme { bits, group_size, zero };
        let groups = n * scheme.groups(k);
        let zeros = if zero == Zero::Asymmetric { vec![7; groups] } else { Vec::new() };
        Quant::new(n, k, scheme, vec![0x73; n * scheme.row_bytes(k)], vec![0.01; groups], zeros).map(Weight::Quant)
    };
    // One value, or block, in ten.
    let tenth = |rows: usize| (0..n.div_ceil(rows)).flat_map(|row| (row as u32 % 10..k as u32).step_by(10)).collect::<Vec<_>>();
    let starts = |rows: usize| {
        let count = |row: usize| (k - row % 10).div_ceil(10) as u32;
        std::iter::once(0)
            .chain((0..n.div_ceil(rows)).scan(0, |sum, row| {
                *sum += count(row);
                Some(*sum)
            }))
            .collect()
    };
    let sparse = |pattern, stored| Sparse::new(n, k, pattern, Values::F32(vec![0.1; stored])).map(Weight::Sparse);
    let (csr, blocks) = (tenth(1), tenth(16));
    let (csr_len, blocks_len) = (csr.len(), 16 * blocks.len());
    let dense = vec![0.1f32; n * k];
    let half = Values::from_f32(DType::Bf16, &dense).map(|values| Weight::dense(n, k, values)).transpose()?;
    let mut all = vec![Weight::dense(n, k, Values::F32(dense))?];
    all.extend(half);
    all.push(quant(Bits::Int8, 64, Zero::Symmetric)?);
    all.push(quant(Bits::Int4, 32, Zero::Symmetric)?);
    all.push(quant(Bits::Int4, 32, Zero::Asymmetric)?);
    all.push(sparse(Pattern::Csr { row_ptr: starts(1), col: csr }, csr_len)?);
    all.push(sparse(Pattern::Block { rows: 16, cols: 1, row_ptr: starts(16), col: blocks }, blocks_len)?);
    Ok(all)
}

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let threads = std::env::args().nth(1).map_or(Ok(1), |text| text.parse())?;
    let cpu = CpuBackend::builder().threads(threads).build()?;
    let limits = measure_limits(cpu.isa(), &[threads])?[0];
    println!("{} {limits:?}", cpu.isa().name());
    let peak = limits.peak_f32_gflop_per_s;
    for size in [8, 32, 64, 128, 256, 512, 1024, 2048] {
        let (a, b) = (ones(&cpu, DType::F32, size * size)?, ones(&cpu, DType::F32, size * size)?);
        let mut out = cpu.alloc(DType::F32, size * size)?;
        let square = [size, size];
        let flop = 2.0 * (size as f64).powi(3);
        let ns = least_ns(|| Matmul::new(a.view(square)?, b.view(square)?, out.view_mut(square)?).run(&cpu))?;
        print(format!("matmul f32 {size}³"), flop, ns, peak);
        let ns = least_ns(|| Matmul::new(a.view(square)?, b.view(square)?.transpose(0, 1)?, out.view_mut(square)?).run(&cpu))?;
        print(format!("matmul f32 {size}³, b transposed"), flop, ns, peak);
    }
    for (n, k) in [(768, 768), (4096, 4096)] {
        for weight in weights(n, k)? {
            let packed = cpu.pack(&weight)?;
            for m in [1, 8, 32, 128] {
                let (x, mut out) = (ones(&cpu, DType::F32, m * k)?, cpu.alloc(DType::F32, m * n)?);
                let ns = least_ns(|| {
                    let (x, weight) = (x.view([m, k])?, WeightRef::Packed(&packed));
                    Linear { x, weight, bias: None, act: Act::None, out: out.view_mut([m, n])? }.run(&cpu)
                })?;
                let gb_per_s = packed.size_bytes() as f64 / ns;
                print(format!("linear {m}x{n}x{k} {}, {gb_per_s:.1} GB/s", weight.format()), 2.0 * (m * n * k) as f64, ns, peak);
                if weight.format().starts_with("int8") {
                    let (q, scale) = (ones(&cpu, DType::I8, m * k)?, ones(&cpu, DType::F32, m)?);
                    let ns = least_ns(|| {
                        let (x, x_scale, out) = (q.view([m, k])?, scale.view([m])?, out.view_mut([m, n])?);
                        LinearInt8 { x, x_scale, weight: &packed, bias: None, act: Act::None, out }.run(&cpu)
                    })?;
                    print(format!("linear_int8 {m}x{n}x{k}"), 2.0 * (m * n * k) as f64, ns, limits.peak_int8_gop_per_s);
                }
            }
        }
    }
    let (h, d) = (12, 64);
    for (tq, tk) in [(128, 128), (512, 512), (1024, 1024), (1, 1024), (1, 4096)] {
        let (q_len, k_len) = (tq * h * d, tk * h * d);
        let f32s = |len| ones(&cpu, DType::F32, len);
        let (q, k, v, dout) = (f32s(q_len)?, f32s(k_len)?, f32s(k_len)?, f32s(q_len)?);
        let (mut out, mut lse, mut dq, mut dk, mut dv) = (f32s(q_len)?, f32s(h * tq)?, f32s(q_len)?, f32s(k_len)?, f32s(k_len)?);
        let (q_shape, k_shape, mask, scale) = ([1, tq, h, d], [1, tk, h, d], Mask::Causal, 0.125);
        let pairs = (0..tq).map(|t| mask.visible(t, tq, tk) as f64).sum::<f64>() * h as f64;
        let ns = least_ns(|| {
            let (q, k, v) = (q.view(q_shape)?, k.view(k_shape)?, v.view(k_shape)?);
            let (out, lse) = (out.view_mut(q_shape)?, Some(lse.view_mut([1, h, tq])?));
            Attention { q, k, v, lengths: None, mask, scale, out, lse }.run(&cpu)
        })?;
        print(format!("attention {tq}x{tk}, 12 heads of 64"), 4.0 * d as f64 * pairs, ns, peak);
        if tq > 1 {
            let ns = least_ns(|| {
                AttentionBackward {
                    q: q.view(q_shape)?,
                    k: k.view(k_shape)?,
                    v: v.view(k_shape)?,
                    lengths: None,
                    mask,
                    scale,
                    out: out.view(q_shape)?,
                    lse: lse.view([1, h, tq])?,
                    dout: dout.view(q_shape)?,
                    dq: dq.view_mut(q_shape)?,
                    dk: dk.view_mut(k_shape)?,
                    dv: dv.view_mut(k_shape)?,
                }
                .run(&cpu)
            })?;
            print(format!("attention_backward {tq}x{tk}"), 10.0 * d as f64 * pairs, ns, peak);
        }
    }
    Ok(())
}
