//! Integer weights with one scale (and one zero point) per group of inputs.

use super::expect_len;
use crate::{Error, Result};
use std::fmt;

/// Width of a code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Bits {
    /// One byte per code.
    Int8,
    /// Two codes per byte: even k in the low nibble. A row of odd K ends in a padding nibble.
    Int4,
}

/// Where zero lies in the range of codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Zero {
    /// In the middle: `w = scale · (code − 128)` for int8 and `scale · (code − 8)` for int4.
    Symmetric,
    /// Per group: `w = scale · (code − zero_point)`.
    Asymmetric,
}

/// A quantization scheme: code width, group size along K, and where zero lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct QuantScheme {
    /// Width of a code.
    pub bits: Bits,
    /// Inputs that share a scale; the last group of a row may be shorter. `group_size ≥ K` is one scale per output channel.
    pub group_size: usize,
    /// Where zero lies.
    pub zero: Zero,
}

impl fmt::Display for QuantScheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.bits {
            Bits::Int8 => "int8",
            Bits::Int4 => "int4",
        })?;
        match self.group_size {
            usize::MAX => f.write_str("-channel")?,
            group_size => write!(f, "-g{group_size}")?,
        }
        match self.zero {
            Zero::Symmetric => Ok(()),
            Zero::Asymmetric => f.write_str("-asym"),
        }
    }
}

impl QuantScheme {
    /// One scale per output channel, symmetric.
    pub const fn per_channel(bits: Bits) -> Self {
        QuantScheme { bits, group_size: usize::MAX, zero: Zero::Symmetric }
    }

    /// Groups in a row of `k` inputs.
    pub fn groups(&self, k: usize) -> usize {
        k.div_ceil(self.group_size.max(1))
    }

    /// Bytes of the codes of a row of `k` inputs.
    pub fn row_bytes(&self, k: usize) -> usize {
        match self.bits {
            Bits::Int8 => k,
            Bits::Int4 => k.div_ceil(2),
        }
    }

    /// Largest code: 255 or 15.
    pub const fn max_code(&self) -> u8 {
        match self.bits {
            Bits::Int8 => 255,
            Bits::Int4 => 15,
        }
    }

    /// The code of zero under [`Zero::Symmetric`]: 128 or 8.
    pub const fn middle(&self) -> u8 {
        match self.bits {
            Bits::Int8 => 128,
            Bits::Int4 => 8,
        }
    }
}

/// A quantized weight `[N, K]`: `w[n,k] = scale[n,g] · (code[n,k] − zero[n,g])` with `g = k / group_size`.
#[derive(Clone, Debug, PartialEq)]
pub struct Quant {
    n: usize,
    k: usize,
    scheme: QuantScheme,
    codes: Vec<u8>,
    scales: Vec<f32>,
    zero_points: Vec<u8>,
}

impl Quant {
    /// A quantized weight from its parts.
    ///
    /// `codes`: N rows of [`QuantScheme::row_bytes`]; `scales`: `[N, groups]`; `zero_points`: `[N, groups]` for asymmetric
    /// schemes, else empty.
    ///
    /// # Errors
    /// `Value` if a length does not fit, the group size is 0, a scale is not finite, or a zero point is beyond the codes.
    pub fn new(n: usize, k: usize, scheme: QuantScheme, codes: Vec<u8>, scales: Vec<f32>, zero_points: Vec<u8>) -> Result<Self> {
        let bad = |arg, wanted, got: String| Err(Error::Value { op: "weight", arg, wanted, got });
        if scheme.group_size == 0 {
            return bad("group_size", "at least 1", "0".into());
        }
        let groups = n.checked_mul(scheme.groups(k));
        expect_len("codes", codes.len(), n.checked_mul(scheme.row_bytes(k)))?;
        expect_len("scales", scales.len(), groups)?;
        let zeros = if scheme.zero == Zero::Asymmetric { groups } else { Some(0) };
        expect_len("zero_points", zero_points.len(), zeros)?;
        if let Some(at) = scales.iter().position(|s| !s.is_finite()) {
            return bad("scales", "finite", format!("{} at {at}", scales[at]));
        }
        if let Some(at) = zero_points.iter().position(|&z| z > scheme.max_code()) {
            return bad("zero_points", "within the range of codes", format!("{} at {at}", zero_points[at]));
        }
        Ok(Quant { n, k, scheme, codes, scales, zero_points })
    }

    /// Rows: out_features.
    pub fn n(&self) -> usize {
        self.n
    }
    /// Columns: in_features.
    pub fn k(&self) -> usize {
        self.k
    }
    /// Scheme.
    pub fn scheme(&self) -> QuantScheme {
        self.scheme
    }
    /// Codes, N rows of [`QuantScheme::row_bytes`].
    pub fn codes(&self) -> &[u8] {
        &self.codes
    }
    /// Scales `[N, groups]`.
    pub fn scales(&self) -> &[f32] {
        &self.scales
    }
    /// Zero points `[N, groups]`; empty for symmetric schemes.
    pub fn zero_points(&self) -> &[u8] {
        &self.zero_points
    }
    /// Bytes of codes, scales and zero points.
    pub fn stored_bytes(&self) -> usize {
        self.codes.len() + 4 * self.scales.len() + self.zero_points.len()
    }

    /// Code of element (n, k), both in range.
    pub fn code(&self, n: usize, k: usize) -> u8 {
        let row = &self.codes[n * self.scheme.row_bytes(self.k)..];
        match self.scheme.bits {
            Bits::Int8 => row[k],
            Bits::Int4 => row[k / 2] >> (4 * (k % 2)) & 15,
        }
    }

    /// Scale and zero point of group `g` of row `n`, both in range.
    pub fn group(&self, n: usize, g: usize) -> (f32, u8) {
        let at = n * self.scheme.groups(self.k) + g;
        let zero = match self.scheme.zero {
            Zero::Symmetric => self.scheme.middle(),
            Zero::Asymmetric => self.zero_points[at],
        };
        (self.scales[at], zero)
    }

    /// The matrix it stands for, row-major `[N, K]`; each value rounded once.
    pub fn to_f32(&self) -> Vec<f32> {
        let mut dense = Vec::with_capacity(self.n * self.k);
        for n in 0..self.n {
            for k in 0..self.k {
                let (scale, zero) = self.group(n, k / self.scheme.group_size);
                dense.push(scale * (self.code(n, k) as i32 - zero as i32) as f32);
            }
        }
        dense
    }
}
