//! Weights stay as they are stored: packing takes their bytes, and no layer takes more.

use kernels::ops::{Act, Linear};
use kernels::weight::{Bits, BlockFormat, Blocks, Pattern, Quant, QuantScheme, Sparse, SparseValues, Values, Zero};
use kernels::{DType, Memory, Op, Weight, WeightRef};
use kernels_wgpu::WgpuBackend;

/// One weight of each kind.
fn weights(n: usize, k: usize) -> Vec<Weight> {
    let mut all = Vec::new();
    for (bits, group_size, zero) in
        [(Bits::Int8, usize::MAX, Zero::Symmetric), (Bits::Int4, 64, Zero::Symmetric), (Bits::Int4, 32, Zero::Asymmetric)]
    {
        let scheme = QuantScheme { bits, group_size, zero };
        let (codes, groups) = (vec![3; n * scheme.row_bytes(k)], n * scheme.groups(k));
        let zeros = if zero == Zero::Asymmetric { vec![7; groups] } else { Vec::new() };
        all.push(Weight::Quant(Quant::new(n, k, scheme, codes, vec![0.5; groups], zeros).unwrap()));
    }
    for format in BlockFormat::ALL {
        let bytes = vec![0; n * k / format.block_size() * format.block_bytes()];
        all.push(Weight::Blocks(Blocks::new(n, k, format, bytes).unwrap()));
    }
    let row_ptr = (0..=n as u32).map(|row| row * 2).collect();
    let pattern = Pattern::Csr { row_ptr, col: [1, 5].repeat(n) };
    all.push(Weight::Sparse(Sparse::new(n, k, pattern, Values::F32(vec![1.0; 2 * n])).unwrap()));
    let row_ptr = (0..=n as u32 / 16).map(|row| row * 2).collect();
    let pattern = Pattern::Block { rows: 16, cols: 1, row_ptr, col: [1, 5].repeat(n / 16) };
    all.push(Weight::Sparse(Sparse::new(n, k, pattern, Values::F32(vec![1.0; 2 * n])).unwrap()));
    let pattern = Pattern::TwoOfFour { places: vec![0b1100; n * k / 4] };
    let codes = SparseValues::Int8 { codes: vec![1; n * k / 2], scales: vec![0.5; n] };
    all.push(Weight::Sparse(Sparse::new(n, k, pattern.clone(), codes).unwrap()));
    all.push(Weight::Sparse(Sparse::new(n, k, pattern, Values::F32(vec![1.0; n * k / 2])).unwrap()));
    all
}

#[test]
fn packed_weights_take_the_bytes_they_are_stored_in_and_layers_take_none() {
    let gpu = WgpuBackend::new(None).unwrap_or_else(|error| panic!("{error}"));
    let (n, k) = (96, 512);
    for weight in weights(n, k) {
        let before = gpu.memory_stats().live_bytes;
        let packed = gpu.pack(&weight).unwrap();
        let taken = gpu.memory_stats().live_bytes - before;
        let stored = weight.stored_bytes() as u64;
        // Sections begin at words, and a buffer ends with a whole vector.
        assert!((stored..stored + 32).contains(&taken), "{}: {taken} bytes for {stored}", packed.format());
        // A kernel that wrote what it unpacks would need room for it.
        if !["int4-g64", "q4_k", "2:4-f32"].contains(&packed.format()) {
            continue;
        }
        for m in [1, 9] {
            let x = gpu.alloc(DType::F32, m * k).unwrap();
            let mut out = gpu.alloc(DType::F32, m * n).unwrap();
            let allocations = gpu.memory_stats().allocations;
            for _ in 0..2 {
                let (x, out) = (x.view([m, k]).unwrap(), out.view_mut([m, n]).unwrap());
                Linear { x, weight: WeightRef::Packed(&packed), bias: None, act: Act::None, out }.run(&gpu).unwrap();
            }
            gpu.sync().unwrap();
            assert_eq!(gpu.memory_stats().allocations, allocations, "{}", packed.format());
        }
    }
}
