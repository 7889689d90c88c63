//! The kernels of every instruction set this processor has, not only of the best one.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, ensure};

use super::counts::{Counts, Runner};
use super::steps;
use crate::cargo;

/// Values of `SIZEWISE_ISA` that run here; the processor features are those of `kernels_cpu::Isa`.
pub fn available() -> Vec<&'static str> {
    let mut names = vec!["scalar"];
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::is_x86_feature_detected as has;
        let avx2 = has!("avx2") && has!("fma") && has!("f16c");
        if avx2 {
            names.push("avx2");
        }
        if avx2 && has!("avx512f") && has!("avx512bw") && has!("avx512dq") && has!("avx512vl") {
            names.push("avx512");
            if has!("avx512bf16") {
                names.push("avx512-bf16");
            }
        }
    }
    names
}

/// Runs the test programs of `kernels-cpu` with its kernels held to `isa`.
pub fn run(isa: &str, programs: &[&Path], filter: Option<&str>, counts: &mut Counts) -> Result<()> {
    ensure!(!programs.is_empty(), "kernels-cpu has no test programs");
    for program in programs {
        let mut command = Command::new(program);
        command.env("SIZEWISE_ISA", isa).current_dir(cargo::root().join("kernels-cpu")).args(filter);
        steps::run_tests(&mut command, Runner::Libtest, counts)?;
    }
    Ok(())
}
