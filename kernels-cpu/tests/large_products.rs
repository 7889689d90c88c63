//! Products whose left factor does not stay near: each row has the bits it has alone, on any number of threads, and some elements are
//! compared with f64. The library's own tests meet such products at smaller sizes; here are the real ones.

use kernels::ops::{Act, Linear, Matmul, Upload};
use kernels::weight::Values;
use kernels::{Buffer, DType, Memory, Op, Weight, WeightRef};
use kernels_cpu::CpuBackend;

const SIZE: (usize, usize, usize) = (1900, 421, 1031);

fn noise(len: usize, mut state: u32) -> Vec<f32> {
    let next = || {
        state = state.wrapping_mul(747_796_405).wrapping_add(2_891_336_453);
        (state >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    std::iter::repeat_with(next).take(len).collect()
}

fn upload(cpu: &CpuBackend, values: &[f32]) -> Buffer {
    let mut buffer = cpu.alloc(DType::F32, values.len()).unwrap();
    Upload::new(values, buffer.view_mut([values.len()]).unwrap()).run(cpu).unwrap();
    buffer
}

fn download(cpu: &CpuBackend, buffer: &Buffer, len: usize) -> Vec<f32> {
    let mut values = vec![0f32; len];
    kernels::ops::Download::new(buffer.view([len]).unwrap(), &mut values).run(cpu).unwrap();
    values
}

/// Σ over k of a row and a column, and the bound of an f32 sum's error: K roundings of at most the sum of magnitudes.
fn expected(row: &[f32], column: impl Iterator<Item = f32>) -> (f64, f64) {
    let products = row.iter().zip(column).map(|(&x, y)| f64::from(x) * f64::from(y));
    let (sum, size) = products.fold((0.0, 0.0), |(sum, size), x| (sum + x, size + x.abs()));
    (sum, row.len() as f64 * f64::powi(2.0, -24) * size)
}

/// Compares all of `product` over threads, sampled rows with those alone, sampled elements with f64.
fn check(product: impl Fn(&CpuBackend, &[f32]) -> Vec<f32>, a: &[f32], column: impl Fn(usize, usize) -> f32) {
    let (m, n, k) = SIZE;
    let mut first: Option<Vec<u32>> = None;
    for threads in [1, 2, 3, 7] {
        let cpu = CpuBackend::builder().threads(threads).build().unwrap();
        let all = product(&cpu, a);
        let bits: Vec<u32> = all.iter().map(|v| v.to_bits()).collect();
        for i in (0..m).step_by(197).chain([m - 1]) {
            let row = &a[i * k..][..k];
            let alone: Vec<u32> = product(&cpu, row).iter().map(|v| v.to_bits()).collect();
            assert!(alone == bits[i * n..][..n], "row {i} on {threads} threads");
            for j in (0..n).step_by(13).chain([n - 1]) {
                let (want, bound) = expected(row, (0..k).map(|p| column(j, p)));
                let got = f64::from(all[i * n + j]);
                assert!((got - want).abs() <= bound, "({i}, {j}) on {threads} threads: {got} for {want}");
            }
        }
        assert!(*first.get_or_insert_with(|| bits.clone()) == bits, "{threads} threads");
    }
}

#[test]
fn matrices() {
    let (m, n, k) = SIZE;
    let (a, b) = (noise(m * k, 1), noise(k * n, 2));
    for transposed in [false, true] {
        let product = |cpu: &CpuBackend, rows: &[f32]| {
            let m = rows.len() / k;
            let lying: Vec<f32> = match transposed {
                true => (0..k * m).map(|at| rows[at % m * k + at / m]).collect(),
                false => rows.to_vec(),
            };
            let (x, y, mut out) = (upload(cpu, &lying), upload(cpu, &b), cpu.alloc(DType::F32, m * n).unwrap());
            let x = if transposed { x.view([k, m]).unwrap().transpose(0, 1).unwrap() } else { x.view([m, k]).unwrap() };
            Matmul::new(x, y.view([k, n]).unwrap(), out.view_mut([m, n]).unwrap()).run(cpu).unwrap();
            download(cpu, &out, m * n)
        };
        check(product, &a, |j, p| b[p * n + j]);
    }
}

#[test]
fn layers() {
    let (m, n, k) = SIZE;
    let (a, w) = (noise(m * k, 3), noise(n * k, 4));
    let weight = Weight::dense(n, k, Values::F32(w.clone())).unwrap();
    let product = |cpu: &CpuBackend, rows: &[f32]| {
        let m = rows.len() / k;
        let (packed, x, mut out) = (cpu.pack(&weight).unwrap(), upload(cpu, rows), cpu.alloc(DType::F32, m * n).unwrap());
        let (x, weight) = (x.view([m, k]).unwrap(), WeightRef::Packed(&packed));
        Linear { x, weight, bias: None, act: Act::None, out: out.view_mut([m, n]).unwrap() }.run(cpu).unwrap();
        download(cpu, &out, m * n)
    };
    check(product, &a, |j, p| w[j * k + p]);
}
