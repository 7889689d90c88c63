//! Integer layers whose rows are longer than a tile sums at a time, which is beyond the sizes of the conformance suite here.

use kernels::ops::{Act, Download, LinearInt8, Upload};
use kernels::weight::{Bits, Coded, Quant, QuantScheme, Zero};
use kernels::{DType, Memory, Op, Weight};
use kernels_wgpu::WgpuBackend;

/// Scales of 1 make a result a sum of integers, which is exact below 2²⁴: any other number is wrong.
#[test]
fn sums_of_long_rows_are_exact() {
    let gpu = WgpuBackend::new(None).unwrap_or_else(|error| panic!("{error}"));
    let mut random = fastrand::Rng::with_seed(5);
    // Symmetric codes are multiplied four at a time where the device does so, others as floats.
    for zero in [Zero::Symmetric, Zero::Asymmetric] {
        for (m, n, k) in [(33, 40, 513), (20, 17, 1300), (3, 5, 2050)] {
            let scheme = QuantScheme { zero, ..QuantScheme::per_channel(Bits::Int8) };
            let codes: Vec<u8> = (0..n * scheme.row_bytes(k)).map(|_| random.u8(..)).collect();
            let zeros = if zero == Zero::Asymmetric { (0..n).map(|_| random.u8(..)).collect() } else { Vec::new() };
            let quant = Quant::new(n, k, scheme, codes, vec![1.0; n], zeros).unwrap();
            let x: Vec<i8> = (0..m * k).map(|_| random.i8(-15..16)).collect();
            let coded = Coded::Quant(&quant);
            let sum = |i: usize, j: usize| -> i32 {
                let zero = i32::from(coded.group(j, 0).zero);
                (0..k).map(|p| i32::from(x[i * k + p]) * (i32::from(coded.code(j, p)) - zero)).sum()
            };
            let want: Vec<f32> = (0..m * n).map(|at| sum(at / n, at % n) as f32).collect();

            let weight = gpu.pack(&Weight::Quant(quant.clone())).unwrap();
            let (mut q, mut scale) = (gpu.alloc(DType::I8, m * k).unwrap(), gpu.alloc(DType::F32, m).unwrap());
            Upload::new(&x, q.view_mut([m * k]).unwrap()).run(&gpu).unwrap();
            Upload::new(&vec![1f32; m], scale.view_mut([m]).unwrap()).run(&gpu).unwrap();
            let mut out = gpu.alloc(DType::F32, m * n).unwrap();
            let (x, x_scale) = (q.view([m, k]).unwrap(), scale.view([m]).unwrap());
            let to = out.view_mut([m, n]).unwrap();
            LinearInt8 { x, x_scale, weight: &weight, bias: None, act: Act::None, out: to }.run(&gpu).unwrap();
            let mut got = vec![0f32; m * n];
            Download::new(out.view([m * n]).unwrap(), &mut got).run(&gpu).unwrap();
            assert_eq!(got, want, "{scheme}, {m} rows of {k}");
        }
    }
}
