//! Rotary position embedding.

use crate::CpuBackend;
use crate::dtypes::{floats, with_float};
use crate::simd::{Float, load, simd_fn, store};
use crate::strided::{InRows, OutRows, each_row, rows_of_task};
use crate::threads::Parts;
use kernels::ops::{Direction, Pairing, Rope};
use kernels::{Checked, DType, Launch, Op, Result, Support};

/// Elements of a head that are rotated at a time.
const STAGE: usize = 256;

simd_fn! {
    fn widen[T: Float](s, from: &[T], to: &mut [f32]) {
        for at in (0..to.len()).step_by(S::LANES) {
            store(s, to, at, load(s, from, at));
        }
    }
    fn narrow[T: Float](s, from: &[f32], to: &mut [T]) {
        for at in (0..to.len()).step_by(S::LANES) {
            store(s, to, at, load(s, from, at));
        }
    }
    fn rotate_halves[T: Float](s, cos: &[f32], sin: &[f32], x: &[T], out: &mut [T]) {
        let (a, b) = x.split_at(cos.len());
        let (ya, yb) = out.split_at_mut(cos.len());
        for at in (0..cos.len()).step_by(S::LANES) {
            let (c, sn, a, b) = (load(s, cos, at), load(s, sin, at), load(s, a, at), load(s, b, at));
            store(s, ya, at, s.fma(a, c, -(b * sn)));
            store(s, yb, at, s.fma(a, sn, b * c));
        }
    }
    fn rotate_pairs(_s, cos: &[f32], sin: &[f32], x: &mut [f32]) {
        for ((pair, c), sn) in x.chunks_exact_mut(2).zip(cos).zip(sin) {
            let (a, b) = (pair[0], pair[1]);
            pair[0] = a * c - b * sn;
            pair[1] = a * sn + b * c;
        }
    }
}

impl Launch<Rope<'_>> for CpuBackend {
    fn support(&self, dtype: DType) -> Support {
        floats(dtype)
    }

    fn launch(&self, args: Checked<Rope<'_>>) -> Result<()> {
        let Rope { x, position, theta, pairing, direction, out } = args.into_inner();
        let [_, steps, heads, width] = [0, 1, 2, 3].map(|axis| x.shape()[axis]);
        let half = width / 2;
        if x.numel() == 0 {
            return Ok(());
        }
        let frequencies_bytes = half * size_of::<f64>();
        let mut frequencies = self.heap.scratch(frequencies_bytes)?;
        let frequencies = frequencies.as_mut_slice::<f64>(); // [D/2]
        for (i, frequency) in frequencies.iter_mut().enumerate() {
            *frequency = (theta as f64).powf(-2.0 * i as f64 / width as f64);
        }
        let frequencies = &*frequencies;
        let mut table = self.heap.scratch(steps * width * size_of::<f32>())?;
        let table = table.as_mut_slice::<f32>(); // [T, 2, D/2]
        let sense = match direction {
            Direction::Forward => 1.0,
            Direction::Backward => -1.0,
        };
        let parts = Parts::new(&mut *table);
        let steps_of_task = rows_of_task(16 * width);
        self.pool.run_sized((steps * width).saturating_mul(16), steps.div_ceil(steps_of_task), &|task| {
            let first = task * steps_of_task;
            for t in first..(first + steps_of_task).min(steps) {
                // SAFETY: each step has a part of its own.
                let (cos, sin) = unsafe { parts.part(t * width, width) }.split_at_mut(half);
                for ((cos, sin), frequency) in cos.iter_mut().zip(sin).zip(frequencies) {
                    let (s, c) = ((position + t) as f64 * frequency).sin_cos();
                    (*cos, *sin) = (c as f32, (s * sense) as f32);
                }
            }
        });
        let table = &*table;
        with_float!(Rope::NAME, x.dtype(), T => {
            let operands = (InRows::<T>::new(&x)?, OutRows::<T>::new(out)?);
            each_row(&self.pool, rows_of_task(width), width, &operands, |row, (x, out)| {
                let t = row / heads % steps;
                let (cos, sin) = table[t * width..(t + 1) * width].split_at(half);
                match pairing {
                    Pairing::Halves => rotate_halves(self.isa, cos, sin, x, out),
                    Pairing::Interleaved => {
                        let mut stage = [0f32; STAGE];
                        let angles = cos.chunks(STAGE / 2).zip(sin.chunks(STAGE / 2));
                        for ((x, out), (cos, sin)) in x.chunks(STAGE).zip(out.chunks_mut(STAGE)).zip(angles) {
                            let stage = &mut stage[..x.len()];
                            widen(self.isa, x, stage);
                            rotate_pairs(self.isa, cos, sin, stage);
                            narrow(self.isa, stage, out);
                        }
                    }
                }
            });
            Ok(())
        })
    }
}
