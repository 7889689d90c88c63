use crate::CpuBackend;
use crate::fixtures::{Noise, backends, buffer, raw, values};
use half::f16;
use kernels::ops::{Act, LinearInt8, Upload};
use kernels::weight::{Bits, BlockFormat, Blocks, Coded, Quant, QuantScheme, Zero};
use kernels::{DType, Layout, Memory, Op, Packed, Weight};

/// Scales of 1 make the result a sum of integers, which is exact below 2²⁴.
#[test]
fn groups_longer_than_a_panel_are_exact() {
    let (m, n, k) = (20, 53, 2501);
    for (bits, zero) in [(Bits::Int8, Zero::Symmetric), (Bits::Int4, Zero::Symmetric), (Bits::Int4, Zero::Asymmetric)] {
        let scheme = QuantScheme { bits, group_size: usize::MAX, zero };
        let mut noise = Noise::new(3);
        let codes = (0..n * scheme.row_bytes(k)).map(|_| noise.below(256) as u8).collect();
        let zeros = if zero == Zero::Asymmetric { (0..n).map(|_| noise.below(16) as u8).collect() } else { Vec::new() };
        let quant = Quant::new(n, k, scheme, codes, vec![1.0; n], zeros).unwrap();
        let x: Vec<i8> = (0..m * k).map(|_| (noise.below(31) as i8) - 15).collect();
        let coded = Coded::Quant(&quant);
        let want: Vec<f32> = (0..m * n)
            .map(|at| {
                let (i, j) = (at / n, at % n);
                let zero = i32::from(coded.group(j, 0).zero);
                (0..k).map(|p| i32::from(x[i * k + p]) * (i32::from(coded.code(j, p)) - zero)).sum::<i32>() as f32
            })
            .collect();
        for cpu in backends(&[1, 3]) {
            let packed = cpu.pack(&Weight::Quant(quant.clone())).unwrap();
            let mut q = cpu.alloc(DType::I8, m * k).unwrap();
            Upload::new(&x, q.view_mut([m * k]).unwrap()).run(&cpu).unwrap();
            let (scale, mut out) = (buffer::<f32>(&cpu, &vec![1.0; m]), cpu.alloc(DType::F32, m * n).unwrap());
            for rows in [m, 2] {
                let (x, x_scale) = (q.view([rows, k]).unwrap(), scale.view([rows]).unwrap());
                let out = out.view_mut([rows, n]).unwrap();
                LinearInt8 { x, x_scale, weight: &packed, bias: None, act: Act::None, out }.run(&cpu).unwrap();
            }
            assert_eq!(values::<f32>(&out), want, "{scheme} {}", cpu.isa().name());
        }
    }
}

/// A weight of `n` outputs: that of fewer is its first rows.
fn weight(form: Form, n: usize, k: usize) -> Weight {
    let mut noise = Noise::new(7);
    let mut bytes = |count: usize| (0..count).map(|_| noise.below(256) as u8).collect::<Vec<u8>>();
    match form {
        Form::Blocks(format) => {
            let mut all = bytes(n * k / format.block_size() * format.block_bytes());
            for (index, block) in all.chunks_exact_mut(format.block_bytes()).enumerate() {
                let at = if format == BlockFormat::Q6K { 208 } else { 0 };
                let half = |value: usize| f16::from_f32(0.01 + (value % 13) as f32 * 0.003).to_le_bytes();
                block[at..at + 2].copy_from_slice(&half(index));
                if format.has_minima() {
                    block[at + 2..at + 4].copy_from_slice(&half(3 * index + 1));
                }
            }
            Weight::Blocks(Blocks::new(n, k, format, all).unwrap())
        }
        Form::Quant(bits, group_size, zero) => {
            let scheme = QuantScheme { bits, group_size, zero };
            let codes = bytes(n * scheme.row_bytes(k));
            let count = n * scheme.groups(k);
            let scales = (0..count).map(|at| 0.01 + (at % 13) as f32 * 0.003).collect();
            let zeros = if zero == Zero::Asymmetric { (0..count).map(|at| (at % 16) as u8).collect() } else { Vec::new() };
            Weight::Quant(Quant::new(n, k, scheme, codes, scales, zeros).unwrap())
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Form {
    Blocks(BlockFormat),
    Quant(Bits, usize, Zero),
}

/// Rows, their scales and a bias for the layers of one size.
struct Layer {
    k: usize,
    x: Vec<i8>,
    scales: Vec<f32>,
    bias: Vec<f32>,
}

impl Layer {
    /// Scales of all kinds; row 1 is of zeros with a negative scale.
    fn new(m: usize, n: usize, k: usize) -> Self {
        let mut noise = Noise::new((m + n + k) as u64);
        let x = (0..m * k).map(|at| if at / k == 1 { 0 } else { noise.below(255) as i8 }).collect();
        let scale = |row: usize| match row {
            1 => -0.5,
            2 => f32::from_bits(0xffc0_1234), // a NaN unlike others
            3 => f32::INFINITY,
            _ => 0.01 + row as f32 * 0.001,
        };
        Layer { k, x, scales: (0..m).map(scale).collect(), bias: noise.vec(n) }
    }

    /// Bits of the result [rows, n] of some rows; `bias_stride` 0 is no bias. Scales and rows of the result lie apart.
    fn run(&self, cpu: &CpuBackend, packed: &Packed, rows: std::ops::Range<usize>, bias_stride: usize) -> Vec<u32> {
        let (m, n, k) = (rows.len(), packed.n(), self.k);
        let apart = |values: &[f32], stride: usize| {
            let spread: Vec<f32> = values.iter().flat_map(|&v| std::iter::once(v).chain(vec![9.0; stride - 1])).collect();
            buffer::<f32>(cpu, &spread)
        };
        let strided = |len: usize, stride: usize| Layout::strided([len], &[stride], 0).unwrap();
        let (x, scale) = (raw(cpu, &self.x[rows.start * k..rows.end * k]), apart(&self.scales[rows], 2));
        let (bias, gap) = (apart(&self.bias[..n], bias_stride.max(1)), 5);
        let mut out = buffer::<f32>(cpu, &vec![7.0; m * (n + gap)]);
        let op = LinearInt8 {
            x: x.view([m, k]).unwrap(),
            x_scale: scale.view_as(strided(m, 2)).unwrap(),
            weight: packed,
            bias: (bias_stride > 0).then(|| bias.view_as(strided(n, bias_stride)).unwrap()),
            act: Act::None,
            out: out.view_mut_as(Layout::strided([m, n], &[n + gap, 1], 0).unwrap()).unwrap(),
        };
        op.run(cpu).unwrap();
        let all = values::<f32>(&out);
        all.chunks_exact(n + gap).flat_map(|row| row[..n].iter().map(|v| v.to_bits())).collect()
    }

    /// Element (i, j) in f64 and the bound of its error, γ of the groups and what follows them.
    fn expected(&self, weight: &Weight, i: usize, j: usize) -> (f64, f64) {
        let coded = weight.coded().unwrap();
        let size = coded.group_size();
        let (mut sum, mut magnitude) = (0.0, 0.0);
        for p in 0..self.k {
            let group = coded.group(j, p / size);
            let x = f64::from(self.x[i * self.k + p]);
            sum += x * f64::from(group.value(coded.code(j, p)));
            // Codes, zero points and minima are scaled apart.
            magnitude += x.abs() * f64::from(group.scale.abs() * 255.0 + group.min.abs());
        }
        let scale = f64::from(self.scales[i]);
        (scale * sum, (2 * coded.groups() + 4) as f64 * f64::powi(2.0, -24) * (scale * magnitude).abs())
    }
}

/// Results are finished as tiles are stored, or after, by whole rows or alone, in one panel or several, in any block of rows: always to
/// the same bits, and near the truth.
#[test]
fn however_results_are_finished_they_have_the_same_bits() {
    let (symmetric, asymmetric) = (Zero::Symmetric, Zero::Asymmetric);
    let cases = [
        // Minima beyond the first panel of 1024 inputs.
        (Form::Blocks(BlockFormat::Q4K), 12, 1536),
        (Form::Blocks(BlockFormat::Q5K), 12, 1536),
        // Several panels, the last group not whole.
        (Form::Quant(Bits::Int4, 32, symmetric), 9, 2064),
        (Form::Quant(Bits::Int4, 32, asymmetric), 9, 2064),
        (Form::Quant(Bits::Int4, 512, symmetric), 9, 1024),
        // Several long groups, which eight rows sum through memory.
        (Form::Quant(Bits::Int8, 256, symmetric), 9, 600),
        (Form::Quant(Bits::Int8, usize::MAX, symmetric), 9, 320),
        // A second block of rows; eight rows alone.
        (Form::Blocks(BlockFormat::Q8_0), 520, 32),
        (Form::Blocks(BlockFormat::Q8_0), 8, 64),
        (Form::Blocks(BlockFormat::Q6K), 9, 256),
    ];
    for (form, m, k) in cases {
        let (n, narrow) = (53, 40);
        let (layer, weight_of) = (Layer::new(m, n, k), |n| weight(form, n, k));
        let whole = weight_of(n);
        for cpu in backends(&[1, 3]) {
            let isa = cpu.isa().name();
            let packed = cpu.pack(&whole).unwrap();
            let bare = layer.run(&cpu, &packed, 0..m, 0);
            for at in (0..m * n).filter(|at| !matches!(at / n, 2 | 3)) {
                let (want, bound) = layer.expected(&whole, at / n, at % n);
                let got = f64::from(f32::from_bits(bare[at]));
                assert!((got - want).abs() <= bound, "{form:?} {isa} at {at}: {got} for {want}");
            }
            assert!(bare[2 * n..3 * n].iter().all(|&bits| bits == f32::NAN.to_bits()), "{form:?} {isa}");
            assert!(bare[n..2 * n].iter().all(|&bits| bits == (-0.0f32).to_bits()), "{form:?} {isa}");
            let with_bias = layer.run(&cpu, &packed, 0..m, 1);
            assert_eq!(with_bias, layer.run(&cpu, &packed, 0..m, 2), "{form:?} {isa}: bias apart");
            for row in [0, 1, 2, 3, m - 1] {
                let of_row = row * n..(row + 1) * n;
                assert_eq!(bare[of_row.clone()], layer.run(&cpu, &packed, row..row + 1, 0), "{form:?} {isa}: row {row}");
                assert_eq!(with_bias[of_row], layer.run(&cpu, &packed, row..row + 1, 1), "{form:?} {isa}: row {row}, bias");
            }
            let first = layer.run(&cpu, &cpu.pack(&weight_of(narrow)).unwrap(), 0..m, 0);
            for (row, narrow) in bare.chunks_exact(n).zip(first.chunks_exact(narrow)) {
                assert_eq!(&row[..narrow.len()], narrow, "{form:?} {isa}: fewer columns");
            }
        }
    }
}
