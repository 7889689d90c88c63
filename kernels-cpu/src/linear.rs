//! Fully connected layer: one product for every stored form of the weight, bias and activation applied as sums are stored.

use crate::CpuBackend;
use crate::gemm::pack::Strided;
use crate::gemm::pairs::{Pairs, with_factors};
use crate::gemm::{self, Epilogue, Plain, Size};
use crate::memory::{input, output};
use crate::simd::{Float, Isa, Simd, math, simd_fn};
use crate::threads::Parts;
use crate::weight::PackedWeight;
use crate::weight::code::{Code, with_code};
use half::{bf16, f16};
use kernels::ops::{Act, Linear};
use kernels::{Checked, DType, Error, Launch, Op, Result, Support, WeightRef};
use std::ops::Range;

impl Launch<Linear<'_>> for CpuBackend {
    fn support(&self, dtype: DType) -> Support {
        if dtype.is_float() { Support::Native } else { Support::No("x is f32, bf16 or f16; quantized rows are linear_int8's") }
    }

    fn launch(&self, args: Checked<Linear<'_>>) -> Result<()> {
        let args = args.into_inner();
        match args.x.dtype() {
            DType::Bf16 => float::<bf16>(self, args),
            DType::F16 => float::<f16>(self, args),
            _ => float::<f32>(self, args),
        }
    }
}

/// A weight of a packed operand, if this backend packed it.
///
/// # Errors
/// `Device` if it did not.
pub(crate) fn packed_weight<'a>(op: &'static str, packed: &'a kernels::Packed) -> Result<&'a PackedWeight> {
    packed.storage().ok_or(Error::Device { op, arg: "weight", backend: crate::NAME })
}

fn float<T: Float>(cpu: &CpuBackend, args: Linear<'_>) -> Result<()> {
    let &[m, k] = &args.x.shape()[..] else { return Ok(()) };
    let n = args.out.shape()[1];
    let size = Size { m, n, k };
    if args.out.numel() == 0 {
        return Ok(());
    }
    let x = args.x.layout();
    let left = Strided::new(input::<T>(&args.x)?, x.offset(), x.strides()[0], 1);
    let bias = match &args.bias {
        Some(bias) => Some(Strided::new(input::<T>(bias)?, bias.layout().offset(), 0, bias.layout().strides()[0])),
        None => None,
    };
    let (offset, row_stride) = (args.out.layout().offset(), args.out.layout().strides()[0]);
    let out = Parts::new(output::<T>(args.out)?);
    let column_scales = match args.weight {
        WeightRef::Packed(packed) => packed_weight(Linear::NAME, packed)?.column_scales(),
        WeightRef::Dense(_) => None,
    };
    let epilogue = LinearOut { out: &out, offset, row_stride, scale: None, column_scales, bias, act: args.act };
    match args.weight {
        WeightRef::Dense(view) => {
            let layout = view.layout();
            let weight = Strided::new(input::<T>(&view)?, layout.offset(), layout.strides()[0], layout.strides()[1]);
            with_factors(cpu.isa, size, left, weight.transposed(), |size, left, right| {
                gemm::multiply(cpu, size, left, right, &epilogue)
            })
        }
        WeightRef::Packed(packed) => match packed_weight(Linear::NAME, packed)? {
            PackedWeight::F32(weight) => gemm::multiply(cpu, size, &left, weight, &epilogue),
            PackedWeight::Bf16(weight) => match Pairs::of(cpu.isa, left, k) {
                Some(left) => gemm::multiply(cpu, size.in_pairs(), &left, &weight.in_pairs(left.token), &epilogue),
                None => gemm::multiply(cpu, size, &left, weight, &epilogue),
            },
            PackedWeight::F16(weight) => gemm::multiply(cpu, size, &left, weight, &epilogue),
            PackedWeight::Quant(weight) => with_code!(weight.kind, C => if C::ZEROS && weight.zeros.is_some() {
                gemm::multiply(cpu, size, &left, &weight.factor::<C, true>(), &epilogue)
            } else {
                gemm::multiply(cpu, size, &left, &weight.factor::<C, false>(), &epilogue)
            }),
            PackedWeight::Sparse(weight) => weight.multiply(cpu, size, left, &epilogue),
        },
    }
}

/// out = act(scales · sums + bias)
pub(crate) struct LinearOut<'a, T> {
    pub out: &'a Parts<'a, T>,
    pub offset: usize,
    pub row_stride: usize,
    /// One factor per row, if any: a matrix [M, 1].
    pub scale: Option<Strided<f32>>,
    /// One factor per column, if any, to whole vectors; zeros are positive then, however they came about.
    pub column_scales: Option<&'a [f32]>,
    /// A matrix [1, N].
    pub bias: Option<Strided<T>>,
    pub act: Act,
}

#[inline(always)]
fn activate<S: Simd>(s: S, act: Act, v: S::V) -> S::V {
    match act {
        Act::None => v,
        Act::Relu => s.max(s.zero(), v), // the second where either is NaN
        Act::Gelu => math::gelu(s, v),
        Act::GeluErf => math::gelu_erf(s, v),
        Act::Silu => math::silu(s, v),
    }
}

impl<T: Float> Epilogue for LinearOut<'_, T> {
    fn finish(&self, isa: Isa, rows: Range<usize>, columns: Range<usize>, sums: &[f32], vectors: usize) {
        store(isa, self, rows, columns, sums, vectors);
    }
    fn plain(&self) -> Option<Plain> {
        let kept = self.scale.is_none() && self.column_scales.is_none() && self.bias.is_none() && self.act == Act::None;
        if kept { Plain::of(self.out, self.offset, self.row_stride) } else { None }
    }
}

/// Vectors of a row that are stored before the next row is.
const ABREAST: usize = 4;

simd_fn! {
    fn store[T: Float](s, op: &LinearOut<'_, T>, rows: Range<usize>, columns: Range<usize>, sums: &[f32], vectors: usize) {
        assert!(sums.len() >= rows.len() * vectors * S::LANES && columns.len() <= vectors * S::LANES);
        let column_scales = op.column_scales.map(|scales| {
            assert!(scales.len() >= columns.start + columns.len().next_multiple_of(S::LANES));
            scales[columns.start..].as_ptr()
        });
        // SAFETY: rows and columns are within the output and the bias, whose layouts are within their buffers; this task alone writes
        // them. Sums and scales are readable to whole vectors, and the lanes hold all vectors of the bias.
        unsafe {
            for first in (0..columns.len()).step_by(ABREAST * S::LANES) {
                let width = (columns.len() - first).min(ABREAST * S::LANES);
                let mut lanes = [0f32; ABREAST * 16];
                if let Some(bias) = op.bias {
                    for (i, lane) in lanes.iter_mut().enumerate().take(width) {
                        *lane = (*bias.at(0, columns.start + first + i)).to_f32();
                    }
                }
                // Row by row, since neighbours in a row share pages and those in a column do not.
                for (i, row) in rows.clone().enumerate() {
                    let scale = op.scale.map(|scale| s.splat(*scale.at(row, 0)));
                    let from = sums.as_ptr().add(i * vectors * S::LANES + first);
                    let to = op.out.as_ptr().add(op.offset + row * op.row_stride + columns.start + first);
                    for j in (0..width).step_by(S::LANES) {
                        let mut v = s.load(from.add(j));
                        if let Some(scale) = scale {
                            v = v * scale;
                        }
                        if let Some(scales) = column_scales {
                            v = s.fma(v, s.load(scales.add(first + j)), s.zero());
                        }
                        if op.bias.is_some() {
                            v = v + s.load(lanes.as_ptr().add(j));
                        }
                        let v = gemm::one_nan(s, activate(s, op.act, v));
                        let count = (width - j).min(S::LANES);
                        if count == S::LANES {
                            T::store(s, to.add(j), v);
                        } else {
                            T::store_part(s, to.add(j), count, v);
                        }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
