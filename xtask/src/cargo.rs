//! Where the workspace is, and how to call cargo in it.

use std::path::Path;
use std::process::Command;

/// Every build of checks shares this selection, so that dependencies are built once.
pub const SELECTION: [&str; 4] = ["--workspace", "--features", "bench/wgpu,bench/cuda", "--locked"];

/// The same where nothing may need a Vulkan driver.
pub const SELECTION_WITHOUT_WGPU: [&str; 6] =
    ["--workspace", "--features", "bench/cuda", "--locked", "--exclude", "kernels-wgpu"];

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
