//! Element types. Each has a whole number of bytes; whatever needs a group, a scale or an index is a [`Weight`](crate::Weight).

use half::{bf16, f16};
use std::fmt;

/// Type of one element of a [`Buffer`](crate::Buffer).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DType {
    /// IEEE 754 binary32.
    F32,
    /// bfloat16: 8 bits of exponent, 8 of significand. Storage only: sums are f32.
    Bf16,
    /// IEEE 754 binary16. Storage only: sums are f32.
    F16,
    /// Signed 8-bit integer.
    I8,
    /// Unsigned 8-bit integer.
    U8,
    /// Signed 32-bit integer.
    I32,
    /// Unsigned 32-bit integer: row indices, class labels, lengths.
    U32,
}

impl DType {
    /// Every dtype, in the order tables print them.
    pub const ALL: [DType; 7] = [DType::F32, DType::Bf16, DType::F16, DType::I8, DType::U8, DType::I32, DType::U32];
    /// The three floating-point types.
    pub const FLOATS: [DType; 3] = [DType::F32, DType::Bf16, DType::F16];

    /// Bytes of one element.
    pub const fn size_bytes(self) -> usize {
        match self {
            DType::F32 | DType::I32 | DType::U32 => 4,
            DType::Bf16 | DType::F16 => 2,
            DType::I8 | DType::U8 => 1,
        }
    }

    /// Lower-case name as reports and messages print it.
    pub const fn name(self) -> &'static str {
        match self {
            DType::F32 => "f32",
            DType::Bf16 => "bf16",
            DType::F16 => "f16",
            DType::I8 => "i8",
            DType::U8 => "u8",
            DType::I32 => "i32",
            DType::U32 => "u32",
        }
    }

    /// Whether this is f32, bf16 or f16.
    pub const fn is_float(self) -> bool {
        matches!(self, DType::F32 | DType::Bf16 | DType::F16)
    }

    /// Unit roundoff u of round-to-nearest (2⁻²⁴, 2⁻⁸, 2⁻¹¹); 0 for integers.
    pub const fn unit_roundoff(self) -> f64 {
        match self {
            DType::F32 => 1.0 / (1u64 << 24) as f64,
            DType::Bf16 => 1.0 / 256.0,
            DType::F16 => 1.0 / 2048.0,
            _ => 0.0,
        }
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A Rust type that is the host form of a [`DType`].
pub trait Element: bytemuck::Pod + Send + Sync + PartialEq + fmt::Debug {
    /// The dtype this type is the host form of.
    const DTYPE: DType;
    /// Exact widening.
    fn to_f64(self) -> f64;
    /// Nearest value, ties to even; integers saturate and map NaN to 0.
    fn from_f64(value: f64) -> Self;
}

macro_rules! element {
    ($ty:ty, $dtype:ident, $to:expr, $from:expr) => {
        impl Element for $ty {
            const DTYPE: DType = DType::$dtype;
            fn to_f64(self) -> f64 {
                ($to)(self)
            }
            fn from_f64(value: f64) -> Self {
                ($from)(value)
            }
        }
    };
}

element!(f32, F32, |x: f32| x as f64, |v: f64| v as f32);
element!(bf16, Bf16, |x: bf16| x.to_f64(), |v| bf16::from_f32(round_to_odd(v)));
element!(f16, F16, |x: f16| x.to_f64(), |v| f16::from_f32(round_to_odd(v)));
element!(i8, I8, |x: i8| x as f64, |v: f64| v.round_ties_even() as i8);
element!(u8, U8, |x: u8| x as f64, |v: f64| v.round_ties_even() as u8);
element!(i32, I32, |x: i32| x as f64, |v: f64| v.round_ties_even() as i32);
element!(u32, U32, |x: u32| x as f64, |v: f64| v.round_ties_even() as u32);

// f64 to a narrow type through f32 rounds twice (and `half` looks at the upper half of an f64 only). Rounding the f32 step to odd
// makes the second rounding exact (Boldo & Melquiond, 2008).
fn round_to_odd(value: f64) -> f32 {
    let near = value as f32;
    if !near.is_finite() || near as f64 == value {
        return near;
    }
    let toward_zero = if (near as f64).abs() > value.abs() { f32::from_bits(near.to_bits() - 1) } else { near };
    f32::from_bits(toward_zero.to_bits() | 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn narrow_types_round_once() {
        // Just above the middle of two neighbours, by less than f32 or the upper half of an f64 can tell.
        for step in [2f64.powi(-22), 2f64.powi(-30), 2f64.powi(-50)] {
            assert_eq!(<bf16 as Element>::from_f64(1.0 + 2f64.powi(-8) + step).to_f64(), 1.0 + 2f64.powi(-7));
            assert_eq!(<bf16 as Element>::from_f64(1.0 + 2f64.powi(-8) - step).to_f64(), 1.0);
            assert_eq!(<f16 as Element>::from_f64(1.0 + 2f64.powi(-11) + step).to_f64(), 1.0 + 2f64.powi(-10));
            assert_eq!(<f16 as Element>::from_f64(1.0 + 2f64.powi(-11) - step).to_f64(), 1.0);
        }
        assert_eq!(<bf16 as Element>::from_f64(1.0 + 2f64.powi(-8)).to_f64(), 1.0);
        assert_eq!(<f16 as Element>::from_f64(1e6).to_f64(), f64::INFINITY);
        assert_eq!(<f16 as Element>::from_f64(2f64.powi(-24)).to_f64(), 2f64.powi(-24));
        assert!(<f16 as Element>::from_f64(f64::NAN).is_nan());
    }
}
