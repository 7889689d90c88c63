//! Where the workspace is, and how to call cargo in it.

use std::path::Path;
use std::process::Command;

/// What the builds of checks leave out.
#[derive(Clone, Copy, Debug, Default)]
pub struct Without {
    /// kernels-wgpu, which needs a Vulkan driver.
    pub wgpu: bool,
    /// The emulation of kernels-cuda, which needs a C++ compiler.
    pub emulation: bool,
}

/// Every build of checks shares this selection, so that dependencies are built once.
pub fn selection(without: Without) -> Vec<&'static str> {
    let features = match (without.wgpu, without.emulation) {
        (false, false) => "bench/wgpu,bench/cuda-emulation",
        (false, true) => "bench/wgpu,bench/cuda",
        (true, false) => "bench/cuda-emulation",
        (true, true) => "bench/cuda",
    };
    let mut selection = vec!["--workspace", "--features", features, "--locked"];
    if without.wgpu {
        selection.extend(["--exclude", "kernels-wgpu"]);
    }
    selection
}

/// The workspace root: the folder above this crate.
pub fn root() -> &'static Path {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here)
}

/// The cargo that started us, so that a `+toolchain` chosen by the caller holds for everything below.
pub fn cargo() -> Command {
    Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// Cargo working in the workspace root.
pub fn cargo_in_root() -> Command {
    let mut command = cargo();
    command.current_dir(root());
    command
}
