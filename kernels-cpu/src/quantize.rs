//! Quantization of activations: one pass for the largest magnitude, one for the codes.

use crate::CpuBackend;
use crate::dtypes::{floats, with_float};
use crate::memory::{input, output};
use crate::simd::{Float, load, simd_fn};
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
    cpu.pool.run_sized(m * k, m, &|row| {
        // Without elements (K = 0) a layout may begin anywhere.
        let of_x = x.get(x_row(row)..x_row(row) + k).unwrap_or_default();
        let mut none = [];
        // SAFETY: each row belongs to one task.
        let (codes, scale) = unsafe {
            let codes = if k == 0 { &mut none[..] } else { q.part(q_row(row), k) };
            (codes, scale.part(scale_at(row), 1))
        };
        scale[0] = quantize_row(cpu.isa, of_x, codes);
    });
    Ok(())
}

simd_fn! {
    /// Writes the codes of a row and returns its scale.
    fn quantize_row[T: Float](s, x: &[T], codes: &mut [i8]) -> f32 {
        let (mut max, mut not_finite) = (s.zero(), s.zero());
        for at in (0..x.len()).step_by(S::LANES) {
            let v = load(s, x, at);
            max = s.max(s.abs(v), max);
            not_finite = not_finite + v * s.zero(); // ±0 for every finite v, else NaN
        }
        let max = s.reduce_max(max);
        if s.reduce_add(not_finite) != 0.0 || max == 0.0 {
            codes.fill(0);
            return if max == 0.0 && s.reduce_add(not_finite) == 0.0 { 0.0 } else { f32::NAN };
        }
        // 127 / max overflows for a subnormal max: then both are made larger first.
        let (lift, max_lifted) = if max < f32::MIN_POSITIVE * 256.0 { (16_777_216.0, max * 16_777_216.0) } else { (1.0, max) };
        let (lift, factor) = (s.splat(lift), s.splat(127.0 / max_lifted));
        for at in (0..x.len()).step_by(S::LANES) {
            let mut lanes = [0f32; 16];
            crate::simd::store(s, &mut lanes, 0, s.round(load(s, x, at) * lift * factor));
            for (code, &v) in codes[at..].iter_mut().zip(&lanes[..S::LANES]) {
                *code = v as i8;
            }
        }
        max / 127.0
    }
}
