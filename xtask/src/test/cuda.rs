//! What the tests of kernels-cuda need on a machine without a GPU: a C++ compiler for the emulation, and NVIDIA's run-time compiler and
//! disassembler, from PyPI's wheels, below `target/cuda`.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::{packages, steps, succeeds};
use crate::cargo;

/// Wheels and versions: NVRTC of CUDA 13.0, which kernels-cuda is written for, and any disassembler that knows its targets.
const WHEELS: [&str; 2] = ["nvidia-cuda-nvrtc==13.0.88", "nvidia-cuda-nvdisasm==13.5.37"];

const LIBRARY: &str = "libnvrtc.so.13";

const REMEDY: &str = "install a C++ compiler and pip (Debian, Ubuntu: `apt-get install g++ python3-pip`), or leave the tests of \
                      kernels-cuda's emulation out with --skip-cuda";

/// Whether the emulation can run here at all: fibers are switched in assembly of x86-64.
pub const EMULATES: bool = cfg!(all(target_os = "linux", target_arch = "x86_64"));

/// What was set up.
#[derive(Clone, Debug)]
pub struct Tools {
    /// Folder of NVRTC.
    libraries: PathBuf,
    /// Folder of the disassembler.
    programs: PathBuf,
}

impl Tools {
    /// Lets a command find the tools.
    pub fn show_to(&self, command: &mut Command) {
        for (variable, folder) in [("LD_LIBRARY_PATH", &self.libraries), ("PATH", &self.programs)] {
            let rest = std::env::var_os(variable).unwrap_or_default();
            let folders = std::iter::once(folder.clone()).chain(std::env::split_paths(&rest));
            // A folder with a colon in its name cannot be said; the tests then tell what they miss.
            if let Ok(list) = std::env::join_paths(folders) {
                command.env(variable, list);
            }
        }
    }
}

/// Makes sure of the tools, installing and fetching what is missing.
///
/// # Errors
/// What could not be had, and how to get it.
pub fn ensure() -> Result<Tools> {
    if !succeeds(Command::new("c++").arg("--version")) {
        packages::install(&["g++"], REMEDY)?;
    }
    let to = cargo::root().join("target").join("cuda");
    if let Some(tools) = find(&to) {
        println!("NVRTC: {}", tools.libraries.display());
        return Ok(tools);
    }
    fetch(&to)?;
    find(&to).with_context(|| format!("the wheels are installed, yet there is no {LIBRARY} in {}", to.display()))
}

fn find(below: &Path) -> Option<Tools> {
    let root = below.join("nvidia").join("cu13");
    let tools = Tools { libraries: root.join("lib"), programs: root.join("bin") };
    (tools.libraries.join(LIBRARY).is_file() && tools.programs.join("nvdisasm").is_file()).then_some(tools)
}

fn fetch(to: &Path) -> Result<()> {
    let pip = match pip() {
        Some(pip) => pip,
        None => {
            packages::install(&["python3-pip"], REMEDY)?;
            pip().context(REMEDY)?
        }
    };
    println!("fetching {} (100 MB, once)", WHEELS.join(", "));
    // Put in place as a whole: a killed run leaves no half of it behind.
    let draft = to.with_extension("draft");
    if draft.exists() {
        std::fs::remove_dir_all(&draft)?;
    }
    let mut command = Command::new(pip[0]);
    command.args(&pip[1..]).args(["install", "--quiet", "--no-deps", "--disable-pip-version-check", "--target"]);
    steps::run(command.arg(&draft).args(WHEELS)).with_context(|| REMEDY.to_owned())?;
    if to.exists() {
        std::fs::remove_dir_all(to)?;
    }
    std::fs::rename(&draft, to)?;
    Ok(())
}

fn pip() -> Option<Vec<&'static str>> {
    let ways = [vec!["python3", "-m", "pip"], vec!["pip3"], vec!["pip"]];
    ways.into_iter().find(|way| succeeds(Command::new(way[0]).args(&way[1..]).arg("--version")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_an_installation_is_none() {
        let folder = std::env::temp_dir().join(format!("sizewise-cuda-tools-{}", std::process::id()));
        let lib = folder.join("nvidia").join("cu13").join("lib");
        std::fs::create_dir_all(&lib).unwrap();
        std::fs::write(lib.join(LIBRARY), b"").unwrap();
        assert!(find(&folder).is_none());
        let bin = folder.join("nvidia").join("cu13").join("bin");
        std::fs::create_dir_all(&bin).unwrap();
        std::fs::write(bin.join("nvdisasm"), b"").unwrap();
        assert_eq!(find(&folder).unwrap().libraries, lib);
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
