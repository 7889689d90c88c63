//! The commands of sizewise, run as `cargo xtask COMMAND`. One file per command.

mod bench;
mod bindgen;
mod cargo;
mod ci;
mod compare;
mod doctor;
mod forward;
mod import_results;
mod package;
mod programs;
mod test;
mod tidy;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Exit status for a command line that could not be read (`EX_USAGE` of sysexits.h). clap's own 2 would look like the
/// regression that `compare` reports.
const USAGE_ERROR: u8 = 64;

/// Measure which model fits this task on this machine: large or small, in which precision, on which backend.
///
/// Start with `cargo xtask bench`. It needs a Rust toolchain and nothing else.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Bench(bench::Args),
    Bindgen(bindgen::Args),
    Compare(compare::Args),
    Doctor(doctor::Args),
    ImportResults(import_results::Args),
    Package(package::Args),
    Test(test::Args),
    Tidy(tidy::Args),
    /// Run .ci/run: every check, on exactly the dependencies of Cargo.lock
    Ci,
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let status = if error.use_stderr() { ExitCode::from(USAGE_ERROR) } else { ExitCode::SUCCESS };
            // Printing fails only when the reader is gone: then there is nobody left to tell.
            let _ = error.print();
            return status;
        }
    };
    let result = match cli.command {
        Command::Bench(args) => bench::run(&args),
        Command::Bindgen(args) => bindgen::run(&args),
        Command::Compare(args) => compare::run(&args),
        Command::Doctor(args) => doctor::run(&args),
        Command::ImportResults(args) => import_results::run(&args),
        Command::Package(args) => package::run(&args),
        Command::Test(args) => test::all(&args),
        Command::Tidy(args) => tidy::run(&args),
        Command::Ci => ci::run(),
    };
    result.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
