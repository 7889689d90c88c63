//! Fully connected layer in 8-bit integers: exact sums per group in i32, scaled and added in f32.

use crate::CpuBackend;
use crate::gemm::Epilogue;
use crate::gemm::blocking::{Strips, lanes};
use crate::gemm::integer::{ROWS, pack_row};
use crate::gemm::pack::Strided;
use crate::linear::{LinearOut, packed_weight};
use crate::memory::{input, output};
use crate::simd::dot::{DotTile, dot_tile};
use crate::simd::simd_fn;
use crate::threads::{Parts, SERIAL_WORK};
use crate::weight::PackedWeight;
use crate::weight::quant::QuantStrips;
use kernels::ops::LinearInt8;
use kernels::weight::Bits;
use kernels::{Checked, DType, Error, Launch, Op, Result, Support};

impl Launch<LinearInt8<'_>> for CpuBackend {
    fn support(&self, dtype: DType) -> Support {
        if dtype == DType::I8 { Support::Native } else { Support::No("x is i8, from quantize") }
    }

    fn launch(&self, args: Checked<LinearInt8<'_>>) -> Result<()> {
        let args = args.into_inner();
        let weight = match packed_weight(LinearInt8::NAME, args.weight)? {
            PackedWeight::Quant(weight) if weight.bits == Bits::Int8 => weight,
            _ => {
                let (arg, wanted, got) = ("weight", "of an int8 format", args.weight.format().to_owned());
                return Err(Error::Value { op: LinearInt8::NAME, arg, wanted, got });
            }
        };
        linear_int8(self, args, weight)
    }
}

/// Rows whose words are packed at a time.
const BLOCK_ROWS: usize = 256;

fn linear_int8(cpu: &CpuBackend, args: LinearInt8<'_>, weight: &QuantStrips) -> Result<()> {
    let (m, n) = (args.out.shape()[0], args.out.shape()[1]);
    if args.out.numel() == 0 {
        return Ok(());
    }
    let x = Strided::new(input::<i8>(&args.x)?, args.x.layout().offset(), args.x.layout().strides()[0], 1);
    let scale = Strided::new(input::<f32>(&args.x_scale)?, args.x_scale.layout().offset(), args.x_scale.layout().strides()[0], 0);
    let bias = match &args.bias {
        Some(bias) => Some(Strided::new(input::<f32>(bias)?, bias.layout().offset(), 0, bias.layout().strides()[0])),
        None => None,
    };
    let (offset, row_stride) = (args.out.layout().offset(), args.out.layout().strides()[0]);
    let out = Parts::new(output::<f32>(args.out)?);
    let epilogue = LinearOut { out: &out, offset, row_stride, scale: Some(scale), bias, act: args.act };

    let lanes = lanes(cpu.isa);
    let strips = Strips::new(n, lanes);
    let (units, groups) = (weight.units.count(), weight.units.groups());
    let block = m.min(BLOCK_ROWS);
    let slots = if m * n * units < SERIAL_WORK { 1 } else { cpu.pool.threads() };
    let tile = ROWS * 3 * lanes;
    // Words [rows, units] and sums [rows, groups] of x; per thread tiles of i32 and f32 sums, and zero points.
    let task_words = 2 * tile + 3 * lanes;
    let mut scratch = cpu.heap.scratch(4 * (block * (units + groups) + slots * task_words))?;
    for start in (0..m).step_by(block) {
        let rows = start..(start + block).min(m);
        let (words, rest) = scratch.as_mut_slice::<i32>().split_at_mut(block * units);
        let (sums, rest) = rest.split_at_mut(block * groups);
        for (i, row) in rows.clone().enumerate() {
            pack_row(x, row, weight.units, &mut words[i * units..(i + 1) * units], &mut sums[i * groups..(i + 1) * groups]);
        }
        let (words, sums, rest) = (&*words, &*sums, Parts::new(rest));
        cpu.pool.run_slots(slots, strips.count(), &|strip, slot| {
            // SAFETY: no two running tasks share a slot.
            let own = unsafe { rest.part(slot * task_words, task_words) };
            let (exact, own) = own.split_at_mut(tile); // [ROWS, width]
            let (scaled, zeros) = own.split_at_mut(tile); // [ROWS, width], [width]
            let scaled: &mut [f32] = bytemuck::cast_slice_mut(scaled);
            let vectors = strips.vectors(strip);
            let width = vectors * lanes;
            let (strip_words, strip_scales, strip_zeros) = weight.strip(strip * 3 * lanes, width);
            for first in (0..rows.len()).step_by(ROWS) {
                let count = (rows.len() - first).min(ROWS);
                scaled[..count * width].fill(0.0);
                for group in 0..groups {
                    let zeros = strip_zeros.map(|all| {
                        let of_group = &all[group * width..(group + 1) * width];
                        zeros.iter_mut().zip(of_group).for_each(|(to, zero)| *to = zero.to_f32() as i32);
                        zeros.as_ptr()
                    });
                    let tile = DotTile {
                        x: words[first * units..(first + count) * units].as_ptr(),
                        x_stride: units,
                        x_sums: sums[first * groups + group..].as_ptr(),
                        x_sums_stride: groups,
                        codes: strip_words.as_ptr(),
                        zeros,
                        out: exact.as_mut_ptr(),
                        rows: count,
                        vectors,
                    };
                    // SAFETY: x, its sums and the strip hold these rows, units and vectors; `exact` is a tile of sums.
                    unsafe { dot_tile(cpu.isa, weight.units.of_group(group), tile) };
                    add_scaled(cpu.isa, exact, &strip_scales[group * width..(group + 1) * width], &mut scaled[..count * width]);
                }
                let result = rows.start + first..rows.start + first + count;
                epilogue.finish(cpu.isa, result, strips.columns(strip), scaled, vectors);
            }
        });
    }
    Ok(())
}

simd_fn! {
    /// sums[i, j] += scales[j] · exact[i, j], rows as long as `scales`, which is whole vectors.
    fn add_scaled(s, exact: &[i32], scales: &[f32], sums: &mut [f32]) {
        let width = scales.len();
        for (exact, sums) in exact.chunks_exact(width).zip(sums.chunks_exact_mut(width)) {
            let exact: &[f32] = bytemuck::cast_slice(exact); // bits only
            for j in (0..width).step_by(S::LANES) {
                let v = s.to_float(s.bits(crate::simd::load(s, exact, j)));
                let sum = s.fma(v, crate::simd::load(s, scales, j), crate::simd::load(s, sums, j));
                crate::simd::store(s, sums, j, sum);
            }
        }
    }
}
