//! Times sparse weights beside our own dense kernel, call by call in turn:
//! `cargo run --release -p kernels-cpu --example sparse_speed [THREADS] [M] [N] [K] [DTYPE]`.
//!
//! One line per pattern and share of zeros, medians and least times; then the share of zeros from which each pattern is the faster.

mod operands;

use kernels::ops::{Act, Linear};
use kernels::weight::{Pattern, Sparse, SparseValues, Values};
use kernels::{Buffer, DType, Memory, Op, Packed, Result, Weight, WeightRef};
use kernels_cpu::CpuBackend;
use operands::ones;
use std::time::{Duration, Instant};

/// Time for a pair of weights.
const TIME: Duration = Duration::from_millis(500);

/// Percent of zeros, the densest first.
const ZEROS: [u64; 8] = [40, 50, 60, 65, 70, 80, 90, 95];

/// Numbers from a seed (xorshift).
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 >> 32
    }
    /// In −1..1.
    fn value(&mut self) -> f32 {
        self.next() as f32 / (1u64 << 31) as f32 - 1.0
    }
}

/// Random zeros, in blocks of `rows` outputs × 1 input.
fn random(noise: &mut Noise, (n, k): (usize, usize), rows: usize, zeros: u64, dtype: DType) -> Result<Weight> {
    let (mut row_ptr, mut col) = (vec![0], Vec::new());
    for _ in 0..n.div_ceil(rows) {
        col.extend((0..k as u32).filter(|_| noise.next() % 100 >= zeros));
        row_ptr.push(col.len() as u32);
    }
    let values = stored(noise, n, col.len() * rows, dtype);
    let pattern = if rows == 1 { Pattern::Csr { row_ptr, col } } else { Pattern::Block { rows, cols: 1, row_ptr, col } };
    Sparse::new(n, k, pattern, values).map(Weight::Sparse)
}

fn two_of_four(noise: &mut Noise, (n, k): (usize, usize), dtype: DType) -> Result<Weight> {
    let groups = n * k.div_ceil(4);
    let places = (0..groups).map(|_| [0b0100, 0b1000, 0b1100, 0b1001, 0b1101, 0b1110][noise.next() as usize % 6]).collect();
    let values = stored(noise, n, 2 * groups, dtype);
    Sparse::new(n, k, Pattern::TwoOfFour { places }, values).map(Weight::Sparse)
}

fn values(noise: &mut Noise, len: usize, dtype: DType) -> Values {
    let values: Vec<_> = (0..len).map(|_| noise.value()).collect();
    Values::from_f32(dtype, &values).unwrap_or(Values::F32(values))
}

fn stored(noise: &mut Noise, n: usize, len: usize, dtype: DType) -> SparseValues {
    if dtype != DType::I8 {
        return values(noise, len, dtype).into();
    }
    SparseValues::Int8 { codes: (0..len).map(|_| noise.next() as i8).collect(), scales: vec![0.01; n] }
}

struct Layer {
    cpu: CpuBackend,
    x: Buffer,
    out: Buffer,
    m: usize,
    shape: (usize, usize),
}

impl Layer {
    fn run(&mut self, weight: &Packed) -> Result<f64> {
        let (n, k) = self.shape;
        let begin = Instant::now();
        let (x, out) = (self.x.view([self.m, k])?, self.out.view_mut([self.m, n])?);
        Linear { x, weight: WeightRef::Packed(weight), bias: None, act: Act::None, out }.run(&self.cpu)?;
        Ok(begin.elapsed().as_nanos() as f64)
    }

    /// Median and least ns of one call with each of two weights, in turn.
    fn compare(&mut self, weights: [&Packed; 2]) -> Result<[(f64, f64); 2]> {
        let mut times = [Vec::new(), Vec::new()];
        let begin = Instant::now();
        while begin.elapsed() < TIME || times[0].len() < 5 {
            for (times, weight) in times.iter_mut().zip(weights) {
                times.push(self.run(weight)?);
            }
        }
        Ok(times.map(|mut times| {
            times.remove(0); // warm-up
            times.sort_by(f64::total_cmp);
            (times[times.len() / 2], times[0])
        }))
    }
}

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let args: Vec<_> = std::env::args().skip(1).collect();
    let number = |at: usize, default: usize| args.get(at).map_or(Ok(default), |text| text.parse());
    let (threads, m, shape) = (number(0, 1)?, number(1, 64)?, (number(2, 4096)?, number(3, 4096)?));
    let dtype = match args.get(4).map_or("f32", String::as_str) {
        "bf16" => DType::Bf16,
        "f16" => DType::F16,
        "int8" => DType::I8,
        _ => DType::F32,
    };
    let cpu = CpuBackend::builder().threads(threads).build()?;
    let (n, k) = shape;
    let mut noise = Noise(0x9e37_79b9_7f4a_7c15);
    let (x, out) = (ones(&cpu, DType::F32, m * k)?, cpu.alloc(DType::F32, m * n)?);
    let dense = cpu.pack(&Weight::dense(n, k, values(&mut noise, n * k, DType::F32))?)?;
    println!("{}, {threads} threads, x [{m}, {k}] · [{n}, {k}]ᵀ, {dtype} values, against dense f32", cpu.isa().name());
    let mut layer = Layer { cpu, x, out, m, shape };
    let mut even = Vec::new();
    for rows in [1, 16] {
        let mut before: Option<(f64, f64)> = None;
        for zeros in ZEROS {
            let weight = random(&mut noise, shape, rows, zeros, dtype)?;
            let ratio = print(&mut layer, &dense, &weight, zeros)?;
            if let Some((from, below)) = before.filter(|&(_, below)| below < 1.0 && ratio >= 1.0) {
                let crossing = from + (zeros as f64 - from) * (1.0 - below) / (ratio - below);
                even.push(format!("{}: {crossing:.0} %", weight.format()));
            } else if before.is_none() && ratio >= 1.0 {
                even.push(format!("{}: below {zeros} %", weight.format()));
            }
            before = Some((zeros as f64, ratio));
        }
    }
    let weight = two_of_four(&mut noise, shape, dtype)?;
    print(&mut layer, &dense, &weight, 50)?;
    println!("faster than dense from {}", even.join(", "));
    Ok(())
}

/// Prints a line; returns how many times as fast as dense, by medians.
fn print(layer: &mut Layer, dense: &Packed, weight: &Weight, zeros: u64) -> Result<f64> {
    let packed = layer.cpu.pack(weight)?;
    let [(dense, dense_least), (sparse, sparse_least)] = layer.compare([dense, &packed])?;
    let (ms, gb_per_s) = (|ns: f64| ns * 1e-6, packed.size_bytes() as f64 / sparse);
    let format = weight.format();
    println!(
        "{format:<12} {zeros} % zeros: dense {:8.3} ms, sparse {:8.3} ms: {:5.2} × (least {:8.3}, {:8.3}: {:5.2} ×), {gb_per_s:5.1} GB/s",
        ms(dense),
        ms(sparse),
        dense / sparse,
        ms(dense_least),
        ms(sparse_least),
        dense_least / sparse_least,
    );
    Ok(dense / sparse)
}
