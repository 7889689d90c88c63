//! The contract's suite of ops on rows twice more: with every row done by a block, and with every row read pass by pass where a
//! block would hold it. So the kernels of long rows do rows that are quick to generate.

use kernels::conformance::{Filter, tests};
use kernels_cuda::CudaBackend;
use libtest_mimic::Arguments;
use std::process::{Command, ExitCode};

const VARIABLE: &str = "SIZEWISE_CUDA_ROWS";

fn main() -> ExitCode {
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
    let passes =
        |team| Command::new(&program).args(std::env::args_os().skip(1)).env(VARIABLE, team).status().is_ok_and(|s| s.success());
    if ["block", "long"].into_iter().all(passes) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
