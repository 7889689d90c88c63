//! Whatever kernels make a product of 16 or 8 bits, its bits are the same: tiles of 64 and of 128, and Hopper's own tensor cores. On the
//! kernels as the CPU runs them, where they are compiled for it and `SIZEWISE_CUDA` is not `device`; else on the first GPU.

use half::{bf16, f16};
use kernels::ops::{Act, Download, Linear, Matmul, Upload};
use kernels::weight::Values;
use kernels::{Backend, Buffer, DType, Element, Memory, Op, View, Weight, WeightRef};
use kernels_cuda::{CudaBackend, Products};

/// Whether the CPU runs them.
fn emulates() -> bool {
    cfg!(feature = "emulation") && std::env::var_os("SIZEWISE_CUDA").is_none_or(|value| value != "device")
}

fn open(products: Products) -> CudaBackend {
    #[cfg(feature = "emulation")]
    if emulates() {
        return CudaBackend::emulated().with_products(products);
    }
    CudaBackend::new(None).expect("a GPU").with_products(products)
}

/// The kinds that this device has.
fn kinds() -> Vec<Products> {
    let hopper = emulates() || open(Products::Auto).info().features == "sm_90";
    [Products::Small, Products::Large].into_iter().chain(hopper.then_some(Products::Hopper)).collect()
}

/// M, N, K. Tiles in both directions that end within the matrix, and a sum that ends within what is staged at once.
fn shapes() -> &'static [[usize; 3]] {
    if emulates() { &[[136, 264, 616], [8, 72, 32]] } else { &[[136, 264, 616], [1160, 2056, 1096], [4096, 4096, 4096]] }
}

/// Numbers whose sums round.
fn value(i: usize) -> f32 {
    ((i * 7919 % 100_003) as f32 - 50_000.0) / 30_000.0
}

fn uploaded<T: Element>(gpu: &CudaBackend, values: &[T]) -> Buffer {
    let mut buffer = gpu.alloc(T::DTYPE, values.len()).unwrap();
    Upload::new(values, buffer.view_mut([values.len()]).unwrap()).run(gpu).unwrap();
    buffer
}

/// [rows, columns] of a buffer, stored so or as its transpose.
fn matrix(buffer: &Buffer, rows: usize, columns: usize, turned: bool) -> View<'_> {
    if turned { buffer.view([columns, rows]).unwrap().transpose(0, 1).unwrap() } else { buffer.view([rows, columns]).unwrap() }
}

fn matmul<T: Element, O: Element + Default>(
    products: Products,
    [m, n, k]: [usize; 3],
    turned: [bool; 2],
    convert: fn(f32) -> T,
) -> Vec<O> {
    let gpu = open(products);
    let (a, b): (Vec<T>, Vec<T>) =
        ((0..m * k).map(|i| convert(value(i))).collect(), (0..k * n).map(|i| convert(value(3 * i + 1))).collect());
    let (a, b) = (uploaded(&gpu, &a), uploaded(&gpu, &b));
    let mut out = uploaded(&gpu, &vec![O::default(); m * n]);
    let (a, b) = (matrix(&a, m, k, turned[0]), matrix(&b, k, n, turned[1]));
    Matmul { a, b, alpha: 1.0, beta: 0.0, out: out.view_mut([m, n]).unwrap() }.run(&gpu).unwrap();
    downloaded(&gpu, &out)
}

fn linear<T: Element + Default>(products: Products, [m, n, k]: [usize; 3], convert: fn(f32) -> T, weight: &Weight) -> Vec<T> {
    let gpu = open(products);
    let (x, bias): (Vec<T>, Vec<T>) =
        ((0..m * k).map(|i| convert(value(i))).collect(), (0..n).map(|i| convert(value(i))).collect());
    let (x, bias, weight) = (uploaded(&gpu, &x), uploaded(&gpu, &bias), gpu.pack(weight).unwrap());
    let mut out = uploaded(&gpu, &vec![T::default(); m * n]);
    let (x, bias) = (x.view([m, k]).unwrap(), bias.view([n]).unwrap());
    let out_view = out.view_mut([m, n]).unwrap();
    Linear { x, weight: WeightRef::Packed(&weight), bias: Some(bias), act: Act::Gelu, out: out_view }.run(&gpu).unwrap();
    downloaded(&gpu, &out)
}

fn downloaded<T: Element + Default>(gpu: &CudaBackend, buffer: &Buffer) -> Vec<T> {
    let mut got = vec![T::default(); buffer.len()];
    Download::new(buffer.view([buffer.len()]).unwrap(), &mut got).run(gpu).unwrap();
    got
}

/// Every kind of kernels gives what the first does.
fn same<T: PartialEq>(what: &str, run: impl Fn(Products) -> Vec<T>) {
    let kinds = kinds();
    let first = run(kinds[0]);
    for &kind in &kinds[1..] {
        let differ = run(kind).iter().zip(&first).filter(|(a, b)| a != b).count();
        assert_eq!(differ, 0, "{what}: {kind:?} differs from {:?} in so many of {}", kinds[0], first.len());
    }
}

const TURNED: [[bool; 2]; 4] = [[false, false], [false, true], [true, false], [true, true]];

#[test]
fn of_matrices_of_16_bits() {
    for (&shape, turned) in shapes().iter().flat_map(|shape| TURNED.map(|turned| (shape, turned))) {
        same(&format!("bf16 {shape:?} {turned:?}"), |kind| matmul::<bf16, bf16>(kind, shape, turned, bf16::from_f32));
        same(&format!("f16 {shape:?} {turned:?}"), |kind| matmul::<f16, f16>(kind, shape, turned, f16::from_f32));
        same(&format!("bf16 to f32 {shape:?} {turned:?}"), |kind| matmul::<bf16, f32>(kind, shape, turned, bf16::from_f32));
    }
}

#[test]
fn of_matrices_of_8_bits() {
    for (&[m, n, k], turned) in shapes().iter().flat_map(|shape| TURNED.map(|turned| (shape, turned))) {
        // Rows are aligned to 16 bytes.
        let shape = [m, n, k].map(|size| size.next_multiple_of(16));
        same(&format!("i8 {shape:?} {turned:?}"), |kind| matmul::<i8, i32>(kind, shape, turned, |value| (value * 70.0) as i8));
    }
}

#[test]
fn of_linear_layers() {
    for &shape in shapes() {
        let [_, n, k] = shape;
        let dense = |values: Values| Weight::dense(n, k, values).unwrap();
        let weight = dense(Values::Bf16((0..n * k).map(|i| bf16::from_f32(value(3 * i + 1))).collect()));
        same(&format!("bf16 {shape:?}"), |kind| linear(kind, shape, bf16::from_f32, &weight));
        let weight = dense(Values::F16((0..n * k).map(|i| f16::from_f32(value(3 * i + 1))).collect()));
        same(&format!("f16 {shape:?}"), |kind| linear(kind, shape, f16::from_f32, &weight));
    }
}

#[test]
fn hopper_takes_them() {
    if !kinds().contains(&Products::Hopper) {
        return;
    }
    // A factor whose rows are not aligned is another kernel's.
    for (k, kernels) in [(64, 1), (65, 0)] {
        let gpu = open(Products::Hopper);
        let (a, b) = (uploaded(&gpu, &vec![bf16::ONE; 72 * k]), uploaded(&gpu, &vec![bf16::ONE; 72 * k]));
        let mut out = gpu.alloc(DType::Bf16, 72 * 72).unwrap();
        let (a, b) = (matrix(&a, 72, k, false), matrix(&b, k, 72, true));
        Matmul { a, b, alpha: 1.0, beta: 0.0, out: out.view_mut([72, 72]).unwrap() }.run(&gpu).unwrap();
        gpu.sync().unwrap();
        assert_eq!(gpu.hopper_products(), kernels, "K = {k}");
    }
}
