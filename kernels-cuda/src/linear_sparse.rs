//! Kernels of linear layers over sparse weights.

use crate::source::{Source, source};
use kernels::DType;

pub(crate) static SOURCE: Source = source!("linear_sparse");

/// Name of a kernel, by the elements of x and of the stored values.
pub(crate) fn kernel(x: DType, values: DType, one: bool) -> &'static str {
    macro_rules! of_values {
        ($x:literal, $values:literal) => {
            match one {
                true => concat!("linear_sparse_", $x, "_", $values, "_one"),
                false => concat!("linear_sparse_", $x, "_", $values, "_eight"),
            }
        };
    }
    macro_rules! of_inputs {
        ($x:literal) => {
            match values {
                DType::Bf16 => of_values!($x, "bf16"),
                DType::F16 => of_values!($x, "f16"),
                DType::I8 => of_values!($x, "i8"),
                _ => of_values!($x, "f32"),
            }
        };
    }
    match x {
        DType::Bf16 => of_inputs!("bf16"),
        DType::F16 => of_inputs!("f16"),
        _ => of_inputs!("f32"),
    }
}
