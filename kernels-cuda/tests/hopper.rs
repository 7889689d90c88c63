//! The contract's suite for products, as Hopper's own tensor cores make them whatever their size.

use kernels::conformance::bounds::Arithmetic;
use kernels::conformance::{Filter, tests};
use kernels::{Backend, Result};
use kernels_cuda::{CudaBackend, Products};
use libtest_mimic::{Arguments, Trial};

/// Suites with factors that these kernels take.
const SUITES: [&str; 5] = ["matmul/", "linear/bf16/packed", "linear/bf16/view", "linear/f16/packed", "linear/f16/view"];

fn open() -> Result<Box<dyn Backend>> {
    Ok(Box::new(CudaBackend::emulated().with_products(Products::Hopper)))
}

fn main() {
    let suite = |name: &str| {
        let name = name.to_owned();
        tests(&Filter { name, arithmetic: Arithmetic::Ieee, ..Filter::quarter() }.from_environment(), open)
    };
    let trials: Vec<Trial> = SUITES.into_iter().flat_map(suite).collect();
    libtest_mimic::run(&Arguments::from_args(), trials).exit()
}
