//! `cargo xtask test`: set up what is needed, run every check.

mod browser;
mod counts;
pub(crate) mod cuda;
mod end_to_end;
mod isa;
mod packages;
mod steps;
pub(crate) mod vulkan;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, ensure};

use crate::programs::Programs;
use crate::{cargo, tidy};
use counts::{Counts, Runner};
pub use steps::run;
use steps::{Steps, Verdict};

/// Set up what is needed and run every check: format, lints, tidy, docs, tests on every instruction set and on Vulkan
///
/// Installs a software Vulkan driver, a C++ compiler and Chromium where there are none (apt-get, as root or by `sudo -n`), fetches
/// NVIDIA's run-time compiler from PyPI, and installs clippy and rustfmt where rustup has them. What cannot be set up is a failure with the remedy, never a silent skip. All steps run even
/// after one failed.
#[derive(clap::Args)]
pub struct Args {
    /// Run only tests whose name contains this, and none of the other checks
    #[arg(long, value_name = "NAME")]
    filter: Option<String>,

    /// Leave out what is slow: other instruction sets, documentation, examples, the small benchmark and its report
    #[arg(long)]
    quick: bool,

    /// Leave out the tests of kernels-wgpu, and of models on it
    #[arg(long)]
    skip_wgpu: bool,

    /// Leave out the tests of kernels-cuda that take a C++ compiler and NVRTC
    #[arg(long)]
    skip_cuda: bool,

    /// Leave out the look at report.html in a headless browser
    #[arg(long)]
    skip_browser: bool,
}

impl Args {
    fn without(&self) -> cargo::Without {
        cargo::Without { wgpu: self.skip_wgpu, emulation: self.skip_cuda || !cuda::EMULATES }
    }
}

/// Runs the steps; the exit status is a failure when any of them failed.
pub fn all(args: &Args) -> Result<ExitCode> {
    let mut steps = Steps::start();
    if args.skip_wgpu {
        steps.skip("Vulkan driver", "--skip-wgpu");
    } else {
        steps.step("Vulkan driver", |_| vulkan::ensure());
    }
    let mut tools = None;
    if !cuda::EMULATES {
        steps.skip("CUDA without a GPU", "the emulation runs on x86-64 Linux");
    } else if args.skip_cuda {
        steps.skip("CUDA without a GPU", "--skip-cuda");
    } else {
        steps.step("CUDA without a GPU", |_| {
            tools = Some(cuda::ensure()?);
            Ok(())
        });
    }
    if args.filter.is_none() {
        static_checks(args, &mut steps);
    }
    tests(args, tools.as_ref(), &mut steps);
    Ok(steps.close())
}

fn static_checks(args: &Args, steps: &mut Steps) {
    steps.step("format", |_| {
        component("fmt", "rustfmt")?;
        steps::run(cargo::cargo_in_root().args(["fmt", "--all", "--check"]))
    });
    steps.step("lints", |_| {
        component("clippy", "clippy")?;
        let mut clippy = cargo::cargo_in_root();
        // Also what measures other libraries, which no test needs built.
        let selection = ["clippy", "--workspace", "--all-features", "--locked", "--all-targets"];
        steps::run(clippy.args(selection).args(["--", "-D", "warnings"]))
    });
    if args.quick {
        steps.skip("documentation", "--quick");
    } else {
        steps.step("documentation", |_| {
            let mut doc = cargo::cargo_in_root();
            // Shapes stand in brackets and look like links.
            doc.env("RUSTDOCFLAGS", "-D warnings -A rustdoc::broken_intra_doc_links -A rustdoc::redundant_explicit_links");
            steps::run(doc.arg("doc").args(cargo::selection(args.without())).arg("--no-deps"))
        });
    }
}

fn tests(args: &Args, tools: Option<&cuda::Tools>, steps: &mut Steps) {
    let filter = args.filter.as_deref();
    let cargo_test = |subcommand: &[&str]| {
        let mut command = cargo::cargo_in_root();
        command.args(subcommand).args(cargo::selection(args.without()));
        match tools {
            Some(tools) => tools.show_to(&mut command),
            // Without NVRTC its tests could only fail: the step above has said why.
            None => drop(command.args(["--exclude", "kernels-cuda"])),
        }
        command
    };
    let mut programs = Programs::default();
    let built = steps.step("build the tests", |_| {
        programs = Programs::build(cargo_test(&["test"]).arg("--no-run"))?;
        Ok(())
    });
    if built == Verdict::Failed {
        for name in ["tidy", "tests", "documentation tests", "instruction sets"] {
            steps.skip(name, "not built");
        }
        return;
    }
    if filter.is_none() {
        // Here, because it asks the program just built for the support tables; that of wgpu takes a device.
        steps.step("tidy", |_| {
            let docs = if args.skip_wgpu { tidy::Docs::Leave } else { tidy::Docs::Compare };
            let status = tidy::check(docs, || programs.bench().map(Path::to_path_buf))?;
            ensure!(status == ExitCode::SUCCESS, "the violations stand above");
            Ok(())
        });
    }
    steps.step("tests", |counts| {
        let result = if succeeds(cargo::cargo_in_root().args(["nextest", "--version"])) {
            steps::run_tests(cargo_test(&["nextest", "run"]).arg("--no-fail-fast").args(filter), Runner::Nextest, counts)
        } else {
            let mut command = cargo_test(&["test"]);
            command.args(["--lib", "--bins", "--tests", "--no-fail-fast", "--"]).args(filter);
            steps::run_tests(&mut command, Runner::Libtest, counts)
        };
        if let Some(name) = filter {
            ensure!(*counts != Counts { ignored: counts.ignored, ..Counts::default() }, "no test's name contains `{name}`");
        }
        result
    });
    steps.step("documentation tests", |counts| {
        steps::run_tests(cargo_test(&["test", "--doc"]).args(["--no-fail-fast", "--"]).args(filter), Runner::Libtest, counts)
    });
    for isa in isa::available() {
        let name = format!("kernels-cpu with SIZEWISE_ISA={isa}");
        if args.quick {
            steps.skip(name, "--quick");
        } else {
            steps.step(name, |counts| isa::run(isa, &programs.tests_of("kernels-cpu"), filter, counts));
        }
    }
    if args.quick {
        steps.skip("examples, end to end, report in a browser", "--quick");
    } else if filter.is_none() {
        examples(steps);
        report(args, &programs, steps);
    }
}

/// The crates below `examples/` stand outside the workspace, as a user's own would.
fn examples(steps: &mut Steps) {
    let mut manifests: Vec<PathBuf> = match cargo::root().join("examples").read_dir() {
        Ok(entries) => entries.flatten().map(|entry| entry.path().join("Cargo.toml")).filter(|m| m.is_file()).collect(),
        Err(_) => Vec::new(),
    };
    manifests.sort();
    for manifest in manifests {
        let name = manifest.strip_prefix(cargo::root()).unwrap_or(&manifest).display().to_string();
        steps.step(name, |counts| {
            let mut test = cargo::cargo_in_root();
            test.args(["test", "--locked", "--target-dir", "target", "--manifest-path"]).arg(&manifest);
            steps::run_tests(&mut test, Runner::Libtest, counts)
        });
    }
}

fn report(args: &Args, programs: &Programs, steps: &mut Steps) {
    let out = cargo::root().join("target/end-to-end");
    let ran = steps.step("end to end", |_| end_to_end::run(programs.bench()?, &out));
    let name = "report in a browser";
    if args.skip_browser {
        steps.skip(name, "--skip-browser");
    } else if ran == Verdict::Failed {
        steps.skip(name, "no report");
    } else {
        steps.step(name, |_| browser::check(browser::ensure()?, &out.join("latest/report.html"), &out.join("browser")));
    }
}

/// Installs a rustup component where cargo lacks the subcommand that it brings.
fn component(subcommand: &str, name: &str) -> Result<()> {
    if succeeds(cargo::cargo_in_root().args([subcommand, "--version"])) {
        return Ok(());
    }
    println!("cargo {subcommand} is missing: installing {name}");
    steps::run(Command::new("rustup").args(["component", "add", name]).current_dir(cargo::root()))
        .with_context(|| format!("install {name}: `rustup component add {name}`, or your system's package"))
}

fn succeeds(command: &mut Command) -> bool {
    command.output().is_ok_and(|output| output.status.success())
}
