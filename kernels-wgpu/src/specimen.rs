//! Products whose tiles are compared and timed: the same factors on every device, of full mantissas, so that sums in another order
//! end in other bits.

use crate::WgpuBackend;
use crate::product::Family;
use kernels::ops::{Act, Download, Linear, LinearInt8, Matmul, Upload};
use kernels::weight::{Bits, Quant, QuantScheme, Values, Zero};
use kernels::{Buffer, DType, Element, Memory, Op, Packed, Result, Weight, WeightRef};

/// One product laid out on a device.
pub(crate) struct Specimen<'a> {
    on: &'a WgpuBackend,
    /// M, N, K.
    size: [usize; 3],
    factors: Factors,
    out: Buffer,
}

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

fn upload<T: Element>(on: &WgpuBackend, dtype: DType, values: &[T]) -> Result<Buffer> {
    let mut buffer = on.alloc(dtype, values.len())?;
    Upload::new(values, buffer.view_mut([values.len()])?).run(on)?;
    Ok(buffer)
}

fn codes(bits: Bits, group_size: usize, [_, n, k]: [usize; 3]) -> Result<Weight> {
    let scheme = QuantScheme { bits, group_size, zero: Zero::Symmetric };
    let codes = scattered(n * scheme.row_bytes(k), 3, |bits| byte(bits) as u8);
    let scales = scattered(n * scheme.groups(k), 4, |bits| 0.01 * (1.5 + float(bits)));
    Ok(Weight::Quant(Quant::new(n, k, scheme, codes, scales, Vec::new())?))
}

impl<'a> Specimen<'a> {
    /// A product of a family, of M × K by K × N.
    ///
    /// # Errors
    /// Those of allocating; a fault of the device.
    pub fn new(on: &'a WgpuBackend, family: Family, size: [usize; 3]) -> Result<Self> {
        let [m, n, k] = size;
        let floats = |len, seed| upload(on, DType::F32, &scattered(len, seed, float));
        let bytes = |len, seed| upload(on, DType::I8, &scattered(len, seed, byte));
        let layer =
            |weight: Weight| -> Result<Factors> { Ok(Factors::Linear { x: floats(m * k, 1)?, weight: on.pack(&weight)? }) };
        let factors = match family {
            Family::Matmul => Factors::Matmul { a: floats(m * k, 1)?, b: floats(k * n, 2)? },
            Family::MatmulInt8 => Factors::Matmul { a: bytes(m * k, 1)?, b: bytes(k * n, 2)? },
            Family::Linear => layer(Weight::dense(n, k, Values::F32(scattered(n * k, 2, float)))?)?,
            Family::LinearCodes => layer(codes(Bits::Int4, 64, size)?)?,
            Family::LinearInt8 => {
                let weight = on.pack(&codes(Bits::Int8, usize::MAX, size)?)?;
                Factors::LinearInt8 { x: bytes(m * k, 1)?, x_scale: floats(m, 2)?, weight }
            }
        };
        let out = on.alloc(if family == Family::MatmulInt8 { DType::I32 } else { DType::F32 }, m * n)?;
        Ok(Specimen { on, size, factors, out })
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
            Factors::Matmul { a, b } => Matmul::new(a.view([m, k])?, b.view([k, n])?, out).run(on),
            Factors::Linear { x, weight } => {
                Linear { x: x.view([m, k])?, weight: WeightRef::Packed(weight), bias, act, out }.run(on)
            }
            Factors::LinearInt8 { x, x_scale, weight } => {
                LinearInt8 { x: x.view([m, k])?, x_scale: x_scale.view([m])?, weight, bias, act, out }.run(on)
            }
        }
    }

    /// The bits of the product that was run last.
    ///
    /// # Errors
    /// The first fault so far.
    pub fn bits(&self) -> Result<Vec<u32>> {
        let out = self.out.view([self.out.len()])?;
        if out.dtype() == DType::I32 {
            let mut host = vec![0i32; self.out.len()];
            Download::new(out, &mut host).run(self.on)?;
            return Ok(host.into_iter().map(|sum| sum as u32).collect());
        }
        let mut host = vec![0f32; self.out.len()];
        Download::new(out, &mut host).run(self.on)?;
        Ok(host.into_iter().map(f32::to_bits).collect())
    }
}
