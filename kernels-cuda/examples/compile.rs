//! Compiles every kernel for every target into a folder: `cargo run -p kernels-cuda --example compile -- FOLDER`.
//!
//! What `SIZEWISE_CUDA_KERNELS` may name on a machine that has a GPU and its driver, and nothing else of CUDA.

use kernels_cuda::compile::{Target, compile, file_name, source_names};
use std::path::PathBuf;
use std::process::ExitCode;

fn main() -> ExitCode {
    let Some(folder) = std::env::args_os().nth(1).map(PathBuf::from) else {
        eprintln!("usage: compile FOLDER");
        return ExitCode::from(64);
    };
    let write = |source: &str, target: Target| -> Result<(), String> {
        let compiled = compile(source, target)?;
        let file = folder.join(file_name(source, target));
        std::fs::write(&file, compiled.cubin).map_err(|error| format!("{}: {error}", file.display()))
    };
    let mut files = 0;
    for source in source_names() {
        for target in Target::ALL {
            if let Err(why) = write(source, target) {
                eprintln!("error: {why}");
                return ExitCode::FAILURE;
            }
            files += 1;
        }
    }
    println!("{files} files in {}", folder.display());
    ExitCode::SUCCESS
}
