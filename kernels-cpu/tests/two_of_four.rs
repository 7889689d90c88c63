//! Products with two-of-four weights: the same bits as with the dense matrix they stand for, and as each row alone, deeper than a panel
//! and with products too small for f32.

use kernels::ops::{Act, Linear, Upload};
use kernels::weight::{Pattern, Sparse, SparseValues, Values};
use kernels::{DType, Memory, Op, Weight, WeightRef};
use kernels_cpu::{CpuBackend, Isa};

fn product(cpu: &CpuBackend, weight: &Weight, x: &[f32]) -> Vec<u32> {
    let (m, n, k) = (x.len() / weight.k(), weight.n(), weight.k());
    let packed = cpu.pack(weight).unwrap();
    let mut rows = cpu.alloc(DType::F32, m * k).unwrap();
    Upload::new(x, rows.view_mut([m * k]).unwrap()).run(cpu).unwrap();
    let mut out = cpu.alloc(DType::F32, m * n).unwrap();
    let (x, weight) = (rows.view([m, k]).unwrap(), WeightRef::Packed(&packed));
    Linear { x, weight, bias: None, act: Act::None, out: out.view_mut([m, n]).unwrap() }.run(cpu).unwrap();
    let mut values = vec![0f32; m * n];
    kernels::ops::Download::new(out.view([m * n]).unwrap(), &mut values).run(cpu).unwrap();
    values.into_iter().map(f32::to_bits).collect()
}

#[test]
fn panels_have_the_bits_of_the_dense_matrix_and_of_rows_alone() {
    let (m, n, k) = (19, 53, 1063usize);
    let mut state = 7u32;
    let mut noise = || {
        state = state.wrapping_mul(747_796_405).wrapping_add(2_891_336_453);
        (state >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    let fours = k.div_ceil(4);
    let places: Vec<u8> = (0..n * fours).map(|i| [0b0100, 0b1000, 0b1100, 0b1001, 0b1101, 0b1110][i * i % 6]).collect();
    for size in [1.0, 1e-44] {
        let x: Vec<f32> = (0..m * k).map(|_| noise()).collect();
        let values: Vec<f32> = (0..2 * places.len()).map(|_| noise() * size).collect();
        let codes = SparseValues::Int8 { codes: values.iter().map(|v| (v / size * 127.0) as i8).collect(), scales: vec![1.0; n] };
        for values in [Values::F32(values).into(), codes] {
            let sparse = Sparse::new(n, k, Pattern::TwoOfFour { places: places.clone() }, values).unwrap();
            let dense = Weight::dense(n, k, Values::F32(sparse.to_f32())).unwrap();
            let sparse = Weight::Sparse(sparse);
            for isa in Isa::available() {
                let cpu = CpuBackend::builder().isa(isa).threads(2).build().unwrap();
                let together = product(&cpu, &sparse, &x);
                let alone: Vec<_> = x.chunks(k).flat_map(|row| product(&cpu, &sparse, row)).collect();
                assert!(together == alone, "{} {} {size}", sparse.format(), isa.name());
                // Zeros of sparse weights are positive.
                let zero = |bits: u32| if bits == 1 << 31 { 0 } else { bits };
                let of_dense: Vec<_> = product(&cpu, &dense, &x).into_iter().map(zero).collect();
                assert!(together == of_dense, "{} {} {size}", sparse.format(), isa.name());
            }
        }
    }
}
