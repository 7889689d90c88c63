//! The command line. `cargo xtask` has the same flags and the longer help.

use clap::{Args, Parser, Subcommand};
use regex::Regex;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::ExitCode;

/// Exit status of a command line that is not understood; 2 means a regression.
const USAGE: u8 = 64;

/// What to measure.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum What {
    Kernels,
    Models,
    Both,
}

/// Measures large and small models and the kernels underneath, and writes a report
#[derive(Parser)]
#[command(name = "sizewise-bench", version, args_conflicts_with_subcommands = true)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Option<Command>,
    #[command(flatten)]
    pub bench: Bench,
}

#[derive(Subcommand)]
pub enum Command {
    /// Measure only the kernels
    Kernels(Bench),
    /// Measure only the models
    Models(Bench),
    /// Compare two runs row by row; exit 2 on a regression beyond the noise
    Compare {
        /// Folder or report.json of the earlier run
        before: PathBuf,
        /// Folder or report.json of the later run
        after: PathBuf,
    },
    /// Say of every backend whether it works here, and self-test its device
    Doctor {
        /// Backends to look at
        #[arg(long, value_delimiter = ',', default_value = "cpu,wgpu,cuda")]
        backend: Vec<String>,
        /// First measure which kernels are fastest on the device, and keep that for later runs
        #[arg(long)]
        tune: bool,
        /// Device to look at where a backend has several: its number or part of its name
        #[arg(long, value_name = "DEVICE")]
        device: Option<String>,
    },
    /// Print the support table of the backends as markdown
    Ops {
        /// Backends to ask; all of them must be compiled in, and wgpu needs a device, if only a software one
        #[arg(long, value_delimiter = ',', default_value = "cpu,wgpu,cuda")]
        backend: Vec<String>,
    },
    /// Print the document in docs/ of a run of `cargo bench --bench peers`: for docs/NAME.json it is docs/NAME.md
    Performance {
        /// The file that the run left
        #[arg(default_value = "docs/performance.json")]
        run: PathBuf,
    },
}

#[derive(Args)]
pub struct Bench {
    /// Backends to measure; one that cannot run becomes rows with the reason
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_value = "cpu")]
    pub backend: Vec<String>,
    /// Tasks: digits, rust-lm, rust-snippets, or your own FILE.csv or FILE.jsonl (needs --label)
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_value = "digits,rust-lm,rust-snippets")]
    pub task: Vec<String>,
    /// Column of your own file that holds the class
    #[arg(long, value_name = "COLUMN")]
    pub label: Option<String>,
    /// Small models and short measurements, about two minutes on two cores; the default
    #[arg(long, conflicts_with = "full")]
    pub quick: bool,
    /// Larger models, longer training, more samples
    #[arg(long)]
    pub full: bool,
    /// Only models whose id matches
    #[arg(long, value_name = "REGEX")]
    pub models: Option<Regex>,
    /// Only kernels whose op matches
    #[arg(long, value_name = "REGEX")]
    pub ops: Option<Regex>,
    /// Worker threads [default: all cores]
    #[arg(long, value_name = "N")]
    pub threads: Option<NonZeroUsize>,
    /// Seed of data splits, initial weights and shuffling
    #[arg(long, value_name = "N", default_value_t = 42)]
    pub seed: u64,
    /// Folder for the runs [default: target/sizewise]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Compare with an earlier run; exit 2 if this one is slower beyond the noise
    #[arg(long, value_name = "RUN")]
    pub baseline: Option<PathBuf>,
    /// Measure every kernel twice and print the noise floor
    #[arg(long)]
    pub null: bool,
    /// Device to use where a backend has several: its number or part of its name
    #[arg(long, value_name = "DEVICE")]
    pub device: Option<String>,
}

/// Parses the command line; help and errors are printed here.
pub fn parse() -> Result<Cli, ExitCode> {
    Cli::try_parse().map_err(|error| {
        // Nothing can be done about a closed terminal.
        let _ = error.print();
        if error.use_stderr() { ExitCode::from(USAGE) } else { ExitCode::SUCCESS }
    })
}
