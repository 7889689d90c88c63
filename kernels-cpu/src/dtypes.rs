//! From a dtype, known when an op runs, to the type its kernel is compiled for.

use kernels::{DType, Error, Support};

/// Support of ops on floats.
pub(crate) fn floats(dtype: DType) -> Support {
    match dtype.is_float() {
        true => Support::Native,
        false => Support::No("defined for f32, bf16 and f16"),
    }
}

/// What an op answers to a dtype its support table excludes.
pub(crate) fn unsupported(op: &'static str, dtype: DType) -> Error {
    Error::Unsupported { op, dtype, backend: crate::NAME, reason: "not in the support table" }
}

/// `with_float!(op, dtype, T => expression)`: the expression with `T` as f32, bf16 or f16; an error for any other dtype.
macro_rules! with_float {
    ($op:expr, $dtype:expr, $t:ident => $body:expr) => {
        match $dtype {
            ::kernels::DType::F32 => {
                type $t = f32;
                $body
            }
            ::kernels::DType::Bf16 => {
                type $t = ::half::bf16;
                $body
            }
            ::kernels::DType::F16 => {
                type $t = ::half::f16;
                $body
            }
            other => Err($crate::dtypes::unsupported($op, other)),
        }
    };
}
pub(crate) use with_float;

/// `with_element!(dtype, T => expression)`: the expression with `T` as the host form of any dtype.
macro_rules! with_element {
    ($dtype:expr, $t:ident => $body:expr) => {
        match $dtype {
            ::kernels::DType::F32 => {
                type $t = f32;
                $body
            }
            ::kernels::DType::Bf16 => {
                type $t = ::half::bf16;
                $body
            }
            ::kernels::DType::F16 => {
                type $t = ::half::f16;
                $body
            }
            ::kernels::DType::I8 => {
                type $t = i8;
                $body
            }
            ::kernels::DType::U8 => {
                type $t = u8;
                $body
            }
            ::kernels::DType::I32 => {
                type $t = i32;
                $body
            }
            ::kernels::DType::U32 => {
                type $t = u32;
                $body
            }
        }
    };
}
pub(crate) use with_element;
