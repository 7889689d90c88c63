//! Steady state: once an op has run, running it again makes nothing on the device.

use kernels::ops::*;
use kernels::{Buffer, DType, Memory, Op, Result};
use kernels_wgpu::WgpuBackend;

const ROWS: usize = 40;
const WIDTH: usize = 24;

fn floats(gpu: &WgpuBackend, len: usize) -> Buffer {
    let mut buffer = gpu.alloc(DType::F32, len).unwrap();
    let values: Vec<f32> = (0..len).map(|i| (i % 13) as f32 / 13.0 + 0.1).collect();
    Upload::new(&values, buffer.view_mut([len]).unwrap()).run(gpu).unwrap();
    buffer
}

/// What a training step is made of beside products and attention.
fn step(gpu: &WgpuBackend, x: &Buffer, column: &Buffer, index: &Buffer, outs: &mut [Buffer; 6], number: u32) -> Result<()> {
    let [a, b, c, mean, rstd, row] = outs;
    let (shape, rows, width) = ([ROWS, WIDTH], [ROWS], [WIDTH]);
    Gather { table: x.view(shape)?, index: index.view(rows)?, out: a.view_mut(shape)? }.run(gpu)?;
    ScatterAdd { index: index.view(rows)?, x: x.view(shape)?, out: a.view_mut(shape)? }.run(gpu)?;
    let (weight, mean_out, rstd_out) = (column.view(width)?, Some(mean.view_mut(rows)?), Some(rstd.view_mut(rows)?));
    let out = b.view_mut(shape)?;
    LayerNorm { x: a.view(shape)?, weight, bias: None, eps: 1e-5, out, mean: mean_out, rstd: rstd_out }.run(gpu)?;
    LayerNormBackward {
        x: a.view(shape)?,
        weight: column.view(width)?,
        mean: mean.view(rows)?,
        rstd: rstd.view(rows)?,
        dout: b.view(shape)?,
        dx: c.view_mut(shape)?,
        dweight: row.view_mut(width)?,
        dbias: None,
    }
    .run(gpu)?;
    let (pairing, direction, dims) = (Pairing::Halves, Direction::Forward, [1, ROWS, 2, WIDTH / 2]);
    Rope { x: c.view(dims)?, position: number as usize, theta: 1e4, pairing, direction, out: b.view_mut(dims)? }.run(gpu)?;
    let (logits, target) = (b.view(shape)?, Target::Class(index.view(rows)?));
    CrossEntropy { logits, target, scale: 1.0, loss: mean.view_mut(rows)?, lse: rstd.view_mut(rows)? }.run(gpu)?;
    let (lse, dloss, dlogits) = (rstd.view(rows)?, mean.view(rows)?, c.view_mut(shape)?);
    CrossEntropyBackward { logits, target, scale: 1.0, lse, dloss, dlogits }.run(gpu)?;
    Softmax { x: c.view(shape)?, out: b.view_mut(shape)? }.run(gpu)?;
    // Longer than one part of a line.
    let long = x.view([1, 1])?.broadcast_to([1, 10_000])?;
    Reduce { op: ReduceOp::Sum, x: long, axis: 1, out: row.view_mut([1, 1])? }.run(gpu)?;
    let distribution = Distribution::Normal { mean: 0.0, std: 1.0 };
    Random { seed: 1, stream: number.into(), distribution, out: c.view_mut(shape)? }.run(gpu)?;
    ClipNorm { grads: &mut [c.view_mut(shape)?], max_norm: 1.0, norm: row.view_mut([1])? }.run(gpu)?;
    let (param, grad, m, v) = (a.view_mut(shape)?, c.view(shape)?, b.view_mut(shape)?, x.view(shape)?);
    Axpy { alpha: 0.5, x: v, out: m }.run(gpu)?;
    Sgd { param, grad, velocity: None, lr: 0.1, momentum: 0.0, form: Momentum::Heavy, l2: 0.0, l1: 0.0 }.run(gpu)
}

#[test]
fn a_second_step_allocates_nothing() {
    let gpu = WgpuBackend::new(None).unwrap_or_else(|error| panic!("{error}"));
    let (x, column) = (floats(&gpu, ROWS * WIDTH), floats(&gpu, WIDTH));
    let mut index = gpu.alloc(DType::U32, ROWS).unwrap();
    let indices: Vec<u32> = (0..ROWS as u32).map(|i| i * 7 % WIDTH as u32).collect();
    Upload::new(&indices, index.view_mut([ROWS]).unwrap()).run(&gpu).unwrap();
    let mut outs = std::array::from_fn(|_| floats(&gpu, ROWS * WIDTH));
    step(&gpu, &x, &column, &index, &mut outs, 1).unwrap();
    gpu.sync().unwrap();
    let before = gpu.memory_stats();
    for number in 2..6 {
        step(&gpu, &x, &column, &index, &mut outs, number).unwrap();
        gpu.sync().unwrap();
    }
    let after = gpu.memory_stats();
    assert_eq!(
        (after.allocations, after.live_bytes, after.peak_bytes),
        (before.allocations, before.live_bytes, before.peak_bytes)
    );
}
