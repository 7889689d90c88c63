//! `cargo xtask bench`: measure kernels and models, write the report.

use std::ffi::OsString;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::ValueEnum;

use crate::forward::{self, Backend};

/// Measure kernels and models on this machine and write a report
///
/// Trains large models (transformers) and small ones (linear models, forests, n-grams) on real data that is already
/// on this machine, shrinks the large ones (int8, int4, pruned, distilled), and measures quality, latency, memory
/// and the kernels underneath. Ends in a summary here and in target/sizewise/latest/report.html.
///
/// Ctrl-C stops early: what was measured so far is kept and reported as incomplete.
#[derive(clap::Args)]
#[command(after_long_help = "\
Examples:
  cargo xtask bench                                  everything, on the CPU
  cargo xtask bench --full                           larger models, longer training, more samples
  cargo xtask bench kernels --ops 'matmul|linear'    two kernels, no models
  cargo xtask bench --backend cpu,wgpu               the CPU beside the GPU
  cargo xtask bench --task mail.csv --label spam     your own table
  cargo xtask bench --null                           how much do two equal runs differ here?

Exit status: 0 measured, 2 slower than --baseline beyond the noise, 64 command line not understood,
anything else: an error, explained above it.")]
pub struct Args {
    /// Measure only the kernels or only the models (default: both)
    what: Option<What>,

    /// Backends to measure. Each is compiled in on demand; one that cannot run becomes a row with the reason
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_value = "cpu")]
    backend: Vec<Backend>,

    /// Tasks (default: digits,rust-lm,rust-snippets); your own FILE.csv or FILE.jsonl needs --label
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    task: Vec<String>,

    /// Column of your own file that holds the class to predict
    #[arg(long, value_name = "COLUMN", requires = "task")]
    label: Option<String>,

    /// Small models and short measurements, about two minutes on two cores (default)
    #[arg(long, conflicts_with = "full")]
    quick: bool,

    /// Larger models, longer training, more samples
    #[arg(long)]
    full: bool,

    /// Only models whose id matches
    #[arg(long, value_name = "REGEX")]
    models: Option<String>,

    /// Only kernels whose op matches
    #[arg(long, value_name = "REGEX")]
    ops: Option<String>,

    /// Worker threads (default: all cores)
    #[arg(long, value_name = "N")]
    threads: Option<NonZeroUsize>,

    /// Seed of data splits, initial weights and shuffling
    #[arg(long, value_name = "N")]
    seed: Option<u64>,

    /// Folder for the runs, each in a folder of its own (default: target/sizewise)
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,

    /// Compare with an earlier run; exit 2 if this one is slower beyond the noise
    #[arg(long, value_name = "RUN")]
    baseline: Option<PathBuf>,

    /// Measure the same thing twice and print the noise floor
    #[arg(long)]
    null: bool,

    /// Device to use where a backend has several: its number or part of its name
    #[arg(long, value_name = "NAME")]
    device: Option<String>,

    /// Passed to sizewise-bench as they stand
    #[arg(last = true, value_name = "ARGS")]
    rest: Vec<OsString>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum What {
    Kernels,
    Models,
}

/// Builds and runs the benchmark.
pub fn run(args: &Args) -> Result<ExitCode> {
    forward::run(&args.backend, argv(args))
}

/// Only what the caller gave: defaults belong to the program.
fn argv(args: &Args) -> Vec<OsString> {
    let mut argv: Vec<OsString> = Vec::new();
    match args.what {
        Some(What::Kernels) => argv.push("kernels".into()),
        Some(What::Models) => argv.push("models".into()),
        None => {}
    }
    let mut option = |name: &str, value: Option<OsString>| {
        if let Some(value) = value {
            argv.push(name.into());
            argv.push(value);
        }
    };
    option("--backend", Some(forward::comma_list(&args.backend).into()));
    option("--task", (!args.task.is_empty()).then(|| args.task.join(",").into()));
    option("--label", args.label.as_ref().map(Into::into));
    option("--models", args.models.as_ref().map(Into::into));
    option("--ops", args.ops.as_ref().map(Into::into));
    option("--threads", args.threads.map(|n| n.to_string().into()));
    option("--seed", args.seed.map(|n| n.to_string().into()));
    option("--out", args.out.as_ref().map(Into::into));
    option("--baseline", args.baseline.as_ref().map(Into::into));
    option("--device", args.device.as_ref().map(Into::into));
    for (name, given) in [("--quick", args.quick), ("--full", args.full), ("--null", args.null)] {
        if given {
            argv.push(name.into());
        }
    }
    argv.extend(args.rest.iter().cloned());
    argv
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    fn forwarded(line: &str) -> Result<String, clap::Error> {
        let line = Line::try_parse_from(std::iter::once("bench").chain(line.split_whitespace()))?;
        Ok(argv(&line.args).join(" ".as_ref()).into_string().expect("ASCII in, ASCII out"))
    }

    #[test]
    fn a_plain_run_names_the_cpu_and_leaves_the_rest_to_the_program() {
        assert_eq!(forwarded("").unwrap(), "--backend cpu");
    }

    #[test]
    fn every_flag_is_passed_on() {
        let line = "models --backend cpu,wgpu --task digits,mail.csv --label spam --models gpt|svm --ops matmul \
                    --threads 2 --seed 7 --out d --baseline r --device llvmpipe --full --null -- --later 1";
        let expected = line.replace(" -- ", " ");
        assert_eq!(forwarded(line).unwrap(), expected.split_whitespace().collect::<Vec<_>>().join(" "));
    }

    #[test]
    fn wrong_lines_are_refused_before_anything_is_built() {
        for line in ["--backend gpu", "--quick --full", "--threads 0", "--label y", "--seed x", "everything"] {
            assert!(forwarded(line).is_err(), "{line}");
        }
    }
}
