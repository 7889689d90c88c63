//! Bytes per second of the ops that memory bounds, beside a plain read of the same number of bytes between their runs:
//! `cargo run --release -p kernels-cpu --example memory_speed [WORD…]`.
//!
//! Bytes are those of [`Op::cost`]: each operand once per direction. A processor that fetches the lines it is about to overwrite
//! moves more (copy: three streams, not two), so that shares of ops with ordinary stores end at 2/3 to 3/4 beyond its caches.
//! Runs with the threads of `SIZEWISE_THREADS`, and prints the lines all words are part of, such as `memory f32 norm`.

use kernels::ops::*;
use kernels::{Buffer, DType, Memory, Op, Result};
use kernels_cpu::{CpuBackend, ReadProbe};
use std::time::Instant;

const WIDTH: usize = 768;
const VOCAB: usize = 50_257;

/// Where operands lie, and what is printed of it.
struct Place<'a> {
    cpu: &'a CpuBackend,
    probe: ReadProbe,
    name: &'static str,
    words: &'a [String],
    samples: usize,
}

impl Place<'_> {
    /// Measures a call that moves `bytes`, if it is asked for.
    fn report(&self, name: &str, bytes: u64, mut call: impl FnMut() -> Result<()>) -> Result<()> {
        let line = format!("{:6} {name}", self.name);
        if !self.words.iter().all(|word| line.contains(word.as_str())) {
            return Ok(());
        }
        let repeats = (20_000_000 / bytes.max(1)).max(1);
        let (mut speeds, mut reads) = (Vec::new(), Vec::new());
        for _ in 0..=self.samples {
            let start = Instant::now();
            for _ in 0..repeats {
                call()?;
            }
            speeds.push((bytes * repeats) as f64 / start.elapsed().as_nanos() as f64);
            reads.push(self.probe.gb_per_s(repeats as usize));
        }
        let median = |mut all: Vec<f64>| {
            all.remove(0); // warm-up
            all.sort_by(f64::total_cmp);
            all[all.len() / 2]
        };
        let (speed, read) = (median(speeds), median(reads));
        let us = bytes as f64 / speed / 1e3;
        println!("{line:40} {us:10.1} µs {speed:7.1} GB/s, read {read:6.1}: {:4.0} %", 100.0 * speed / read);
        Ok(())
    }
}

fn noise(cpu: &CpuBackend, dtype: DType, len: usize) -> Result<Buffer> {
    let mut buffer = cpu.alloc(dtype, len)?;
    let distribution = Distribution::Normal { mean: 0.0, std: 1.0 };
    Random { seed: 1, stream: 0, distribution, out: buffer.view_mut([len])? }.run(cpu)?;
    Ok(buffer)
}

/// `len` numbers below `limit`.
fn indices(cpu: &CpuBackend, len: usize, limit: usize) -> Result<Buffer> {
    let mut buffer = cpu.alloc(DType::U32, len)?;
    let numbers: Vec<u32> = (0..len).map(|i| (i * 7919 % limit) as u32).collect();
    Upload::new(&numbers, buffer.view_mut([len])?).run(cpu)?;
    Ok(buffer)
}

/// Reports `$op`, run again and again, by its own cost.
macro_rules! measure {
    ($place:expr, $dtype:expr, $name:expr, $op:expr) => {{
        let bytes = $op.cost().bytes;
        $place.report(&format!("{} {}", $dtype, $name), bytes, || $op.run($place.cpu))?;
    }};
}

fn main() -> Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let cpu = &CpuBackend::new()?;
    println!("{} threads, {}", cpu.threads(), cpu.isa().name());
    for (name, rows, samples) in [("L2", 64, 15), ("L3", 1024, 9), ("memory", 1 << 17, 5)] {
        let named = ["L2", "L3", "memory"].iter().any(|place| words.iter().any(|word| word == place));
        if named && !words.iter().any(|word| word == name) {
            continue;
        }
        let bytes = 2 * rows * WIDTH * size_of::<f32>() / cpu.threads();
        let probe = ReadProbe::new(cpu.isa(), cpu.threads(), bytes)?;
        let place = &Place { cpu, probe, name, words: &words, samples };
        let dtypes = [DType::F32, DType::Bf16];
        let asked = |dtype: &DType| {
            !words.iter().any(|w| dtypes.iter().any(|d| d.name() == w)) || words.iter().any(|w| w == dtype.name())
        };
        for dtype in dtypes.into_iter().filter(asked) {
            elements(place, dtype, rows)?;
            normalizations(place, dtype, rows)?;
            training(place, dtype, rows)?;
        }
    }
    Ok(())
}

fn elements(place: &Place, dtype: DType, rows: usize) -> Result<()> {
    let (cpu, len, shape) = (place.cpu, rows * WIDTH, [rows, WIDTH]);
    let (x, d, mut out) = (noise(cpu, dtype, len)?, noise(cpu, dtype, len)?, cpu.alloc(dtype, len)?);
    measure!(place, dtype, "copy", Copy { x: x.view(shape)?, out: out.view_mut(shape)? });
    measure!(place, dtype, "copy transposed", Copy { x: x.view([WIDTH, rows])?.transpose(0, 1)?, out: out.view_mut(shape)? });
    measure!(place, dtype, "fill", Fill { value: 1.0, out: out.view_mut(shape)? });
    let add = BinaryOp::Add;
    measure!(place, dtype, "add", Binary { op: add, a: x.view(shape)?, b: d.view(shape)?, out: out.view_mut(shape)? });
    let row = d.view([1, WIDTH])?.broadcast_to(shape)?;
    measure!(place, dtype, "add a row", Binary { op: add, a: x.view(shape)?, b: row, out: out.view_mut(shape)? });
    let column = d.view([rows, 1])?.broadcast_to(shape)?;
    measure!(place, dtype, "add a column", Binary { op: add, a: x.view(shape)?, b: column, out: out.view_mut(shape)? });
    let turned = d.view([WIDTH, rows])?.transpose(0, 1)?;
    measure!(place, dtype, "add transposed", Binary { op: add, a: x.view(shape)?, b: turned, out: out.view_mut(shape)? });
    measure!(place, dtype, "axpy", Axpy { alpha: 0.5, x: x.view(shape)?, out: out.view_mut(shape)? });
    let affine = UnaryOp::Affine { scale: 2.0, shift: 1.0 };
    for op in [affine, UnaryOp::Exp, UnaryOp::Log, UnaryOp::Tanh, UnaryOp::Silu, UnaryOp::Gelu, UnaryOp::GeluErf] {
        measure!(place, dtype, format!("{op:?}"), Unary { op, x: x.view(shape)?, out: out.view_mut(shape)? });
    }
    for op in [UnaryOp::Relu, UnaryOp::Silu, UnaryOp::Gelu, UnaryOp::GeluErf] {
        let name = format!("{op:?} backward");
        let (x, dout) = (x.view(shape)?, d.view(shape)?);
        measure!(place, dtype, name, UnaryBackward { op, x, dout, dx: out.view_mut(shape)? });
    }
    let op = ReduceOp::Sum;
    let (mut per_row, mut per_column) = (cpu.alloc(DType::F32, rows)?, cpu.alloc(DType::F32, WIDTH)?);
    measure!(place, dtype, "reduce rows", Reduce { op, x: x.view(shape)?, axis: 1, out: per_row.view_mut([rows, 1])? });
    measure!(place, dtype, "reduce columns", Reduce { op, x: x.view(shape)?, axis: 0, out: per_column.view_mut([1, WIDTH])? });
    let distribution = Distribution::Normal { mean: 0.0, std: 1.0 };
    measure!(place, dtype, "random normal", Random { seed: 1, stream: 2, distribution, out: out.view_mut(shape)? });
    let distribution = Distribution::Uniform { low: 0.0, high: 1.0 };
    measure!(place, dtype, "random uniform", Random { seed: 1, stream: 2, distribution, out: out.view_mut(shape)? });
    if dtype != DType::F32 {
        let mut wide = cpu.alloc(DType::F32, len)?;
        measure!(place, dtype, "cast to f32", Cast { x: x.view(shape)?, out: wide.view_mut(shape)? });
        measure!(place, dtype, "cast from f32", Cast { x: wide.view(shape)?, out: out.view_mut(shape)? });
    }
    let index = indices(cpu, rows, rows)?;
    let (index, table) = (index.view([rows])?, x.view(shape)?);
    measure!(place, dtype, "gather", Gather { table, index, out: out.view_mut(shape)? });
    measure!(place, dtype, "scatter_add", ScatterAdd { index, x: table, out: out.view_mut(shape)? });
    let heads = [1, rows, WIDTH / 64, 64];
    for pairing in [Pairing::Halves, Pairing::Interleaved] {
        let (x, direction) = (x.view(heads)?, Direction::Forward);
        let name = format!("rope {pairing:?}");
        measure!(place, dtype, name, Rope { x, position: 0, theta: 1e4, pairing, direction, out: out.view_mut(heads)? });
    }
    Ok(())
}

fn normalizations(place: &Place, dtype: DType, rows: usize) -> Result<()> {
    let (cpu, len, shape) = (place.cpu, rows * WIDTH, [rows, WIDTH]);
    let (x, d, mut out) = (noise(cpu, dtype, len)?, noise(cpu, dtype, len)?, cpu.alloc(dtype, len)?);
    let weight = noise(cpu, dtype, WIDTH)?;
    let (mut mean, mut rstd) = (cpu.alloc(DType::F32, rows)?, cpu.alloc(DType::F32, rows)?);
    let (mut dweight, mut dbias) = (cpu.alloc(dtype, WIDTH)?, cpu.alloc(dtype, WIDTH)?);
    measure!(
        place,
        dtype,
        "layer_norm",
        LayerNorm {
            x: x.view(shape)?,
            weight: weight.view([WIDTH])?,
            bias: Some(weight.view([WIDTH])?),
            eps: 1e-5,
            out: out.view_mut(shape)?,
            mean: Some(mean.view_mut([rows])?),
            rstd: Some(rstd.view_mut([rows])?),
        }
    );
    measure!(
        place,
        dtype,
        "layer_norm backward",
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
    measure!(
        place,
        dtype,
        "rms_norm",
        RmsNorm {
            x: x.view(shape)?,
            weight: weight.view([WIDTH])?,
            eps: 1e-5,
            out: out.view_mut(shape)?,
            rstd: Some(rstd.view_mut([rows])?),
        }
    );
    measure!(
        place,
        dtype,
        "rms_norm backward",
        RmsNormBackward {
            x: x.view(shape)?,
            weight: weight.view([WIDTH])?,
            rstd: rstd.view([rows])?,
            dout: d.view(shape)?,
            dx: out.view_mut(shape)?,
            dweight: dweight.view_mut([WIDTH])?,
        }
    );
    measure!(place, dtype, "softmax", Softmax { x: x.view(shape)?, out: out.view_mut(shape)? });
    measure!(
        place,
        dtype,
        "softmax backward",
        SoftmaxBackward { y: x.view(shape)?, dout: d.view(shape)?, dx: out.view_mut(shape)? }
    );
    let rows = (len / VOCAB).max(1);
    let shape = [rows, VOCAB];
    if rows * VOCAB > len {
        return Ok(());
    }
    let target = indices(cpu, rows, VOCAB)?;
    let (scale, target) = (1.0, || target.view([rows]).map(Target::Class));
    let (mut loss, mut lse) = (cpu.alloc(DType::F32, rows)?, cpu.alloc(DType::F32, rows)?);
    measure!(
        place,
        dtype,
        "cross_entropy",
        CrossEntropy {
            logits: x.view(shape)?,
            target: target()?,
            scale,
            loss: loss.view_mut([rows])?,
            lse: lse.view_mut([rows])?,
        }
    );
    measure!(
        place,
        dtype,
        "cross_entropy backward",
        CrossEntropyBackward {
            logits: x.view(shape)?,
            target: target()?,
            scale,
            lse: lse.view([rows])?,
            dloss: loss.view([rows])?,
            dlogits: out.view_mut(shape)?,
        }
    );
    measure!(place, dtype, "softmax of 50257", Softmax { x: x.view(shape)?, out: out.view_mut(shape)? });
    Ok(())
}

fn training(place: &Place, dtype: DType, rows: usize) -> Result<()> {
    let (cpu, len, shape) = (place.cpu, rows * WIDTH, [rows, WIDTH]);
    let mut grad = noise(cpu, dtype, len)?;
    let [mut param, mut m, mut v] = [noise(cpu, DType::F32, len)?, noise(cpu, DType::F32, len)?, cpu.alloc(DType::F32, len)?];
    measure!(
        place,
        dtype,
        "adamw",
        AdamW {
            param: param.view_mut(shape)?,
            grad: grad.view(shape)?,
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
    measure!(
        place,
        dtype,
        "sgd",
        Sgd {
            param: param.view_mut(shape)?,
            grad: grad.view(shape)?,
            velocity: Some(m.view_mut(shape)?),
            lr: 1e-3,
            momentum: 0.9,
            form: Momentum::Heavy,
            l2: 0.01,
            l1: 0.0,
        }
    );
    let mut norm = cpu.alloc(DType::F32, 1)?;
    let bytes = (len * dtype.size_bytes()) as u64;
    place.report(&format!("{dtype} clip_norm, small"), bytes, || {
        ClipNorm { grads: &mut [grad.view_mut(shape)?], max_norm: f32::MAX, norm: norm.view_mut([1])? }.run(cpu)
    })?;
    let mut max_norm = 1e3;
    place.report(&format!("{dtype} clip_norm, large"), 3 * bytes, || {
        max_norm *= 0.99; // always below what the gradient has been clipped to
        ClipNorm { grads: &mut [grad.view_mut(shape)?], max_norm, norm: norm.view_mut([1])? }.run(cpu)
    })
}
