//! Floating-point values in host memory.

use crate::{DType, Element};
use half::{bf16, f16};

/// Values of one floating-point dtype.
#[derive(Clone, Debug, PartialEq)]
pub enum Values {
    /// f32.
    F32(Vec<f32>),
    /// bf16.
    Bf16(Vec<bf16>),
    /// f16.
    F16(Vec<f16>),
}

impl Values {
    /// `values` rounded to `dtype`; `None` for integer dtypes.
    pub fn from_f32(dtype: DType, values: &[f32]) -> Option<Self> {
        match dtype {
            DType::F32 => Some(Values::F32(values.to_vec())),
            DType::Bf16 => Some(Values::Bf16(values.iter().map(|&v| bf16::from_f32(v)).collect())),
            DType::F16 => Some(Values::F16(values.iter().map(|&v| f16::from_f32(v)).collect())),
            _ => None,
        }
    }

    /// Number of values.
    pub fn len(&self) -> usize {
        match self {
            Values::F32(v) => v.len(),
            Values::Bf16(v) => v.len(),
            Values::F16(v) => v.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Element type.
    pub fn dtype(&self) -> DType {
        match self {
            Values::F32(_) => f32::DTYPE,
            Values::Bf16(_) => bf16::DTYPE,
            Values::F16(_) => f16::DTYPE,
        }
    }

    /// Bytes of all values.
    pub fn size_bytes(&self) -> usize {
        self.as_bytes().len()
    }

    /// The values as bytes, native endian.
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Values::F32(v) => bytemuck::cast_slice(v),
            Values::Bf16(v) => bytemuck::cast_slice(v),
            Values::F16(v) => bytemuck::cast_slice(v),
        }
    }

    /// Exact widening to f32.
    pub fn to_f32(&self) -> Vec<f32> {
        match self {
            Values::F32(v) => v.clone(),
            Values::Bf16(v) => v.iter().map(|v| v.to_f32()).collect(),
            Values::F16(v) => v.iter().map(|v| v.to_f32()).collect(),
        }
    }

    /// Value `index` widened to f32; 0 beyond the end.
    pub fn get_f32(&self, index: usize) -> f32 {
        match self {
            Values::F32(v) => v.get(index).copied().unwrap_or(0.0),
            Values::Bf16(v) => v.get(index).map_or(0.0, |v| v.to_f32()),
            Values::F16(v) => v.get(index).map_or(0.0, |v| v.to_f32()),
        }
    }

    /// How many are not zero.
    pub fn nonzeros(&self) -> usize {
        (0..self.len()).filter(|&i| self.get_f32(i) != 0.0).count()
    }
}
