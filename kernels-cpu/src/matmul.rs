//! Dense matrix product.

use crate::CpuBackend;
use crate::gemm::pack::Strided;
use crate::gemm::pairs::with_factors;
use crate::gemm::{self, Epilogue, Plain, Size};
use crate::memory::{input, output};
use crate::simd::{Float, Isa, simd_fn};
use crate::threads::{Parts, SERIAL_WORK};
use half::{bf16, f16};
use kernels::ops::Matmul;
use kernels::{Checked, DType, Launch, Layout, Result, Support};
use std::ops::Range;

impl Launch<Matmul<'_>> for CpuBackend {
    fn support(&self, dtype: DType) -> Support {
        match dtype {
            DType::F32 | DType::Bf16 | DType::F16 | DType::I8 => Support::Native,
            _ => Support::No("matrix products are of f32, bf16, f16 or i8"),
        }
    }

    fn launch(&self, args: Checked<Matmul<'_>>) -> Result<()> {
        let args = args.into_inner();
        match (args.a.dtype(), args.out.dtype()) {
            (DType::F32, _) => float::<f32, f32>(self, args),
            (DType::Bf16, DType::Bf16) => float::<bf16, bf16>(self, args),
            (DType::Bf16, _) => float::<bf16, f32>(self, args),
            (DType::F16, DType::F16) => float::<f16, f16>(self, args),
            (DType::F16, _) => float::<f16, f32>(self, args),
            _ => crate::gemm::integer::matmul(self, args),
        }
    }
}

/// Offsets of the matrices of a batch, from the leading dimensions of a layout.
#[inline]
pub(crate) fn matrix_offset(layout: &Layout, mut index: usize) -> usize {
    let lead = layout.shape().rank() - 2;
    let mut offset = layout.offset();
    for axis in (0..lead).rev() {
        let dim = layout.shape()[axis];
        offset += index % dim * layout.strides()[axis];
        index /= dim;
    }
    offset
}

/// Strides of rows and columns of the matrices of a layout.
#[inline]
pub(crate) fn matrix_strides(layout: &Layout) -> (usize, usize) {
    let strides = layout.strides();
    (strides[strides.len() - 2], strides[strides.len() - 1])
}

/// Size of one product and how many there are. The batch is 0 if there is no output element.
#[inline]
pub(crate) fn sizes(args: &Matmul<'_>) -> (Size, usize) {
    let (a, out) = (args.a.shape(), args.out.shape());
    let rank = a.rank();
    let size = Size { m: a[rank - 2], n: out[rank - 1], k: a[rank - 1] };
    (size, if args.out.numel() == 0 { 0 } else { a[..rank - 2].iter().product() })
}

fn float<T: Float, O: Float>(cpu: &CpuBackend, args: Matmul<'_>) -> Result<()> {
    let (size, batch) = sizes(&args);
    let (a_layout, b_layout, out_layout) = (args.a.layout(), args.b.layout(), *args.out.layout());
    let (a, b) = (input::<T>(&args.a)?, input::<T>(&args.b)?);
    let out = Parts::new(output::<O>(args.out)?);
    let (a_strides, b_strides) = (matrix_strides(a_layout), matrix_strides(b_layout));
    let (row_stride, col_stride) = matrix_strides(&out_layout);
    let matrices = |index: usize| {
        let left = Strided::new(a, matrix_offset(a_layout, index), a_strides.0, a_strides.1);
        let right = Strided::new(b, matrix_offset(b_layout, index), b_strides.0, b_strides.1);
        let offset = matrix_offset(&out_layout, index);
        let epilogue = MatmulOut { out: &out, offset, row_stride, col_stride, alpha: args.alpha, beta: args.beta };
        (left, right, epilogue)
    };
    let work = batch.saturating_mul(size.work());
    if T::DTYPE == DType::F32 && gemm::is_small(size, b_strides.1) {
        // One matrix, or a part of it, is a task.
        let one = |index: usize, part: (usize, usize)| {
            let (left, right, epilogue) = matrices(index);
            if let (Some(left), Some(right)) = (left.of::<f32>(), right.of::<f32>()) {
                // SAFETY: the checked views have these sizes; `is_small` has seen the stride.
                unsafe { gemm::multiply_small(cpu.isa, size, part, left, right, &epilogue) };
            }
        };
        if work < SERIAL_WORK {
            (0..batch).for_each(|index| one(index, (0, 1)));
            return Ok(());
        }
        // Parts enough for a thread that begins late.
        let wanted = if cpu.pool.threads() == 1 { 1 } else { (2 * cpu.pool.threads()).div_ceil(batch.max(1)) };
        let parts = gemm::small_parts(cpu.isa, size, wanted);
        cpu.pool.run(batch * parts, &|task| one(task / parts, (task % parts, parts)));
        return Ok(());
    }
    // Enough matrices to keep every thread busy: one thread per matrix. Else all threads on one after the other.
    if batch >= 2 * cpu.pool.threads() {
        let slots = if work < SERIAL_WORK { 1 } else { cpu.pool.threads() };
        let (left, right, _) = matrices(0);
        let floats =
            with_factors(cpu.isa, size, left, right, |size, left, right| gemm::scratch_floats(cpu.isa, size, 1, left, right));
        let mut scratch = cpu.heap.scratch(size_of::<f32>() * floats * slots)?;
        let parts = Parts::new(scratch.as_mut_slice::<f32>());
        cpu.pool.run_slots(slots, batch, &|index, slot| {
            let (left, right, epilogue) = matrices(index);
            // SAFETY: no two running tasks share a slot.
            let own = unsafe { parts.part(slot * floats, floats) };
            with_factors(cpu.isa, size, left, right, |size, left, right| {
                gemm::multiply_in(&cpu.pool, cpu.isa, size, left, right, &epilogue, own, 1);
            });
        });
        return Ok(());
    }
    for index in 0..batch {
        let (left, right, epilogue) = matrices(index);
        with_factors(cpu.isa, size, left, right, |size, left, right| gemm::multiply(cpu, size, left, right, &epilogue))?;
    }
    Ok(())
}

/// out = alpha · sums + beta · out
struct MatmulOut<'a, O> {
    out: &'a Parts<'a, O>,
    offset: usize,
    row_stride: usize,
    col_stride: usize,
    alpha: f32,
    beta: f32,
}

impl<O: Float> Epilogue for MatmulOut<'_, O> {
    fn finish(&self, isa: Isa, rows: Range<usize>, columns: Range<usize>, sums: &[f32], vectors: usize) {
        store(isa, self, rows, columns, sums, vectors);
    }
    fn plain(&self) -> Option<Plain> {
        let kept = self.alpha == 1.0 && self.beta == 0.0 && self.col_stride == 1;
        if kept { Plain::of(self.out, self.offset, self.row_stride) } else { None }
    }
}

simd_fn! {
    fn store[O: Float](s, op: &MatmulOut<'_, O>, rows: Range<usize>, columns: Range<usize>, sums: &[f32], vectors: usize) {
        assert!(sums.len() >= rows.len() * vectors * S::LANES && columns.len() <= vectors * S::LANES);
        let (alpha, beta) = (s.splat(op.alpha), s.splat(op.beta));
        for (i, row) in rows.enumerate() {
            // SAFETY: rows and columns are within the output, whose layout is within its buffer; this task alone writes them. Sums
            // are readable to whole vectors.
            unsafe {
                let sums = sums.as_ptr().add(i * vectors * S::LANES);
                let to = op.out.as_ptr().add(op.offset + row * op.row_stride + columns.start * op.col_stride);
                if op.col_stride != 1 {
                    for j in 0..columns.len() {
                        let to = to.add(j * op.col_stride);
                        let product = op.alpha * *sums.add(j);
                        let sum = if op.beta == 0.0 { product } else { op.beta.mul_add((*to).to_f32(), product) };
                        *to = O::from_f32(if sum.is_nan() { f32::NAN } else { sum });
                    }
                    continue;
                }
                for j in (0..columns.len()).step_by(S::LANES) {
                    let count = (columns.len() - j).min(S::LANES);
                    let mut v = alpha * s.load(sums.add(j));
                    if op.beta != 0.0 {
                        let former = if count == S::LANES { O::load(s, to.add(j)) } else { O::load_part(s, to.add(j), count) };
                        v = s.fma(beta, former, v);
                    }
                    let v = gemm::one_nan(s, v);
                    if count == S::LANES {
                        O::store(s, to.add(j), v);
                    } else {
                        O::store_part(s, to.add(j), count, v);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{Noise, backends, buffer, values};
    use kernels::{Layout as L, Memory, Op};

    /// Products of awkward sizes, strides and factors against f64, on every instruction set and with the same bits on any number
    /// of threads.
    fn check<T: Float, O: Float>(sizes: &[[usize; 3]]) {
        for &[m, n, k] in sizes {
            let mut noise = Noise::new((m * 31 + n * 7 + k) as u64);
            let (a, b, c) = (noise.vec(2 * m * k), noise.vec(k * n), noise.vec(2 * m * n));
            for (a_transposed, b_transposed, alpha, beta) in
                [(false, false, 1.0f32, 0.0f32), (true, false, -0.5, 1.0), (false, true, 2.0, 0.5)]
            {
                // What each element may be from and to.
                let wanted = |batch: usize, i: usize, j: usize| {
                    let (mut sum, mut size) = (0.0, 0.0);
                    for p in 0..k {
                        let x = T::from_f32(a[batch * m * k + if a_transposed { p * m + i } else { i * k + p }]).to_f64();
                        let y = T::from_f32(b[if b_transposed { j * k + p } else { p * n + j }]).to_f64();
                        sum += x * y;
                        size += (x * y).abs();
                    }
                    let before = O::from_f32(c[batch * m * n + i * n + j]).to_f64();
                    let want = alpha as f64 * sum + beta as f64 * before;
                    let u = f64::powi(2.0, -24);
                    let scale = alpha.abs() as f64 * size + beta.abs() as f64 * before.abs();
                    let bound =
                        (k as f64 + 4.0) * u * scale + O::DTYPE.unit_roundoff() * (want.abs() + scale * u * k as f64) + 1e-30;
                    (want, bound)
                };
                let each = (0..2).flat_map(|batch| (0..m).flat_map(move |i| (0..n).map(move |j| (batch, i, j))));
                let wanted: Vec<(f64, f64)> = each.map(|(batch, i, j)| wanted(batch, i, j)).collect();
                let mut first: Option<(&'static str, Vec<O>)> = None;
                for cpu in backends(&[1, 2, 3]) {
                    let (a_buf, b_buf, mut c_buf) = (buffer::<T>(&cpu, &a), buffer::<T>(&cpu, &b), buffer::<O>(&cpu, &c));
                    let a_view = if a_transposed {
                        a_buf.view([2, k, m]).unwrap().transpose(1, 2).unwrap()
                    } else {
                        a_buf.view([2, m, k]).unwrap()
                    };
                    let b_strides = if b_transposed { [0, 1, k] } else { [0, n, 1] };
                    let b_view = b_buf.view_as(L::strided([2, k, n], &b_strides, 0).unwrap()).unwrap();
                    Matmul { a: a_view, b: b_view, alpha, beta, out: c_buf.view_mut([2, m, n]).unwrap() }.run(&cpu).unwrap();
                    let got = values::<O>(&c_buf);
                    for (at, (got, (want, bound))) in got.iter().map(|v| v.to_f64()).zip(&wanted).enumerate() {
                        let error = (got - want).abs();
                        assert!(error <= *bound, "{} {m}x{n}x{k} at {at}: {got} for {want}", cpu.isa().name());
                    }
                    match &first {
                        Some((isa, bits)) if *isa == cpu.isa().name() => {
                            assert!(bits == &got, "{isa} {m}x{n}x{k} on {} threads", cpu.threads())
                        }
                        _ => first = Some((cpu.isa().name(), got)),
                    }
                }
            }
        }
    }

    #[test]
    fn f32_products_of_every_shape() {
        check::<f32, f32>(&[
            [1, 1, 1],
            [8, 8, 8],
            [7, 49, 3],
            [1, 100, 33],
            [13, 48, 300],
            [65, 130, 17],
            [5, 3, 0],
            [100, 1, 515],
            [130, 96, 40],
            [260, 50, 530],   // a strip's panels serve several tasks
            [260, 340, 530],  // rows are packed by each task, the last of fewer
            [260, 500, 1100], // the same for several groups of strips
            [17, 30, 22_000], // panels too deep to be kept
        ]);
    }

    /// Matrices that begin at even and at odd elements share one work space, and have the bits they have alone.
    #[test]
    fn matrices_of_bf16_may_begin_anywhere() {
        let (batch, m, n, k) = (9, 16, 20, 32);
        let each = m * k + 1;
        let mut noise = Noise::new(5);
        let (a, b) = (noise.vec(batch * each), noise.vec(k * n));
        for cpu in backends(&[1, 2]) {
            let (a, b) = (buffer::<bf16>(&cpu, &a), buffer::<bf16>(&cpu, &b));
            let view = |count: usize, from: usize| a.view_as(L::strided([count, m, k], &[each, k, 1], from).unwrap()).unwrap();
            let right = |count: usize| b.view_as(L::strided([count, k, n], &[0, n, 1], 0).unwrap()).unwrap();
            let mut all = cpu.alloc(DType::F32, batch * m * n).unwrap();
            Matmul::new(view(batch, 0), right(batch), all.view_mut([batch, m, n]).unwrap()).run(&cpu).unwrap();
            let all = values::<f32>(&all);
            for index in 0..batch {
                let mut one = cpu.alloc(DType::F32, m * n).unwrap();
                Matmul::new(view(1, index * each), right(1), one.view_mut([1, m, n]).unwrap()).run(&cpu).unwrap();
                assert_eq!(values::<f32>(&one), all[index * m * n..][..m * n], "{index}, {}", cpu.isa().name());
            }
        }
    }

    #[test]
    fn half_products_round_once() {
        check::<bf16, bf16>(&[[9, 50, 70], [3, 5, 300]]);
        check::<bf16, f32>(&[[17, 33, 65], [1, 1, 1], [5, 3, 0], [2, 50, 2], [65, 130, 387], [1, 100, 771], [260, 100, 1061]]);
        check::<f16, f16>(&[[9, 50, 70], [1, 200, 31]]);
        check::<f16, f32>(&[[4, 17, 65]]);
    }

    #[test]
    fn sums_of_small_integers_are_exact() {
        for (m, n, k) in [(1, 48, 1), (3, 17, 7), (8, 49, 386), (9, 100, 1155)] {
            let integer = |seed: usize| move |at: usize| ((at * seed + at / 7) % 17) as f32 - 8.0;
            let (a, b): (Vec<f32>, Vec<f32>) = ((0..m * k).map(integer(5)).collect(), (0..k * n).map(integer(3)).collect());
            for cpu in backends(&[1, 3]) {
                let (a_buf, b_buf) = (buffer::<bf16>(&cpu, &a), buffer::<bf16>(&cpu, &b));
                let mut out = cpu.alloc(DType::F32, m * n).unwrap();
                let out_view = out.view_mut([m, n]).unwrap();
                Matmul::new(a_buf.view([m, k]).unwrap(), b_buf.view([k, n]).unwrap(), out_view).run(&cpu).unwrap();
                for (at, got) in values::<f32>(&out).into_iter().enumerate() {
                    let want: f32 = (0..k).map(|p| a[at / n * k + p] * b[p * n + at % n]).sum();
                    assert_eq!(got, want, "{} {m}x{n}x{k} at {at}", cpu.isa().name());
                }
            }
        }
    }

    #[test]
    fn one_bad_element_of_bf16_spoils_its_row_and_column_alone() {
        let (m, n, k) = (10, 60, 9);
        for bad in [f32::NAN, f32::INFINITY, 1e-39] {
            for cpu in backends(&[1]) {
                let (mut a, mut b) = (vec![1.0; m * k], vec![1.0; k * n]);
                (a[3 * k + 8], b[4 * n + 50]) = (bad, bad);
                let (a, b) = (buffer::<bf16>(&cpu, &a), buffer::<bf16>(&cpu, &b));
                let mut out = cpu.alloc(DType::F32, m * n).unwrap();
                let out_view = out.view_mut([m, n]).unwrap();
                Matmul::new(a.view([m, k]).unwrap(), b.view([k, n]).unwrap(), out_view).run(&cpu).unwrap();
                for (at, got) in values::<f32>(&out).into_iter().enumerate() {
                    let (i, j) = (at / n, at % n);
                    let want = [9.0, 8.0 + bad, 7.0 + 2.0 * bad][usize::from(i == 3) + usize::from(j == 50)];
                    assert_eq!(got.to_bits(), want.to_bits(), "{} {bad} at {i}, {j}: {got}", cpu.isa().name());
                }
            }
        }
    }

    #[test]
    fn beta_zero_reads_no_output_and_no_elements_do_nothing() {
        for cpu in backends(&[2]) {
            let x = buffer::<f32>(&cpu, &[1.0; 64]);
            let mut out = buffer::<f32>(&cpu, &[f32::NAN; 64]);
            Matmul::new(x.view([8, 8]).unwrap(), x.view([8, 8]).unwrap(), out.view_mut([8, 8]).unwrap()).run(&cpu).unwrap();
            assert_eq!(values::<f32>(&out), [8.0; 64]);
            let empty = cpu.alloc(DType::F32, 0).unwrap();
            let mut none = cpu.alloc(DType::F32, 0).unwrap();
            Matmul::new(empty.view([0, 3]).unwrap(), x.view([3, 5]).unwrap(), none.view_mut([0, 5]).unwrap()).run(&cpu).unwrap();
        }
    }

    #[test]
    fn a_row_of_a_batch_equals_the_row_alone() {
        rows_alone::<f32>();
        rows_alone::<bf16>();
    }

    fn rows_alone<T: Float>() {
        for cpu in backends(&[2]) {
            let (m, n, k) = (37, 101, 701);
            let mut noise = Noise::new(5);
            let (a, b) = (buffer::<T>(&cpu, &noise.vec(m * k)), buffer::<T>(&cpu, &noise.vec(n * k)));
            let mut all = cpu.alloc(DType::F32, m * n).unwrap();
            Matmul::new(a.view([m, k]).unwrap(), b.view([k, n]).unwrap(), all.view_mut([m, n]).unwrap()).run(&cpu).unwrap();
            for row in [0, 7, 36] {
                let mut one = cpu.alloc(DType::F32, n).unwrap();
                let left = a.view([m, k]).unwrap().narrow(0, row, 1).unwrap();
                Matmul::new(left, b.view([k, n]).unwrap(), one.view_mut([1, n]).unwrap()).run(&cpu).unwrap();
                assert_eq!(values::<f32>(&one), values::<f32>(&all)[row * n..][..n], "{}", cpu.isa().name());
            }
        }
    }
}
