//! The kernels' sources, as they lie beside their launchers, embedded in the program.

/// One `.cu` file.
#[derive(Debug)]
pub(crate) struct Source {
    /// File name without its end.
    pub name: &'static str,
    /// Content.
    pub text: &'static str,
    /// Of Hopper alone: bytes of shared memory that its kernels are launched with, beside what they declare.
    pub hopper: Option<u32>,
}

/// `source!("softmax")` is `softmax.cu`.
macro_rules! source {
    ($name:literal) => {
        $crate::source::Source { name: $name, text: include_str!(concat!($name, ".cu")), hopper: None }
    };
}
pub(crate) use source;

macro_rules! headers {
    ($($name:literal),* $(,)?) => {
        /// What the sources include, by the names they use.
        pub(crate) const HEADERS: &[(&str, &str)] = &[$(($name, include_str!(concat!("cu/", $name)))),*];
    };
}

headers!(
    "params.h",
    "platform.cuh",
    "element.cuh",
    "lattice.cuh",
    "team.cuh",
    "held.cuh",
    "tensor.cuh",
    "product.cuh",
    "tile.cuh",
    "hopper.cuh",
    "scaled.cuh",
    "coded.cuh",
    "coded_tile.cuh",
    "factors.cuh",
    "layer.cuh",
    "few.cuh",
    "two_of_four.cuh",
    "report.cuh",
    "function.cuh",
    "columns.cuh",
    "norm.cuh",
    "sign.cuh",
    "target.cuh",
    "turn.cuh",
    "attention.cuh",
    "attention_cores.cuh",
    "attention_tensor.cuh"
);

macro_rules! sources {
    ($($module:ident),* $(,)?) => {
        /// Every source.
        pub(crate) static ALL: &[&Source] = &[$(&crate::$module::SOURCE),*];
    };
}

sources!(
    adamw,
    attention,
    attention_backward,
    axpy,
    binary,
    cast,
    clip_norm,
    copy,
    cross_entropy,
    cross_entropy_backward,
    fill,
    forest,
    gather,
    hopper,
    layer_norm,
    layer_norm_backward,
    linear,
    linear_coded,
    linear_int8,
    linear_sparse,
    linear_two_of_four,
    matmul,
    quantize,
    random,
    reduce,
    rms_norm,
    rms_norm_backward,
    rope,
    scatter_add,
    sgd,
    softmax,
    softmax_backward,
    turn_bytes,
    unary,
    unary_backward
);

/// Name of a kernel for elements of a dtype: `name_f32`, `name_bf16`, `name_f16`.
macro_rules! by_float {
    ($name:expr, $dtype:expr) => {
        match $dtype {
            kernels::DType::Bf16 => concat!($name, "_bf16"),
            kernels::DType::F16 => concat!($name, "_f16"),
            _ => concat!($name, "_f32"),
        }
    };
}
pub(crate) use by_float;

/// Name of a kernel for elements of 16 bits: `name_bf16` or `name_f16`, and what follows.
macro_rules! by_half {
    ($name:expr, $dtype:expr, $end:expr) => {
        match $dtype {
            kernels::DType::Bf16 => concat!($name, "_bf16", $end),
            _ => concat!($name, "_f16", $end),
        }
    };
}
pub(crate) use by_half;
