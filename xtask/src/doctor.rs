//! `cargo xtask doctor`: which backends work here.

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::Result;

use crate::forward::{self, Backend};

/// Say for every backend whether it is usable here, or why not and what to do, and self-test its device
#[derive(clap::Args)]
pub struct Args {
    /// Backends to look at; all of them are compiled in for it
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_value = "cpu,wgpu,cuda")]
    backend: Vec<Backend>,

    /// First measure which kernels are fastest on each device, and keep that for later runs (wgpu: a minute or two)
    #[arg(long)]
    tune: bool,

    /// Device to look at where a backend has several: its number or part of its name
    #[arg(long, value_name = "NAME")]
    device: Option<String>,
}

/// Builds the program with the backends asked for and lets it look.
pub fn run(args: &Args) -> Result<ExitCode> {
    forward::run(&args.backend, argv(args))
}

fn argv(args: &Args) -> Vec<OsString> {
    let mut argv = vec!["doctor".into(), "--backend".into(), forward::comma_list(&args.backend).into()];
    argv.extend(args.tune.then(|| "--tune".into()));
    if let Some(device) = &args.device {
        argv.extend(["--device".into(), device.into()]);
    }
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

    #[test]
    fn what_the_caller_gave_is_forwarded() {
        let line = Line::parse_from("doctor --backend wgpu --tune --device llvmpipe".split(' '));
        assert_eq!(argv(&line.args), ["doctor", "--backend", "wgpu", "--tune", "--device", "llvmpipe"]);
        assert_eq!(argv(&Line::parse_from(["doctor"]).args), ["doctor", "--backend", "cpu,wgpu,cuda"]);
    }
}
