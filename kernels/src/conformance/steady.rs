//! Steady state: once ops have run, running them again makes nothing on the device.

use super::Device;
use crate::ops::*;
use crate::{Buffer, DType, Op, Result};

const ROWS: usize = 40;
const WIDTH: usize = 24;

fn floats(on: &Device, len: usize) -> Result<Buffer> {
    let mut buffer = on.alloc(DType::F32, len)?;
    let values: Vec<f32> = (0..len).map(|i| (i % 13) as f32 / 13.0 + 0.1).collect();
    Upload::new(&values, buffer.view_mut([len])?).run(on)?;
    Ok(buffer)
}

/// What a training step is made of beside products and attention.
fn step(on: &Device, x: &Buffer, column: &Buffer, index: &Buffer, outs: &mut [Buffer; 6], number: u32) -> Result<()> {
    let [a, b, c, mean, rstd, row] = outs;
    let (shape, rows, width) = ([ROWS, WIDTH], [ROWS], [WIDTH]);
    Gather { table: x.view(shape)?, index: index.view(rows)?, out: a.view_mut(shape)? }.run(on)?;
    ScatterAdd { index: index.view(rows)?, x: x.view(shape)?, out: a.view_mut(shape)? }.run(on)?;
    let (weight, mean_out, rstd_out) = (column.view(width)?, Some(mean.view_mut(rows)?), Some(rstd.view_mut(rows)?));
    let out = b.view_mut(shape)?;
    LayerNorm { x: a.view(shape)?, weight, bias: None, eps: 1e-5, out, mean: mean_out, rstd: rstd_out }.run(on)?;
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
    .run(on)?;
    let (pairing, direction, dims) = (Pairing::Halves, Direction::Forward, [1, ROWS, 2, WIDTH / 2]);
    Rope { x: c.view(dims)?, position: number as usize, theta: 1e4, pairing, direction, out: b.view_mut(dims)? }.run(on)?;
    let (logits, target) = (b.view(shape)?, Target::Class(index.view(rows)?));
    CrossEntropy { logits, target, scale: 1.0, loss: mean.view_mut(rows)?, lse: rstd.view_mut(rows)? }.run(on)?;
    let (lse, dloss, dlogits) = (rstd.view(rows)?, mean.view(rows)?, c.view_mut(shape)?);
    CrossEntropyBackward { logits, target, scale: 1.0, lse, dloss, dlogits }.run(on)?;
    Softmax { x: c.view(shape)?, out: b.view_mut(shape)? }.run(on)?;
    // Longer than one part of a line.
    let long = x.view([1, 1])?.broadcast_to([1, 10_000])?;
    Reduce { op: ReduceOp::Sum, x: long, axis: 1, out: row.view_mut([1, 1])? }.run(on)?;
    let distribution = Distribution::Normal { mean: 0.0, std: 1.0 };
    Random { seed: 1, stream: number.into(), distribution, out: c.view_mut(shape)? }.run(on)?;
    ClipNorm { grads: &mut [c.view_mut(shape)?], max_norm: 1.0, norm: row.view_mut([1])? }.run(on)?;
    let (param, grad, m, v) = (a.view_mut(shape)?, c.view(shape)?, b.view_mut(shape)?, x.view(shape)?);
    Axpy { alpha: 0.5, x: v, out: m }.run(on)?;
    Sgd { param, grad, velocity: None, lr: 0.1, momentum: 0.0, form: Momentum::Heavy, l2: 0.0, l1: 0.0 }.run(on)
}

/// Checks that a training step (all but products and attention) allocates nothing on the device when it runs again.
///
/// # Errors
/// What the second step has allocated; an error of an op.
pub fn steady(on: &Device) -> std::result::Result<(), String> {
    let run = || -> Result<_> {
        let (x, column) = (floats(on, ROWS * WIDTH)?, floats(on, WIDTH)?);
        let mut index = on.alloc(DType::U32, ROWS)?;
        let indices: Vec<u32> = (0..ROWS as u32).map(|i| i * 7 % WIDTH as u32).collect();
        Upload::new(&indices, index.view_mut([ROWS])?).run(on)?;
        let of = || floats(on, ROWS * WIDTH);
        let mut outs = [of()?, of()?, of()?, of()?, of()?, of()?];
        step(on, &x, &column, &index, &mut outs, 1)?;
        on.sync()?;
        let before = on.memory_stats();
        for number in 2..6 {
            step(on, &x, &column, &index, &mut outs, number)?;
            on.sync()?;
        }
        Ok((before, on.memory_stats()))
    };
    let (before, after) = run().map_err(|error| error.to_string())?;
    let made =
        (after.allocations - before.allocations, after.live_bytes - before.live_bytes, after.peak_bytes - before.peak_bytes);
    if made == (0, 0, 0) { Ok(()) } else { Err(format!("four more steps made {made:?} (allocations, live bytes, peak bytes)")) }
}
