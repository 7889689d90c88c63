//! Kernels of linear layers over 2:4 weights, on sparse tensor cores.

use crate::product::Tile;
use crate::source::{Source, source};
use kernels::DType;

pub(crate) static SOURCE: Source = source!("linear_two_of_four");

/// Whether tensor cores take rows of x with stored values: those of one type of 16 bits, or codes.
pub(crate) fn takes(x: DType, values: DType) -> bool {
    x != DType::F32 && (values == x || values == DType::I8)
}

/// Name of a kernel: `None` where rows are few.
pub(crate) fn kernel(x: DType, values: DType, tile: Option<Tile>) -> &'static str {
    macro_rules! of_values {
        ($values:literal) => {
            match tile {
                None => concat!("linear_two_of_four_", $values, "_few"),
                Some(Tile::Large) => concat!("linear_two_of_four_", $values, "_large"),
                Some(Tile::Small) => concat!("linear_two_of_four_", $values, "_small"),
            }
        };
    }
    match (x, values) {
        (DType::Bf16, DType::I8) => of_values!("bf16_i8"),
        (DType::Bf16, _) => of_values!("bf16_bf16"),
        (_, DType::I8) => of_values!("f16_i8"),
        _ => of_values!("f16_f16"),
    }
}
