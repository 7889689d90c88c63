//! Compiles every kernel for every target into a folder: `cargo run -p kernels-cuda --example compile -- FOLDER`.
//!
//! What `SIZEWISE_CUDA_KERNELS` may name on a machine that has a GPU and its driver, and nothing else of CUDA.

use std::path::PathBuf;
use std::process::ExitCode;

fn main() -> ExitCode {
    let Some(folder) = std::env::args_os().nth(1).map(PathBuf::from) else {
        eprintln!("usage: compile FOLDER");
        return ExitCode::from(64);
    };
    match kernels_cuda::compile::package(&folder) {
        Ok(files) => {
            println!("{files} files in {}", folder.display());
            ExitCode::SUCCESS
        }
        Err(why) => {
            eprintln!("error: {why}");
            ExitCode::FAILURE
        }
    }
}
