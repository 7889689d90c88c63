//! The contract's suite of ops on rows once more, with every row done by a block: the kernels of long rows on rows that are quick to
//! generate.

use kernels::conformance::{Filter, tests};
use kernels_cuda::CudaBackend;
use libtest_mimic::Arguments;
use std::process::Command;

const VARIABLE: &str = "SIZEWISE_CUDA_SHORT_ROW";

fn main() {
    if std::env::var_os(VARIABLE).is_some() {
        let of_rows = ["softmax", "cross_entropy", "layer_norm", "rms_norm", "reduce", "gather", "quantize"];
        let suites = of_rows.map(|name| {
            let filter = Filter { name: name.to_owned(), arithmetic: Default::default(), ..Filter::quarter() };
            tests(&filter.from_environment(), || Ok(Box::new(CudaBackend::emulated())))
        });
        libtest_mimic::run(&Arguments::from_args(), suites.into_iter().flatten().collect()).exit();
    }
    // A process reads the variable once, before its first row.
    let program = std::env::current_exe().expect("the path of a program that runs");
    let status = Command::new(program).args(std::env::args_os().skip(1)).env(VARIABLE, "0").status();
    std::process::exit(status.ok().and_then(|status| status.code()).unwrap_or(1));
}
