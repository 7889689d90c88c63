//! Quantization of activations: one pass for the largest magnitude, one for the codes.

use crate::CpuBackend;
use crate::dtypes::{floats, with_float};
use crate::memory::{input, output};
use crate::simd::{Float, load, prefetch, simd_fn};
use crate::threads::Parts;
use kernels::ops::Quantize;
use kernels::{Checked, DType, Launch, Op, Result, Support};

impl Launch<Quantize<'_>> for CpuBackend {
    fn support(&self, dtype: DType) -> Support {
        floats(dtype)
    }

    fn launch(&self, args: Checked<Quantize<'_>>) -> Result<()> {
        let args = args.into_inner();
        with_float!(Quantize::NAME, args.x.dtype(), T => quantize::<T>(self, args))
    }
}

fn quantize<T: Float>(cpu: &CpuBackend, args: Quantize<'_>) -> Result<()> {
    let (m, k) = (args.x.shape()[0], args.x.shape()[1]);
    let row_of = |layout: &kernels::Layout| {
        let (offset, stride) = (layout.offset(), layout.strides()[0]);
        move |row: usize| offset + row * stride
    };
    let (x_row, q_row, scale_at) = (row_of(args.x.layout()), row_of(args.q.layout()), row_of(args.scale.layout()));
    let x = input::<T>(&args.x)?;
    let (q, scale) = (Parts::new(output::<i8>(args.q)?), Parts::new(output::<f32>(args.scale)?));
    // Without elements (K = 0) a layout may begin anywhere.
    let of_x = |row: usize| x.get(x_row(row)..x_row(row) + k).unwrap_or_default();
    cpu.pool.run_sized(m * k, m.div_ceil(TASK_ROWS), &|task| {
        let rows = task * TASK_ROWS..m.min((task + 1) * TASK_ROWS);
        for row in rows.clone() {
            let mut none = [];
            // SAFETY: each row belongs to one task.
            let (codes, scale) = unsafe {
                let codes = if k == 0 { &mut none[..] } else { q.part(q_row(row), k) };
                (codes, scale.part(scale_at(row), 1))
            };
            let next = if row + 1 < rows.end { of_x(row + 1) } else { &[] };
            scale[0] = quantize_row(cpu.isa, of_x(row), next, codes);
        }
    });
    Ok(())
}

/// Rows that a thread quantizes one after the other.
const TASK_ROWS: usize = 8;

simd_fn! {
    /// Writes the codes of a row and returns its scale. The next row is fetched meanwhile: codes are made of what is in L1.
    fn quantize_row[T: Float](s, x: &[T], next: &[T], codes: &mut [i8]) -> f32 {
        assert!(x.len() == codes.len());
        // Four chains each, as one alone waits for itself.
        let (mut max, mut not_finite) = ([s.zero(); 4], [s.zero(); 4]);
        let whole = x.len() - x.len() % (4 * S::LANES);
        for at in (0..whole).step_by(4 * S::LANES) {
            for (chain, (max, not_finite)) in max.iter_mut().zip(&mut not_finite).enumerate() {
                // SAFETY: four vectors follow `at`.
                let v = unsafe { T::load(s, x.as_ptr().add(at + chain * S::LANES)) };
                *max = s.max(s.abs(v), *max);
                *not_finite = s.fma(v, s.zero(), *not_finite); // ±0 for every finite v, else NaN
            }
        }
        for at in (whole..x.len()).step_by(S::LANES) {
            let v = load(s, x, at);
            max[0] = s.max(s.abs(v), max[0]);
            not_finite[0] = s.fma(v, s.zero(), not_finite[0]);
        }
        let max = s.reduce_max(s.max(s.max(max[0], max[1]), s.max(max[2], max[3])));
        let finite = s.reduce_add((not_finite[0] + not_finite[1]) + (not_finite[2] + not_finite[3])) == 0.0;
        if !finite || max == 0.0 {
            codes.fill(0);
            return if finite { 0.0 } else { f32::NAN };
        }
        // 127 / max overflows for a subnormal max: then both are made larger first.
        let (lift, max_lifted) = if max < f32::MIN_POSITIVE * 256.0 { (16_777_216.0, max * 16_777_216.0) } else { (1.0, max) };
        let (lift, factor) = (s.splat(lift), s.splat(127.0 / max_lifted));
        let mut at = 0;
        while at + S::LANES <= x.len() {
            prefetch(next.as_ptr().wrapping_add(at));
            // SAFETY: LANES elements and codes follow `at`.
            unsafe {
                let v = T::load(s, x.as_ptr().add(at));
                s.store_i8(codes.as_mut_ptr().add(at), s.to_int(v * lift * factor));
            }
            at += S::LANES;
        }
        if at < x.len() {
            let mut lanes = [0i8; 16];
            // SAFETY: no vector has more lanes.
            unsafe { s.store_i8(lanes.as_mut_ptr(), s.to_int(load(s, x, at) * lift * factor)) };
            codes[at..].copy_from_slice(&lanes[..x.len() - at]);
        }
        max / 127.0
    }
}
