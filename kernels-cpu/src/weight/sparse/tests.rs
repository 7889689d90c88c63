//! What no other test of linear asks of sparse weights: bits at every change of path, and inputs that no output stores.

use crate::fixtures::{Noise, backends, buffer, values};
use kernels::ops::{Act, Linear};
use kernels::weight::{Pattern, Sparse, SparseValues, Values};
use kernels::{DType, Memory, Op, Weight, WeightRef};

/// The inputs that are never stored.
const UNUSED: [usize; 2] = [2, 3];

fn weights(noise: &mut Noise, n: usize, k: usize) -> Vec<Weight> {
    let mut all = Vec::new();
    for dtype in [DType::F32, DType::Bf16, DType::F16, DType::I8] {
        // Small enough for products that vanish with a sign.
        let mut values = |len: usize| {
            if dtype == DType::I8 {
                let codes = (0..len).map(|_| noise.below(256) as u8 as i8).collect();
                return SparseValues::Int8 { codes, scales: noise.vec(n).iter().map(|scale| scale * 1e-30).collect() };
            }
            let scale = if dtype == DType::F16 { 1.0 } else { 1e-30 };
            let values: Vec<_> = noise.vec(len).iter().map(|v| v * scale).collect();
            SparseValues::from(Values::from_f32(dtype, &values).unwrap())
        };
        for (rows, step) in [(1, 1), (1, 9), (16, 1), (16, 7), (3, 5)] {
            let kept = |row: usize, k: &u32| (*k as usize + row * row).is_multiple_of(step) && !UNUSED.contains(&(*k as usize));
            let (mut row_ptr, mut col) = (vec![0], Vec::new());
            for row in 0..n.div_ceil(rows) {
                col.extend((0..k as u32).filter(|k| kept(row, k)));
                row_ptr.push(col.len() as u32);
            }
            let values = values(col.len() * rows);
            let pattern = if rows == 1 { Pattern::Csr { row_ptr, col } } else { Pattern::Block { rows, cols: 1, row_ptr, col } };
            all.push(Sparse::new(n, k, pattern, values).unwrap());
        }
        let groups = k.div_ceil(4);
        let places = (0..n * groups).map(|at| if at % groups == 0 { 0b0100 } else { [0b0100, 0b1101, 0b1001][at % 3] }).collect();
        all.push(Sparse::new(n, k, Pattern::TwoOfFour { places }, values(2 * n * groups)).unwrap());
    }
    all.into_iter().map(Weight::Sparse).collect()
}

#[test]
fn every_path_gives_the_same_bits_and_reads_only_what_is_stored() {
    let (n, k) = (149, 301);
    let mut noise = Noise::new(5);
    let mut x: Vec<_> = noise.vec(70 * k).iter().map(|v| v * 1e-12).collect();
    let weights = weights(&mut noise, n, k);
    for cpu in backends(&[2, 3, 4, 5]) {
        for weight in &weights {
            let packed = cpu.pack(weight).unwrap();
            let run = |x: &[f32]| {
                let (buffer, m) = (buffer::<f32>(&cpu, x), x.len() / k);
                let mut out = cpu.alloc(DType::F32, m * n).unwrap();
                let (x, weight) = (buffer.view([m, k]).unwrap(), WeightRef::Packed(&packed));
                Linear { x, weight, bias: None, act: Act::None, out: out.view_mut([m, n]).unwrap() }.run(&cpu).unwrap();
                values::<f32>(&out).iter().map(|v| v.to_bits()).collect::<Vec<_>>()
            };
            x.chunks_mut(k).for_each(|row| UNUSED.iter().for_each(|&at| row[at] = 0.0));
            let alone: Vec<_> = x.chunks(k).flat_map(run).collect();
            for unused in [[0.0, 1.0], [f32::NAN, f32::INFINITY]] {
                x.chunks_mut(k).for_each(|row| (row[UNUSED[0]], row[UNUSED[1]]) = (unused[0], unused[1]));
                for m in [1, 2, 3, 4, 5, 8, 9, 16, 17, 31, 33, 48, 64, 65, 70] {
                    assert!(run(&x[..m * k]) == alone[..m * n], "{} {} {m}", weight.format(), cpu.isa().name());
                }
            }
        }
    }
}
