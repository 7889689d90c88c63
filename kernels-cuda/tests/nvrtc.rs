//! Every kernel compiled for the architectures that matter, without a GPU, and what the compiler says of it.
//!
//! Takes NVRTC, which `cargo xtask test` fetches; without it one test fails and says how to get it.

use kernels_cuda::compile::{Target, compile, ensure_present, source_names};
use libtest_mimic::{Arguments, Failed, Trial};

/// One source for one target: it compiles, and no kernel moves registers to memory.
fn check(source: &str, target: Target) -> Result<(), Failed> {
    let compiled = compile(source, target)?;
    if !compiled.cubin.starts_with(b"\x7fELF") {
        return Err("no machine code".into());
    }
    if compiled.kernels.is_empty() {
        return Err("no kernel, or a log that cannot be read".into());
    }
    let spills = |kernel: &&kernels_cuda::compile::KernelUse| kernel.spill_bytes > 0 || kernel.stack_bytes > 0;
    match compiled.kernels.iter().find(spills) {
        Some(kernel) => Err(format!("{kernel:?}: what a thread computes with must stay in registers").into()),
        None => Ok(()),
    }
}

fn main() {
    let trial =
        |source: &'static str| Target::ALL.map(|target| Trial::test(format!("{source}/{target}"), move || check(source, target)));
    let trials = match ensure_present() {
        Ok(()) => source_names().flat_map(trial).collect(),
        Err(why) => vec![Trial::test("nvrtc", move || Err(why.into()))],
    };
    libtest_mimic::run(&Arguments::from_args(), trials).exit()
}
