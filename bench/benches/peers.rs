//! Our kernels beside other people's: `cargo bench -p bench --features peers --bench peers -- [FILTER] [OPTIONS]`.
//!
//! Several peers take their number of threads from the environment, once: each number of threads is measured by a process of its
//! own, this program again with `--part`.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use bench::backends::{Choice, cpu_limits, open};
use bench::machine;
use bench::peers::{self, Cell, Sizes};
use bench::performance;
use bench::report::{PEERS_FILE, PeerRun};
use bench::run_dir::utc_stamp;
use clap::Parser;
use regex::Regex;

static STOP: AtomicBool = AtomicBool::new(false);

/// Measures our kernels and those of faer, gemm, matrixmultiply, candle, OpenBLAS and oneDNN in turns, on the same shapes
///
/// Every figure stands beside its share of what this machine was measured to allow in the same run. The result goes to
/// target/sizewise/peers.json, where the next report of the same commit takes it in. For the peers' best, build for this processor:
/// RUSTFLAGS=-Ctarget-cpu=native. oneDNN takes part where SIZEWISE_ONEDNN names its library (pip install onednn: libdnnl.so.3).
#[derive(Parser)]
#[command(name = "peers", bin_name = "cargo bench -p bench --features peers --bench peers --")]
struct Args {
    /// Only cells whose name matches, e.g. 'f32 linear.*m=8,' (names: --list)
    filter: Option<Regex>,
    /// Numbers of threads, each measured in turn
    #[arg(long, value_name = "LIST", value_delimiter = ',', default_value = "1,2", value_parser = clap::value_parser!(u32).range(1..=1024))]
    threads: Vec<u32>,
    /// Fewer shapes
    #[arg(long)]
    quick: bool,
    /// Time for each of ours and theirs on a shape
    #[arg(long, value_name = "S", default_value_t = 0.12)]
    seconds: f64,
    /// Where to leave the run [default: target/sizewise/peers.json]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Print the names of the cells and end
    #[arg(long)]
    list: bool,
    /// Measure in this process, whose environment has been set, and leave the result there
    #[arg(long, hide = true)]
    part: Option<PathBuf>,
    /// What `cargo bench` adds
    #[arg(long = "bench", hide = true)]
    _bench: bool,
}

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

fn main() -> ExitCode {
    let args = Args::parse();
    let outcome = match &args.part {
        Some(part) => measure(&args, part),
        None if args.list => {
            chosen(&args, 1).iter().for_each(|cell| println!("{}", cell.name(1)));
            Ok(())
        }
        None => conduct(&args),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn chosen(args: &Args, threads: u32) -> Vec<Cell> {
    let sizes = if args.quick { Sizes::Quick } else { Sizes::All };
    let wanted = |cell: &Cell| args.filter.as_ref().is_none_or(|filter| filter.is_match(&cell.name(threads)));
    peers::cells(sizes).into_iter().filter(wanted).collect()
}

fn blank(args: &Args, threads: u32) -> PeerRun {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let machine = machine::describe(machine::Setup { threads, seed: 42, ..Default::default() }, &workspace);
    let mut command = "cargo bench -p bench --features peers --bench peers".to_string();
    let given: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    if args.part.is_none() && !given.is_empty() {
        command += &format!(" -- {}", given.join(" "));
    }
    if let Some(flags) = option_env!("RUSTFLAGS").filter(|flags| !flags.is_empty()) {
        command = format!("RUSTFLAGS='{flags}' {command}");
    }
    PeerRun::new(&command, &utc_stamp(time::OffsetDateTime::now_utc()), machine)
}

/// Starts a process for each number of threads and puts their results together.
fn conduct(args: &Args) -> Outcome<()> {
    if chosen(args, 1).is_empty() {
        return Err("no cell matches; --list prints their names".into());
    }
    // Ctrl-C reaches the part under way as well: it ends with what it has, and this process lives to keep it.
    ctrlc::set_handler(|| STOP.store(true, Relaxed))?;
    // `cargo bench` runs in the package's folder.
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut run = blank(args, args.threads.iter().copied().max().unwrap_or(1));
    let folder = std::env::temp_dir().join(format!("sizewise-peers-{}", std::process::id()));
    for threads in &args.threads {
        if STOP.load(Relaxed) {
            break;
        }
        let part = folder.join(format!("{threads}.json"));
        let count = threads.to_string();
        let status = this_program(*threads)?
            .args(std::env::args().skip(1))
            .args(["--threads", &count])
            .arg("--part")
            .arg(&part)
            .envs(
                ["RAYON_NUM_THREADS", "CANDLE_NUM_THREADS", "MATMUL_NUM_THREADS", "OPENBLAS_NUM_THREADS"]
                    .map(|name| (name, &count)),
            )
            // Idle threads of OpenBLAS look for work during 2²⁶ cycles, those of others a few thousand: with this they all sleep
            // before the next party's turn.
            .env("OPENBLAS_THREAD_TIMEOUT", "18")
            .envs(openblas_kernels().map(|kernels| ("OPENBLAS_CORETYPE", kernels)))
            .status()?;
        if !status.success() {
            return Err(format!("measuring with {threads} threads: {status}").into());
        }
        let measured = PeerRun::read(&part)?;
        run.limits.extend(measured.limits);
        run.absent.extend(measured.absent);
        run.cells.extend(measured.cells);
    }
    // The parts are in the run; if they cannot be removed, the system will.
    let _ = std::fs::remove_dir_all(&folder);
    run.absent.sort();
    run.absent.dedup();
    let out = args.out.clone().unwrap_or_else(|| workspace.join(PEERS_FILE));
    run.write(&out)?;
    println!("\n{}", performance::summary(&run));
    println!("{}", out.display());
    Ok(())
}

/// This program. Where oneDNN takes part, which has a thread for each processor that its process may use, it may use no more.
fn this_program(threads: u32) -> Outcome<Command> {
    let program = std::env::current_exe()?;
    let spare = std::thread::available_parallelism().is_ok_and(|processors| processors.get() > threads as usize);
    let processors = format!("0-{}", threads - 1);
    let on_them = |program: &OsStr| {
        let mut pinned = Command::new("taskset");
        pinned.args(["--cpu-list", &processors]).arg(program);
        pinned
    };
    // Without the tool, or where the first processors are not ours to use, everybody but oneDNN is measured all the same.
    let pins = || on_them("true".as_ref()).output().is_ok_and(|output| output.status.success());
    let wanted = std::env::var_os("SIZEWISE_ONEDNN").is_some() && spare;
    Ok(if wanted && pins() { on_them(program.as_os_str()) } else { Command::new(program) })
}

/// The kernels that OpenBLAS should use, unless the user has said: one older than the processor does not know its model and falls
/// back to those of 2004.
fn openblas_kernels() -> Option<&'static str> {
    let unset = std::env::var_os("OPENBLAS_CORETYPE").is_none();
    (unset && has_avx512()).then_some("SkylakeX")
}

#[cfg(target_arch = "x86_64")]
fn has_avx512() -> bool {
    is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw") && is_x86_feature_detected!("avx512vl")
}

#[cfg(not(target_arch = "x86_64"))]
fn has_avx512() -> bool {
    false
}

/// Measures with one number of threads.
fn measure(args: &Args, part: &Path) -> Outcome<()> {
    ctrlc::set_handler(|| STOP.store(true, Relaxed))?;
    let threads = args.threads.last().copied().unwrap_or(1);
    let choice = Choice { threads: Some(threads as usize), device: None };
    let on = open("cpu", &choice)?;
    let limits = cpu_limits(&choice)?;
    let mut run = blank(args, threads);
    println!("{}", performance::limits_line(threads, &limits));
    let cells = chosen(args, threads);
    let mut group = String::new();
    let (measured, absent) = peers::run(on.as_ref(), &cells, &limits, args.seconds, &STOP, &mut |cell| {
        if cell.group != group {
            println!("\n{}, {threads} {}", cell.group, if threads == 1 { "thread" } else { "threads" });
            group.clone_from(&cell.group);
        }
        println!("{}", performance::line(cell));
    });
    for reason in &absent {
        println!("not measured: {reason}");
    }
    run.limits.insert(threads, limits);
    (run.cells, run.absent) = (measured, absent);
    Ok(run.write(part)?)
}
