//! Every stored form of a weight against f64, on every instruction set, with the same bits on any number of threads.

use super::*;
use crate::fixtures::{Noise, backends, buffer, values};
use kernels::weight::{Bits, BlockFormat, Blocks, Pattern, Quant, QuantScheme, Sparse, SparseValues, Values, Zero};
use kernels::{Memory, Weight};

fn quant(noise: &mut Noise, n: usize, k: usize, bits: Bits, group_size: usize, zero: Zero) -> Weight {
    let scheme = QuantScheme { bits, group_size, zero };
    let groups = n * scheme.groups(k);
    let mut codes: Vec<u8> = (0..n * scheme.row_bytes(k)).map(|_| noise.below(256) as u8).collect();
    if bits == Bits::Int4 && k % 2 == 1 {
        codes.chunks_mut(scheme.row_bytes(k)).for_each(|row| *row.last_mut().unwrap() &= 15);
    }
    let zeros = if zero == Zero::Asymmetric { groups } else { 0 };
    let zeros = (0..zeros).map(|_| noise.below(scheme.max_code() as usize + 1) as u8).collect();
    Weight::Quant(Quant::new(n, k, scheme, codes, noise.vec(groups), zeros).unwrap())
}

fn blocks(noise: &mut Noise, n: usize, k: usize, format: BlockFormat) -> Weight {
    let size = format.block_bytes();
    let mut bytes: Vec<u8> = (0..n * k / format.block_size() * size).map(|_| noise.below(256) as u8).collect();
    for block in bytes.chunks_exact_mut(size) {
        let scales = if format == BlockFormat::Q6K { 208..210 } else { 0..if format.has_minima() { 4 } else { 2 } };
        block[scales].chunks_exact_mut(2).for_each(|scale| scale.copy_from_slice(&f16::from_f32(noise.next()).to_le_bytes()));
    }
    Weight::Blocks(Blocks::new(n, k, format, bytes).unwrap())
}

fn codes(noise: &mut Noise, n: usize, len: usize) -> SparseValues {
    SparseValues::Int8 { codes: (0..len).map(|_| noise.below(256) as u8 as i8).collect(), scales: noise.vec(n) }
}

fn sparse(noise: &mut Noise, n: usize, k: usize, block: Option<(usize, usize)>, dtype: DType) -> Weight {
    let (rows, cols) = block.unwrap_or((1, 1));
    let (mut row_ptr, mut col) = (vec![0u32], Vec::new());
    for _ in 0..n.div_ceil(rows) {
        col.extend((0..k.div_ceil(cols) as u32).filter(|_| noise.below(4) == 0));
        row_ptr.push(col.len() as u32);
    }
    let len = col.len() * rows * cols;
    let values = Values::from_f32(dtype, &noise.vec(len)).map_or_else(|| codes(noise, n, len), SparseValues::from);
    let pattern = if block.is_some() { Pattern::Block { rows, cols, row_ptr, col } } else { Pattern::Csr { row_ptr, col } };
    Weight::Sparse(Sparse::new(n, k, pattern, values).unwrap())
}

fn weights(noise: &mut Noise, n: usize, k: usize) -> Vec<Weight> {
    let dense = noise.vec(n * k);
    let dense = |dtype| Weight::dense(n, k, Values::from_f32(dtype, &dense).unwrap()).unwrap();
    let mut all = vec![dense(DType::F32), dense(DType::Bf16), dense(DType::F16)];
    for bits in [Bits::Int8, Bits::Int4] {
        for group_size in [32, 7, usize::MAX] {
            for zero in [Zero::Symmetric, Zero::Asymmetric] {
                all.push(quant(noise, n, k, bits, group_size, zero));
            }
        }
    }
    let whole = BlockFormat::ALL.into_iter().filter(|format| k.is_multiple_of(format.block_size()));
    all.extend(whole.map(|format| blocks(noise, n, k, format)));
    for block in [None, Some((16, 1)), Some((32, 3)), Some((2, 5))] {
        all.extend([DType::Bf16, DType::I8].map(|dtype| sparse(noise, n, k, block, dtype)));
    }
    let places: Vec<u8> =
        (0..n * k.div_ceil(4)).map(|_| [0b0100, 0b1000, 0b1100, 0b1001, 0b1101, 0b1110][noise.below(6)]).collect();
    let stored = 2 * places.len();
    for values in [Values::F32(noise.vec(stored)).into(), codes(noise, n, stored)] {
        all.push(Weight::Sparse(Sparse::new(n, k, Pattern::TwoOfFour { places: places.clone() }, values).unwrap()));
    }
    all
}

#[test]
fn every_weight_means_its_matrix() {
    let shapes =
        [(1, 1, 1), (1, 50, 64), (3, 49, 37), (9, 100, 71), (40, 33, 300), (2, 5, 0), (70, 17, 9), (1, 49, 256), (9, 50, 768)];
    for (m, n, k) in shapes {
        let mut noise = Noise::new((m + n + k) as u64);
        let (x, bias) = (noise.vec(m * k), noise.vec(n));
        for weight in weights(&mut noise, n, k) {
            let dense = weight.to_f32();
            let mut first: Option<(&'static str, Vec<f32>)> = None;
            for cpu in backends(&[1, 2, 3]) {
                let (x_buf, bias_buf) = (buffer::<f32>(&cpu, &x), buffer::<f32>(&cpu, &bias));
                let packed = cpu.pack(&weight).unwrap();
                let mut out = cpu.alloc(DType::F32, m * n).unwrap();
                let bias_view = Some(bias_buf.view([n]).unwrap());
                let (x_view, out_view) = (x_buf.view([m, k]).unwrap(), out.view_mut([m, n]).unwrap());
                let weight_ref = WeightRef::Packed(&packed);
                Linear { x: x_view, weight: weight_ref, bias: bias_view, act: Act::Relu, out: out_view }.run(&cpu).unwrap();
                let got = values::<f32>(&out);
                for i in 0..m {
                    for j in 0..n {
                        let terms = (0..k).map(|p| x[i * k + p] as f64 * dense[j * k + p] as f64);
                        let (sum, size) = terms.fold((bias[j] as f64, bias[j].abs() as f64), |(s, t), v| (s + v, t + v.abs()));
                        let error = (got[i * n + j] as f64 - sum.max(0.0)).abs();
                        let bound = (k + 4) as f64 * f64::powi(2.0, -24) * size;
                        assert!(error <= bound, "{} {} [{m},{n},{k}] at {i},{j}: {error:e}", weight.format(), cpu.isa().name());
                    }
                }
                match &first {
                    Some((isa, bits)) if *isa == cpu.isa().name() => assert_eq!(bits, &got, "{isa}, {}", weight.format()),
                    _ => first = Some((cpu.isa().name(), got)),
                }
            }
        }
    }
}

#[test]
fn a_dense_view_equals_its_packed_form() {
    let (m, n, k) = (11, 70, 131);
    let mut noise = Noise::new(3);
    let (x, w, bias) = (noise.vec(m * k), noise.vec(n * k), noise.vec(n));
    for cpu in backends(&[2]) {
        let (x, w_buf, bias) = (buffer::<bf16>(&cpu, &x), buffer::<bf16>(&cpu, &w), buffer::<bf16>(&cpu, &bias));
        let packed = cpu.pack(&Weight::dense(n, k, Values::from_f32(DType::Bf16, &w).unwrap()).unwrap()).unwrap();
        let mut results = Vec::new();
        for weight in [WeightRef::Dense(w_buf.view([n, k]).unwrap()), WeightRef::Packed(&packed)] {
            let mut out = cpu.alloc(DType::Bf16, m * n).unwrap();
            let (x, bias) = (x.view([m, k]).unwrap(), Some(bias.view([n]).unwrap()));
            Linear { x, weight, bias, act: Act::Gelu, out: out.view_mut([m, n]).unwrap() }.run(&cpu).unwrap();
            results.push(values::<bf16>(&out));
        }
        assert_eq!(results[0], results[1], "{}", cpu.isa().name());
    }
}

#[test]
fn a_row_of_a_batch_equals_the_row_alone() {
    // The second in tasks that pack their rows.
    for (m, n, k) in [(37, 101, 301), (260, 101, 1061), (37, 101, 1280)] {
        let mut noise = Noise::new(8);
        let x = noise.vec(m * k);
        let weights = weights(&mut noise, n, k);
        for cpu in backends(&[2]) {
            for weight in &weights {
                rows_alone::<f32>(&cpu, weight, &x, n, k);
                rows_alone::<bf16>(&cpu, weight, &x, n, k);
            }
        }
    }
}

fn rows_alone<T: Float + PartialEq + std::fmt::Debug>(cpu: &CpuBackend, weight: &Weight, x: &[f32], n: usize, k: usize) {
    let packed = cpu.pack(weight).unwrap();
    let run = |rows: &[f32]| {
        let (x, m) = (buffer::<T>(cpu, rows), rows.len() / k);
        let mut out = cpu.alloc(T::DTYPE, m * n).unwrap();
        let (x, weight) = (x.view([m, k]).unwrap(), WeightRef::Packed(&packed));
        Linear { x, weight, bias: None, act: Act::None, out: out.view_mut([m, n]).unwrap() }.run(cpu).unwrap();
        values::<T>(&out)
    };
    let all = run(x);
    // As many as every tile has, alone and with one more.
    let ranges = [0..1, 12..14, 5..8, 20..24, 20..25, 20..26, 30..37, 20..28, 20..29, 190..191, 254..260];
    for rows in ranges.into_iter().filter(|rows| rows.end * k <= x.len()) {
        let alone = run(&x[rows.start * k..rows.end * k]);
        assert!(alone == all[rows.start * n..rows.end * n], "{rows:?} of {} {} {}", weight.format(), T::DTYPE, cpu.isa().name());
    }
}
