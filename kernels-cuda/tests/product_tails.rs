//! What lies behind the last term of a row does not reach a product, where rows are aligned and end within what is staged at once.

#![cfg(feature = "emulation")]

use half::bf16;
use kernels::ops::{Act, Download, Linear, Matmul, Upload};
use kernels::{Buffer, Element, Layout, Memory, Op, WeightRef};
use kernels_cuda::CudaBackend;

const K: usize = 61;
const STRIDE: usize = 64;
const N: usize = 9;

/// Rows of 1, −1, 1, … with something else in the gaps behind them.
fn rows<T: Element + Copy>(gpu: &CudaBackend, count: usize, [plus, minus, gap]: [T; 3]) -> Buffer {
    let value = |i: usize| if i % STRIDE >= K { gap } else { [plus, minus][i % 2] };
    let values: Vec<T> = (0..count * STRIDE).map(value).collect();
    let mut buffer = gpu.alloc(T::DTYPE, values.len()).unwrap();
    Upload::new(&values, buffer.view_mut([values.len()]).unwrap()).run(gpu).unwrap();
    buffer
}

fn layout(rows: usize) -> Layout {
    Layout::strided([rows, K], &[STRIDE, 1], 0).unwrap()
}

/// The product of `m` rows with `N` columns of a transposed factor.
fn product<T: Element + Copy, Out: Element + Copy + Default>(m: usize, values: [T; 3]) -> Vec<Out> {
    let gpu = CudaBackend::emulated();
    let (a, b) = (rows(&gpu, m, values), rows(&gpu, N, values));
    let mut out = gpu.alloc(Out::DTYPE, m * N).unwrap();
    let turned = Layout::strided([K, N], &[1, STRIDE], 0).unwrap();
    Matmul::new(a.view_as(layout(m)).unwrap(), b.view_as(turned).unwrap(), out.view_mut([m, N]).unwrap()).run(&gpu).unwrap();
    let mut got = vec![Out::default(); m * N];
    Download::new(out.view([m * N]).unwrap(), &mut got).run(&gpu).unwrap();
    got
}

#[test]
fn of_matmul() {
    for m in [1, 17, 70] {
        assert!(product::<f32, f32>(m, [1.0, -1.0, f32::NAN]).iter().all(|&v| v == K as f32), "f32, {m} rows");
        assert!(product::<bf16, f32>(m, [bf16::ONE, bf16::NEG_ONE, bf16::NAN]).iter().all(|&v| v == K as f32), "bf16, {m} rows");
        assert!(product::<i8, i32>(m, [1, -1, 100]).iter().all(|&v| v == K as i32), "i8, {m} rows");
    }
}

#[test]
fn of_linear() {
    let gpu = CudaBackend::emulated();
    for m in [2, 17] {
        let values = [bf16::ONE, bf16::NEG_ONE, bf16::NAN];
        let (x, w) = (rows(&gpu, m, values), rows(&gpu, N, values));
        let mut out = gpu.alloc(bf16::DTYPE, m * N).unwrap();
        let weight = WeightRef::Dense(w.view_as(layout(N)).unwrap());
        let x = x.view_as(layout(m)).unwrap();
        Linear { x, weight, bias: None, act: Act::None, out: out.view_mut([m, N]).unwrap() }.run(&gpu).unwrap();
        let mut got = vec![bf16::ZERO; m * N];
        Download::new(out.view([m * N]).unwrap(), &mut got).run(&gpu).unwrap();
        assert!(got.iter().all(|&v| v == bf16::from_f32(K as f32)), "{m} rows");
    }
}
