//! Products in which tiles are compared, timed and tested: the same factors on every device, of full mantissas, so that sums in another
//! order end in other bits, and what comes out of them by the definition.

use crate::WgpuBackend;
use crate::product::Family;
use half::{bf16, f16};
use kernels::ops::{Act, Download, Linear, LinearInt8, Matmul, Upload};
use kernels::weight::{Bits, BlockFormat, Blocks, Quant, QuantScheme, Values, Zero};
use kernels::{Buffer, DType, Element, Memory, Op, Packed, Result, Weight, WeightRef};

/// Elements of a product that are held to the definition, at most.
const SAMPLES: usize = 1024;
/// Unit roundoff of f32.
const U: f64 = 1.0 / (1u64 << 24) as f64;

/// What a product is of.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Form {
    /// Matrices, row by row or column by column.
    Matrices { dtype: DType, columns: bool },
    /// Rows and a dense weight.
    Dense(DType),
    /// Rows of f32 and a weight of codes.
    Codes(Codes),
    /// Rows of i8 and a weight of codes.
    Int8(Codes),
}

/// How codes are stored.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Codes {
    Quant(QuantScheme),
    Blocks(BlockFormat),
}

impl Form {
    /// What a family's tiles are used for, one of each kind. The first is the one that is timed.
    pub fn of(family: Family) -> Vec<Form> {
        let quant = |bits, group_size, zero| Codes::Quant(QuantScheme { bits, group_size, zero });
        let channel = |zero| quant(Bits::Int8, usize::MAX, zero);
        let (symmetric, asymmetric) = (Zero::Symmetric, Zero::Asymmetric);
        let matrices = |dtype| Form::Matrices { dtype, columns: false };
        let columns = |dtype| Form::Matrices { dtype, columns: true };
        match family {
            Family::Matmul => {
                vec![matrices(DType::F32), columns(DType::F32), matrices(DType::Bf16), matrices(DType::F16)]
            }
            Family::MatmulInt8 => vec![matrices(DType::I8), columns(DType::I8)],
            Family::Linear => [DType::F32, DType::Bf16, DType::F16].map(Form::Dense).to_vec(),
            Family::LinearCodes => {
                let quants = [quant(Bits::Int4, 64, symmetric), quant(Bits::Int4, 32, asymmetric), channel(symmetric)];
                quants.into_iter().chain(BlockFormat::ALL.map(Codes::Blocks)).map(Form::Codes).collect()
            }
            Family::LinearInt8 => {
                let quants = [channel(symmetric), channel(asymmetric), quant(Bits::Int4, 64, symmetric)];
                // Tiles take no minima.
                let blocks = BlockFormat::ALL.into_iter().filter(|format| !format.has_minima());
                quants.into_iter().chain(blocks.map(Codes::Blocks)).map(Form::Int8).collect()
            }
        }
    }

    /// What the terms of a sum are a multiple of.
    fn block(self) -> usize {
        match self {
            Form::Codes(Codes::Blocks(format)) | Form::Int8(Codes::Blocks(format)) => format.block_size(),
            _ => 1,
        }
    }
}

/// One product laid out on a device.
pub(crate) struct Specimen<'a> {
    on: &'a WgpuBackend,
    form: Form,
    /// M, N, K.
    size: [usize; 3],
    factors: Factors,
    out: Buffer,
    /// The rows, and the factors they are multiplied by.
    rows: Vec<f32>,
    scales: Vec<f32>,
    right: Right,
}

/// The factor of a column and a term, and the sum of the magnitudes it is made of.
type Right = Box<dyn Fn(usize, usize) -> (f64, f64)>;

enum Factors {
    Matmul { a: Buffer, b: Buffer },
    Linear { x: Buffer, weight: Packed },
    LinearInt8 { x: Buffer, x_scale: Buffer, weight: Packed },
}

/// The upper bits of a multiplicative sequence, that of another seed for each factor.
fn scattered<T>(len: usize, seed: u32, of: impl Fn(u32) -> T) -> Vec<T> {
    (0..len as u32).map(|i| of((i ^ seed.wrapping_mul(0x9e37_79b9)).wrapping_mul(2_654_435_761) >> 8)).collect()
}

/// From -1 to 1, by 24 bits.
fn float(bits: u32) -> f32 {
    bits as f32 / (1 << 23) as f32 - 1.0
}

fn byte(bits: u32) -> i8 {
    (bits >> 16) as i8
}

/// Small, and above 0.
fn scale(bits: u32) -> f32 {
    0.01 * (1.5 + float(bits))
}

/// Elements of a factor on the host.
enum Elements {
    Floats(Values),
    Bytes(Vec<i8>),
}

impl Elements {
    fn new(dtype: DType, len: usize, seed: u32) -> Self {
        match Values::from_f32(dtype, &scattered(len, seed, float)) {
            Some(values) => Elements::Floats(values),
            None => Elements::Bytes(scattered(len, seed, byte)),
        }
    }

    fn upload(&self, on: &WgpuBackend) -> Result<Buffer> {
        fn up<T: Element>(on: &WgpuBackend, values: &[T]) -> Result<Buffer> {
            let mut buffer = on.alloc(T::DTYPE, values.len())?;
            Upload::new(values, buffer.view_mut([values.len()])?).run(on)?;
            Ok(buffer)
        }
        match self {
            Elements::Floats(Values::F32(values)) => up(on, values),
            Elements::Floats(Values::Bf16(values)) => up(on, values),
            Elements::Floats(Values::F16(values)) => up(on, values),
            Elements::Bytes(values) => up(on, values),
        }
    }

    fn to_f32(&self) -> Vec<f32> {
        match self {
            Elements::Floats(values) => values.to_f32(),
            Elements::Bytes(values) => values.iter().map(|&value| value.into()).collect(),
        }
    }
}

fn weight(codes: Codes, [_, n, k]: [usize; 3]) -> Result<Weight> {
    match codes {
        Codes::Quant(scheme) => {
            let codes = scattered(n * scheme.row_bytes(k), 3, |bits| byte(bits) as u8);
            let groups = n * scheme.groups(k);
            let zeros = if scheme.zero == Zero::Asymmetric { groups } else { 0 };
            let zeros = scattered(zeros, 5, |bits| byte(bits) as u8 & scheme.max_code());
            Ok(Weight::Quant(Quant::new(n, k, scheme, codes, scattered(groups, 4, scale), zeros)?))
        }
        Codes::Blocks(format) => {
            let blocks = n * k / format.block_size();
            let mut bytes = scattered(blocks * format.block_bytes(), 3, |bits| byte(bits) as u8);
            let scales = scattered(2 * blocks, 4, |bits| f16::from_f32(scale(bits)).to_le_bytes());
            // Where a block has its scale d, and behind it that of the minima.
            let at = if format == BlockFormat::Q6K { 208 } else { 0 };
            let count = 1 + usize::from(format.has_minima());
            for (block, scales) in bytes.chunks_exact_mut(format.block_bytes()).zip(scales.chunks_exact(2)) {
                block[at..at + 2 * count].copy_from_slice(&scales.concat()[..2 * count]);
            }
            Ok(Weight::Blocks(Blocks::new(n, k, format, bytes)?))
        }
    }
}

impl<'a> Specimen<'a> {
    /// A product of M × K by K × N, of at least so many terms.
    ///
    /// # Errors
    /// Those of allocating; a fault of the device.
    pub fn new(on: &'a WgpuBackend, form: Form, [m, n, k]: [usize; 3]) -> Result<Self> {
        let k = k.next_multiple_of(form.block());
        let size = [m, n, k];
        let (dtype, out) = match form {
            Form::Matrices { dtype: DType::I8, .. } => (DType::I8, DType::I32),
            Form::Matrices { dtype, .. } => (dtype, DType::F32),
            Form::Dense(dtype) => (dtype, dtype),
            Form::Codes(_) => (DType::F32, DType::F32),
            Form::Int8(_) => (DType::I8, DType::F32),
        };
        let left = Elements::new(dtype, m * k, 1);
        let x = left.upload(on)?;
        let mut rows = left.to_f32();
        let mut scales = vec![1.0; m];
        let (factors, right): (Factors, Right) = match form {
            Form::Matrices { columns, .. } => {
                let right = Elements::new(dtype, k * n, 2);
                let (a, b) = (x, right.upload(on)?);
                let right = right.to_f32();
                if columns {
                    rows = (0..m * k).map(|at| rows[at % k * m + at / k]).collect();
                }
                let value = move |j: usize, p: usize| f64::from(if columns { right[j * k + p] } else { right[p * n + j] });
                (Factors::Matmul { a, b }, Box::new(move |j, p| (value(j, p), value(j, p).abs())))
            }
            Form::Dense(dtype) => {
                let floats = scattered(n * k, 2, float);
                let values = Values::from_f32(dtype, &floats).unwrap_or(Values::F32(floats));
                let right = values.to_f32();
                let weight = on.pack(&Weight::dense(n, k, values)?)?;
                let value = move |j: usize, p: usize| f64::from(right[j * k + p]);
                (Factors::Linear { x, weight }, Box::new(move |j, p| (value(j, p), value(j, p).abs())))
            }
            Form::Codes(codes) | Form::Int8(codes) => {
                let stored = weight(codes, size)?;
                let weight = on.pack(&stored)?;
                let factors = if dtype == DType::I8 {
                    let values = scattered(m, 6, scale);
                    let x_scale = Elements::Floats(Values::F32(values.clone())).upload(on)?;
                    scales = values;
                    Factors::LinearInt8 { x, x_scale, weight }
                } else {
                    Factors::Linear { x, weight }
                };
                (factors, Box::new(move |j, p| stored.coded().map_or((0.0, 0.0), |coded| decoded(coded, j, p))))
            }
        };
        let out = on.alloc(out, m * n)?;
        Ok(Specimen { on, form, size, factors, out, rows, scales, right })
    }

    /// Queues the product.
    ///
    /// # Errors
    /// The first fault so far.
    pub fn run(&mut self) -> Result<()> {
        let ([m, n, k], on) = (self.size, self.on);
        let out = self.out.view_mut([m, n])?;
        let (bias, act) = (None, Act::None);
        match &self.factors {
            Factors::Matmul { a, b } if matches!(self.form, Form::Matrices { columns: true, .. }) => {
                Matmul::new(a.view([k, m])?.transpose(0, 1)?, b.view([n, k])?.transpose(0, 1)?, out).run(on)
            }
            Factors::Matmul { a, b } => Matmul::new(a.view([m, k])?, b.view([k, n])?, out).run(on),
            Factors::Linear { x, weight } => {
                Linear { x: x.view([m, k])?, weight: WeightRef::Packed(weight), bias, act, out }.run(on)
            }
            Factors::LinearInt8 { x, x_scale, weight } => {
                LinearInt8 { x: x.view([m, k])?, x_scale: x_scale.view([m])?, weight, bias, act, out }.run(on)
            }
        }
    }

    /// The product that was run last, exactly.
    ///
    /// # Errors
    /// The first fault so far.
    pub fn result(&self) -> Result<Vec<f64>> {
        fn down<T: Element + Default>(on: &WgpuBackend, out: &Buffer) -> Result<Vec<f64>> {
            let mut host = vec![T::default(); out.len()];
            Download::new(out.view([out.len()])?, &mut host).run(on)?;
            Ok(host.into_iter().map(T::to_f64).collect())
        }
        match self.out.dtype() {
            DType::I32 => down::<i32>(self.on, &self.out),
            DType::Bf16 => down::<bf16>(self.on, &self.out),
            DType::F16 => down::<f16>(self.on, &self.out),
            _ => down::<f32>(self.on, &self.out),
        }
    }

    /// The first of some elements, scattered over a result, that is not what it should be by the definition.
    pub fn differs(&self, result: &[f64]) -> Option<String> {
        let len = result.len();
        let place = |i: usize| if len <= SAMPLES { i } else { (i.wrapping_mul(2_654_435_761) + len - 1) % len };
        (0..len.min(SAMPLES)).map(place).find_map(|at| {
            let (got, (wanted, most)) = (result[at], self.defined(at));
            let right = (got - wanted).abs() <= most;
            (!right).then(|| format!("value {at} of {len} is {got} instead of {wanted}, of {:?}", self.form))
        })
    }

    /// An element by the definition, and by how much it may be another: γ of Σ|terms| for the sum of K terms and for the roundings of
    /// a weight, a minimum and two scales, and one rounding to the dtype of the output, where that is one of floats.
    fn defined(&self, at: usize) -> (f64, f64) {
        let [_, n, k] = self.size;
        let (i, j) = (at / n, at % n);
        let (mut sum, mut magnitude) = (0.0, 0.0);
        for p in 0..k {
            let (left, (right, size)) = (f64::from(self.rows[i * k + p]), (self.right)(j, p));
            sum += left * right;
            magnitude += left.abs() * size;
        }
        let scale = f64::from(self.scales[i]);
        let roundings = (k + 4) as f64 * U;
        let gamma = roundings / (1.0 - roundings);
        let (rounding, least) = match self.out.dtype() {
            DType::I32 => return (sum, 0.0),
            DType::Bf16 => (1.0 / 256.0, 0.0),
            // Below 2⁻¹⁴ steps are of 2⁻²⁴.
            DType::F16 => (1.0 / 2048.0, U / 2.0),
            _ => (0.0, 0.0),
        };
        let most = gamma * scale * magnitude;
        (scale * sum, most + rounding * ((scale * sum).abs() + most) + least)
    }
}

/// What a code stands for, and the sum of the magnitudes that is made of.
fn decoded(coded: kernels::weight::Coded<'_>, j: usize, p: usize) -> (f64, f64) {
    let group = coded.group(j, p / coded.group_size());
    let steps = f64::from(i32::from(coded.code(j, p)) - i32::from(group.zero));
    let (scaled, min) = (f64::from(group.scale) * steps, f64::from(group.min));
    (scaled - min, scaled.abs() + min.abs())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapter::{adapter, open};
    use crate::cache::Cache;

    /// The bound is far below what an element more or less in a sum makes.
    #[test]
    fn products_of_every_form_are_what_they_are_by_definition_and_others_are_not() {
        let adapter = adapter(None).unwrap_or_else(|error| panic!("{error}"));
        let on = open(&adapter, "tile-32", Cache::none()).unwrap();
        for form in Family::ALL.into_iter().flat_map(Form::of) {
            let mut specimen = Specimen::new(&on, form, [5, 60, 133]).unwrap();
            specimen.run().unwrap();
            let mut result = specimen.result().unwrap();
            assert_eq!(specimen.differs(&result), None);
            let (i, j) = (3, 7);
            result[i * 60 + j] += f64::from(specimen.scales[i])
                * f64::from(specimen.rows[i * specimen.size[2]]).abs()
                * (specimen.right)(j, 0).0.abs();
            let told = specimen.differs(&result);
            assert!(told.as_ref().is_some_and(|what| what.contains("value 187 of 300")), "{form:?}: {told:?}");
        }
    }

    #[test]
    fn elements_of_every_row_are_looked_at() {
        let adapter = adapter(None).unwrap_or_else(|error| panic!("{error}"));
        let on = open(&adapter, "", Cache::none()).unwrap();
        for [m, n] in [[37, 150], [8, 4096], [512, 64], [125, 252]] {
            let mut specimen = Specimen::new(&on, Form::Matrices { dtype: DType::I8, columns: false }, [m, n, 16]).unwrap();
            specimen.run().unwrap();
            let right = specimen.result().unwrap();
            assert_eq!(specimen.differs(&right), None);
            for row in 0..m {
                let mut wrong = right.clone();
                wrong[row * n..(row + 1) * n].fill(f64::NAN);
                assert!(specimen.differs(&wrong).is_some(), "row {row} of {m} × {n}");
            }
        }
    }
}
