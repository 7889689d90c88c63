//! What ops and dispatches cost on this device: `cargo run --release -p kernels-wgpu --example speed [part of a name]`.
//! On a software driver the figures say nothing about GPUs.

use kernels::ops::{Act, Attention, Fill, Linear, LinearInt8, Mask, Matmul, Upload};
use kernels::weight::{Bits, BlockFormat, Blocks, Pattern, Quant, QuantScheme, Sparse, Values};
use kernels::{Backend, Buffer, DType, Memory, Op, Packed, Result, Weight, WeightRef};
use kernels_wgpu::WgpuBackend;
use std::time::{Duration, Instant};

/// Values without pattern in [−1, 1).
fn values(len: usize) -> Vec<f32> {
    (0..len as u32).map(|i| i.wrapping_mul(2_654_435_761).rotate_left(15) as f32 / 2f32.powi(31) - 1.0).collect()
}

fn uploaded(gpu: &WgpuBackend, len: usize) -> Result<Buffer> {
    let mut buffer = gpu.alloc(DType::F32, len)?;
    Upload::new(&values(len), buffer.view_mut([len])?).run(gpu)?;
    Ok(buffer)
}

/// Median seconds of a call that is waited for.
fn median(gpu: &WgpuBackend, mut call: impl FnMut() -> Result<()>) -> Result<f64> {
    let mut once = || -> Result<f64> {
        let start = Instant::now();
        call()?;
        gpu.sync()?;
        Ok(start.elapsed().as_secs_f64())
    };
    once()?;
    let (begin, mut times) = (Instant::now(), Vec::new());
    while times.len() < 3 || (begin.elapsed() < Duration::from_secs(1) && times.len() < 100) {
        times.push(once()?);
    }
    times.sort_by(f64::total_cmp);
    Ok(times[times.len() / 2])
}

fn show(wanted: &str, name: &str, flop: usize, time: impl FnOnce() -> Result<f64>) -> Result<()> {
    if name.contains(wanted) {
        let seconds = time()?;
        println!("{name:44} {:10.1} µs {:10.2} GFLOP/s", seconds * 1e6, flop as f64 / seconds * 1e-9);
    }
    Ok(())
}

fn linear(gpu: &WgpuBackend, m: usize, n: usize, k: usize, packed: &Packed) -> Result<f64> {
    let x = uploaded(gpu, m * k)?;
    let mut out = gpu.alloc(DType::F32, m * n)?;
    median(gpu, || {
        let (x, out) = (x.view([m, k])?, out.view_mut([m, n])?);
        Linear { x, weight: WeightRef::Packed(packed), bias: None, act: Act::None, out }.run(gpu)
    })
}

/// One weight of every kind.
fn weights(n: usize, k: usize) -> Result<Vec<(&'static str, Weight)>> {
    let bytes = |len: usize| (0..len as u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect::<Vec<_>>();
    let quant = |bits, group_size| {
        let scheme = QuantScheme { group_size, ..QuantScheme::per_channel(bits) };
        Quant::new(n, k, scheme, bytes(n * scheme.row_bytes(k)), vec![0.01; n * scheme.groups(k)], Vec::new())
    };
    let blocks = |format: BlockFormat| {
        let zero_scales = bytes(n * k / format.block_size() * format.block_bytes());
        let finite = zero_scales.iter().map(|byte| byte & 0x3b).collect();
        Blocks::new(n, k, format, finite)
    };
    let of_ten = |rows: usize, cols: usize| {
        let per_row = cols / 10;
        let row_ptr = (0..=rows).map(|row| (row * per_row) as u32).collect::<Vec<_>>();
        let col = (0..rows * per_row).map(|at| (at % per_row * 10 + at / per_row % 10) as u32).collect::<Vec<_>>();
        (row_ptr, col)
    };
    let (row_ptr, col) = of_ten(n, k);
    let csr = Sparse::new(n, k, Pattern::Csr { row_ptr, col }, Values::F32(values(n * (k / 10))));
    let (row_ptr, col) = of_ten(n / 16, k);
    let pattern = Pattern::Block { rows: 16, cols: 1, row_ptr, col };
    let block = Sparse::new(n, k, pattern, Values::F32(values(n * (k / 10))));
    let pattern = Pattern::TwoOfFour { places: vec![0b1100; n * (k / 4)] };
    Ok(vec![
        ("dense", Weight::dense(n, k, Values::F32(values(n * k)))?),
        ("int8-channel", Weight::Quant(quant(Bits::Int8, usize::MAX)?)),
        ("int4-g64", Weight::Quant(quant(Bits::Int4, 64)?)),
        ("q8_0", Weight::Blocks(blocks(BlockFormat::Q8_0)?)),
        ("q4_0", Weight::Blocks(blocks(BlockFormat::Q4_0)?)),
        ("q4_k", Weight::Blocks(blocks(BlockFormat::Q4K)?)),
        ("q6_k", Weight::Blocks(blocks(BlockFormat::Q6K)?)),
        ("csr-90", Weight::Sparse(csr?)),
        ("block16x1-90", Weight::Sparse(block?)),
        ("2:4", Weight::Sparse(Sparse::new(n, k, pattern, Values::F32(values(n * (k / 4) * 2)))?)),
    ])
}

fn main() -> Result<()> {
    let wanted = std::env::args().nth(1).unwrap_or_default();
    let gpu = WgpuBackend::new(None)?;
    println!("{}, {}{}", gpu.info().name, gpu.info().driver, if gpu.info().software { " (software)" } else { "" });
    for n in [256, 512, 1024] {
        show(&wanted, &format!("matmul {n}³"), 2 * n * n * n, || {
            let (a, b) = (uploaded(&gpu, n * n)?, uploaded(&gpu, n * n)?);
            let mut out = gpu.alloc(DType::F32, n * n)?;
            median(&gpu, || Matmul::new(a.view([n, n])?, b.view([n, n])?, out.view_mut([n, n])?).run(&gpu))
        })?;
    }
    let (n, k) = (1024, 1280);
    for (name, weight) in weights(n, k)? {
        for m in [1, 64] {
            show(&wanted, &format!("linear {m}×{n}×{k} {name}"), 2 * m * n * k, || linear(&gpu, m, n, k, &gpu.pack(&weight)?))?;
        }
    }
    for (name, weight) in weights(n, k)?.into_iter().filter(|(_, weight)| matches!(weight, Weight::Quant(_) | Weight::Blocks(_)))
    {
        for m in [1, 64, 256] {
            let packed = gpu.pack(&weight)?;
            show(&wanted, &format!("linear_int8 {m}×{n}×{k} {name}"), 2 * m * n * k, || {
                let (x, x_scale) = (gpu.alloc(DType::I8, m * k)?, uploaded(&gpu, m)?);
                let mut out = gpu.alloc(DType::F32, m * n)?;
                median(&gpu, || {
                    let (x, x_scale, out) = (x.view([m, k])?, x_scale.view([m])?, out.view_mut([m, n])?);
                    LinearInt8 { x, x_scale, weight: &packed, bias: None, act: Act::None, out }.run(&gpu)
                })
            })?;
        }
    }
    for (seq_q, seq_k, mask) in [(512, 512, Mask::None), (512, 512, Mask::Causal), (1, 4096, Mask::None)] {
        let (heads, d) = (8, 64);
        let visible: usize = (0..seq_q).map(|t| mask.visible(t, seq_q, seq_k)).sum();
        show(&wanted, &format!("attention {seq_q}×{seq_k}, {heads} heads of {d}, {mask:?}"), 4 * heads * d * visible, || {
            let q = uploaded(&gpu, seq_q * heads * d)?;
            let (k, v) = (uploaded(&gpu, seq_k * heads * d)?, uploaded(&gpu, seq_k * heads * d)?);
            let mut out = gpu.alloc(DType::F32, seq_q * heads * d)?;
            median(&gpu, || {
                let (q, out) = (q.view([1, seq_q, heads, d])?, out.view_mut([1, seq_q, heads, d])?);
                let (k, v) = (k.view([1, seq_k, heads, d])?, v.view([1, seq_k, heads, d])?);
                Attention { q, k, v, lengths: None, mask, scale: 0.125, out, lse: None }.run(&gpu)
            })
        })?;
    }
    if "dispatch".contains(&wanted) {
        let mut x = gpu.alloc(DType::F32, 64)?;
        let mut host = |count: u32| -> Result<f64> {
            gpu.sync()?;
            let start = Instant::now();
            for _ in 0..count {
                Fill { value: 1.0, out: x.view_mut([64])? }.run(&gpu)?;
            }
            Ok(start.elapsed().as_secs_f64() / f64::from(count))
        };
        host(1000)?;
        // Fewer than are submitted by themselves: the host's own cost, without that of submissions.
        let mut times = (0..50).map(|_| host(200)).collect::<Result<Vec<_>>>()?;
        times.sort_by(f64::total_cmp);
        println!("host cost of a dispatch {:26.2} µs, with submissions {:.2} µs", times[25] * 1e6, host(5000)? * 1e6);
    }
    Ok(())
}
