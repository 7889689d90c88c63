//! Compiles every kernel for the targets of packages into a folder: `cargo run -p kernels-cuda --example compile -- FOLDER [TARGET]`.
//!
//! What `SIZEWISE_CUDA_KERNELS` may name on a machine that has a GPU and its driver, and nothing else of CUDA.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

fn main() -> ExitCode {
    let Some(folder) = std::env::args_os().nth(1).map(PathBuf::from) else {
        eprintln!("usage: compile FOLDER [TARGET], of sm_80 and sm_90a");
        return ExitCode::from(64);
    };
    let only = std::env::args().nth(2);
    let done = AtomicUsize::new(0);
    match kernels_cuda::compile::package(&folder, only.as_deref(), |file| {
        println!("{:>4} {file}", done.fetch_add(1, Relaxed) + 1)
    }) {
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
