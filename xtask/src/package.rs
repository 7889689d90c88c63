//! `cargo xtask package`: what a GPU machine without Rust needs to test and measure a backend.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail, ensure};

use crate::forward::Backend;
use crate::programs::Programs;
use crate::test::cuda;
use crate::{cargo, test};

/// Make a folder to be copied to a GPU machine that has a driver and no Rust: programs, kernels and a script
///
/// There, `./run.sh` checks the kernels against the reference, repeats some under compute-sanitizer where that is installed, measures
/// them, a decoder of GPT-2's size, and PyTorch on the same shapes where that is installed, and leaves `results.tgz`, which
/// `cargo xtask import-results` takes in here. The programs need a Linux whose C library is no older than this machine's.
#[derive(clap::Args)]
pub struct Args {
    /// Backend to be tested
    #[arg(long, default_value = "cuda")]
    backend: Backend,

    /// Folder to make; it must not exist or be a package of before
    #[arg(long, value_name = "DIR", default_value = "target/package")]
    out: PathBuf,
}

const SCRIPT: &str = include_str!("package.sh");

const TORCH_PEERS: &str = include_str!("package_torch.py");

/// Tests that run on a device.
const TESTS: [&str; 2] = ["conformance", "product_bits"];

/// What is left in a package, so that another run knows that it may replace it.
const ABOUT: &str = "about.txt";

/// Makes the package.
///
/// # Errors
/// A backend without a package; a build that fails; a folder that is something else.
pub fn run(args: &Args) -> Result<ExitCode> {
    if args.backend != Backend::Cuda {
        bail!("only cuda has a package; wgpu and cpu are tested by `cargo xtask test` on the machine itself");
    }
    let tools = cuda::ensure()?;
    let out = &args.out;
    if out.exists() {
        ensure!(out.join(ABOUT).is_file(), "{} exists and is not a package: choose another folder with --out", out.display());
        fs::remove_dir_all(out)?;
    }
    let kernels = out.join("kernels");
    fs::create_dir_all(&kernels).with_context(|| format!("cannot make {}", kernels.display()))?;

    println!("building the programs (release)");
    let mut bench = cargo::cargo_in_root();
    bench.args(["build", "--release", "--locked", "-p", "bench", "--features", "cuda"]);
    test::run(bench.args(["--bin", "sizewise-bench", "--example", "gpt_speed"]))?;
    for program in ["sizewise-bench", "examples/gpt_speed"] {
        copy(&cargo::root().join("target/release").join(program), out)?;
    }
    let mut tests = cargo::cargo_in_root();
    tests.args(["test", "--release", "--locked", "-p", "kernels-cuda", "--no-run"]);
    let programs = Programs::build(tests.args(TESTS.iter().flat_map(|test| ["--test", test])))?;
    let built = programs.tests_of("kernels-cuda");
    for test in TESTS {
        let is_it = |path: &&&Path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(test));
        let program = built.iter().find(is_it).with_context(|| format!("kernels-cuda has no program {test}"))?;
        fs::copy(program, out.join(test))?;
    }

    let mut launches = cargo::cargo_in_root();
    launches.args(["build", "--release", "--locked", "-p", "kernels-cuda", "--example", "launches"]);
    test::run(&mut launches)?;
    copy(&cargo::root().join("target/release/examples/launches"), out)?;

    println!("compiling the kernels");
    let mut compile = cargo::cargo_in_root();
    compile.args(["run", "--release", "--locked", "-p", "kernels-cuda", "--example", "compile", "--"]);
    tools.show_to(&mut compile);
    test::run(compile.arg(fs::canonicalize(&kernels)?))?;

    let script = out.join("run.sh");
    fs::write(&script, SCRIPT)?;
    executable(&script)?;
    fs::write(out.join("torch_peers.py"), TORCH_PEERS)?;
    fs::write(out.join(ABOUT), format!("commit={}\n", commit()))?;
    println!("{}: copy it to the machine, run ./run.sh there, bring results.tgz back", out.display());
    Ok(ExitCode::SUCCESS)
}

fn copy(program: &Path, to: &Path) -> Result<()> {
    let name = program.file_name().context("a program without a name")?;
    fs::copy(program, to.join(name)).with_context(|| format!("cannot copy {}", program.display()))?;
    Ok(())
}

#[cfg(unix)]
fn executable(file: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    Ok(fs::set_permissions(file, fs::Permissions::from_mode(0o755))?)
}

#[cfg(not(unix))]
fn executable(_: &Path) -> Result<()> {
    Ok(())
}

/// The commit, with a mark where files differ from it.
fn commit() -> String {
    let git = |args: &[&str]| {
        let output = Command::new("git").args(args).current_dir(cargo::root()).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let Some(commit) = git(&["rev-parse", "--short=12", "HEAD"]) else { return "unknown".to_owned() };
    let changed = git(&["status", "--porcelain", "--untracked-files=no"]).is_none_or(|text| !text.is_empty());
    if changed { format!("{commit} with changes") } else { commit }
}
