//! Kernels of linear layers over weights of integer codes, on tensor cores.

use crate::source::{Source, source};
use kernels::DType;

pub(crate) static SOURCE: Source = source!("linear_coded");

/// Name of a kernel, by the number of a form.
pub(crate) fn kernel(form: u32, dtype: DType, few: bool) -> &'static str {
    macro_rules! of_form {
        ($form:literal) => {
            match (few, dtype) {
                (true, DType::F16) => concat!("linear_few_", $form, "_f16"),
                (true, _) => concat!("linear_few_", $form, "_bf16"),
                (false, DType::F16) => concat!("linear_many_", $form, "_f16"),
                (false, _) => concat!("linear_many_", $form, "_bf16"),
            }
        };
    }
    match form {
        1 => of_form!("int8"),
        2 => of_form!("int4"),
        3 => of_form!("q8_0"),
        4 => of_form!("q4_0"),
        5 => of_form!("q4_k"),
        6 => of_form!("q5_k"),
        _ => of_form!("q6_k"),
    }
}
