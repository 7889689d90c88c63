//! A row of a linear layer has the same bits alone, among few and among many, where its inputs are cut into parts that are longer than
//! what is staged at once.

#![cfg(feature = "emulation")]

use half::{bf16, f16};
use kernels::ops::{Act, Download, Linear, Upload};
use kernels::weight::{Pattern, Sparse, SparseValues, Values};
use kernels::{DType, Element, Memory, Op, Packed, Weight, WeightRef};
use kernels_cuda::CudaBackend;

const M: usize = 131;
const N: usize = 133;
/// Parts of 96 inputs, of which the last ends early.
const K: usize = 615;

/// Numbers whose sums round.
fn value(i: usize) -> f32 {
    ((i * 7919 % 1013) as f32 - 506.0) / 300.0
}

/// The first `rows` rows of the layer.
fn layer<T: Element + Copy + Default>(gpu: &CudaBackend, x: &[T], weight: &Packed, rows: usize) -> Vec<T> {
    let (mut input, mut out) = (gpu.alloc(T::DTYPE, rows * K).unwrap(), gpu.alloc(T::DTYPE, rows * N).unwrap());
    Upload::new(&x[..rows * K], input.view_mut([rows * K]).unwrap()).run(gpu).unwrap();
    let (x, weight) = (input.view([rows, K]).unwrap(), WeightRef::Packed(weight));
    Linear { x, weight, bias: None, act: Act::None, out: out.view_mut([rows, N]).unwrap() }.run(gpu).unwrap();
    let mut got = vec![T::default(); rows * N];
    Download::new(out.view([rows * N]).unwrap(), &mut got).run(gpu).unwrap();
    got
}

fn check<T: Element + Copy + Default + PartialEq>(name: &str, convert: impl Fn(f32) -> T, weight: &Weight) {
    let gpu = CudaBackend::emulated();
    let packed = gpu.pack(weight).unwrap();
    let x: Vec<T> = (0..M * K).map(|i| convert(value(i))).collect();
    let all = layer(&gpu, &x, &packed, M);
    for rows in [1, 4, 7, 16, 17] {
        assert!(layer(&gpu, &x, &packed, rows) == all[..rows * N], "{name}: {rows} rows");
    }
}

/// 2:4 weights, of codes and of floats.
fn two_of_four(dtype: DType) -> [Weight; 2] {
    let places: Vec<u8> = (0..N * K.div_ceil(4)).map(|i| [0b0100, 0b1000, 0b1100, 0b1001, 0b1101, 0b1110][i % 6]).collect();
    let codes = (0..2 * places.len()).map(|i| (i * 37) as i8).collect();
    let codes = SparseValues::Int8 { codes, scales: (0..N).map(|n| 0.01 + n as f32 / 7000.0).collect() };
    let floats: Vec<f32> = (0..2 * places.len()).map(|i| value(3 * i + 1)).collect();
    let floats = Values::from_f32(dtype, &floats).unwrap().into();
    [codes, floats]
        .map(|stored| Weight::Sparse(Sparse::new(N, K, Pattern::TwoOfFour { places: places.clone() }, stored).unwrap()))
}

/// A weight of f32, which is staged as it lies, and others, which are widened on the way.
#[test]
fn in_f32() {
    let values: Vec<f32> = (0..N * K).map(|i| value(5 * i + 2)).collect();
    for dtype in [DType::F32, DType::Bf16] {
        let weight = Weight::dense(N, K, Values::from_f32(dtype, &values).unwrap()).unwrap();
        check(&weight.format(), |v| v, &weight);
        check(&weight.format(), f16::from_f32, &weight);
    }
}

#[test]
fn of_bf16() {
    let dense = Values::Bf16((0..N * K).map(|i| bf16::from_f32(value(i))).collect());
    let dense = Weight::dense(N, K, dense).unwrap();
    for weight in [dense].iter().chain(&two_of_four(DType::Bf16)) {
        check(&weight.format(), bf16::from_f32, weight);
    }
}

#[test]
fn of_f16() {
    for weight in &two_of_four(DType::F16) {
        check(&weight.format(), f16::from_f32, weight);
    }
}
