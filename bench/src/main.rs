//! `sizewise-bench`: the program behind `cargo xtask bench`, `compare` and `doctor`.

mod cli;

use bench::kernels::{Null, Opened};
use bench::progress::Progress;
use bench::report::{PeerRun, Report};
use bench::run::{Depth, Run};
use bench::run_dir::{RunDir, utc_stamp};
use bench::{backends, compare, criterion_import, doctor, kernels, machine, models, ops_table, performance, terminal};
use cli::{Bench, Command, What};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Exit status of a run that Ctrl-C ended, as shells have it: 128 and the number of SIGINT.
const INTERRUPTED: u8 = 130;

/// Raised by Ctrl-C; a second one ends the program at once.
static STOP: AtomicBool = AtomicBool::new(false);

type Outcome = Result<ExitCode, Box<dyn std::error::Error>>;

fn main() -> ExitCode {
    let cli = match cli::parse() {
        Ok(cli) => cli,
        Err(code) => return code,
    };
    let outcome = match cli.command {
        Some(Command::Compare { before, after }) => compare_runs(&before, &after),
        Some(Command::Doctor { backend, tune, device }) => {
            let choice = backends::Choice { device, ..backends::Choice::default() };
            let tuned = if tune { doctor::tune(&backend, &choice) } else { ExitCode::SUCCESS };
            let looked = doctor::run(&open_all(&backend, &choice), backends::device_asked_for(&backend, &choice).as_deref());
            Ok(if tuned == ExitCode::SUCCESS { looked } else { tuned })
        }
        Some(Command::Ops { backend }) => print_ops(&backend),
        Some(Command::Performance { run }) => print_performance(&run),
        Some(Command::Kernels(args)) => measure(What::Kernels, args),
        Some(Command::Models(args)) => measure(What::Models, args),
        None => measure(What::Both, cli.bench),
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("error: {error}");
        ExitCode::FAILURE
    })
}

fn open_all(names: &[String], choice: &backends::Choice) -> Vec<Opened> {
    names.iter().map(|name| Opened { name: name.clone(), backend: backends::open(name, choice) }).collect()
}

fn measure(what: What, args: Bench) -> Outcome {
    let choice = backends::Choice { threads: args.threads.map(usize::from), device: args.device.clone() };
    let opened = open_all(&args.backend, &choice);
    let mut usable = false;
    for Opened { name, backend } in &opened {
        match backend {
            Ok(_) => usable = true,
            Err(error) => eprintln!("{name}: {error}"),
        }
    }
    if !usable {
        return Err("none of the backends asked for can be used here".into());
    }
    let baseline = args.baseline.as_deref().map(Report::read).transpose()?;
    let tasks = match what {
        What::Kernels => Vec::new(),
        What::Models | What::Both => models::load_tasks(&args.task, args.label.as_deref(), args.seed)?,
    };
    let depth = if args.full { Depth::Full } else { Depth::Quick };
    if let (Some(filter), true) = (&args.ops, what != What::Models) {
        kernels::check_filter(depth, filter)?;
    }
    if let (Some(filter), true) = (&args.models, what != What::Kernels) {
        models::check_filter(&opened, &tasks, depth, filter)?;
    }
    ctrlc::set_handler(|| {
        if STOP.swap(true, Ordering::Relaxed) {
            std::process::exit(INTERRUPTED.into());
        }
        eprintln!("\nstopping: what was measured is kept (press Ctrl-C again to quit at once)");
    })?;

    let mut run = start(&args, &opened, depth, what)?;
    run.save()?;
    if what != What::Models {
        measure_limits(&mut run, &opened, &choice);
        let null = if args.null { Null::Twice } else { Null::No };
        kernels::run(&mut run, &opened, args.ops.as_ref(), null)?;
        run.report.kernels.extend(criterion_import::rows(&run.report.machine));
        run.report.peers = PeerRun::of_this_commit(&run.report.machine);
    }
    if what != What::Kernels && !run.stopped() {
        models::run(&mut run, &opened, &tasks, args.models.as_ref())?;
    }
    run.report.interrupted = run.stopped();
    run.save()?;
    run.progress.finish();
    println!("{}", terminal::summary(&run.report, run.dir().path()));
    match baseline {
        _ if run.stopped() => Ok(ExitCode::from(INTERRUPTED)),
        Some(before) => show(&before, &run.report),
        None => Ok(ExitCode::SUCCESS),
    }
}

/// What the CPU can do at most, beside what the kernels reach. Limits of GPUs are not measured yet: their rows have no share.
fn measure_limits(run: &mut Run, opened: &[Opened], choice: &backends::Choice) {
    if !opened.iter().any(|opened| opened.name == "cpu" && opened.backend.is_ok()) {
        return;
    }
    run.progress.step("kernels: measuring the limits of this machine");
    match backends::cpu_limits(choice) {
        Ok(limits) => {
            run.report.limits.insert("cpu".into(), limits);
        }
        Err(error) => run.progress.note(&format!("limits of the CPU: {error}")),
    }
}

fn start(args: &Bench, opened: &[Opened], depth: Depth, what: What) -> Result<Run, Box<dyn std::error::Error>> {
    let infos = || opened.iter().filter_map(|opened| opened.backend.as_ref().ok());
    let gpu = infos().find(|on| on.name() != "cpu").map(|on| on.info());
    let cpu_threads = infos().find(|on| on.name() == "cpu").map_or(0, |on| on.info().threads as u32);
    let setup = machine::Setup {
        gpu: gpu.map(|info| if info.software { format!("{} (software)", info.name) } else { info.name.clone() }),
        driver: gpu.map(|info| info.driver.clone()).filter(|driver| !driver.is_empty()),
        seed: args.seed,
        threads: cpu_threads,
    };
    let machine = machine::describe(setup, Path::new("."));
    let root = args.out.clone().unwrap_or_else(|| PathBuf::from("target/sizewise"));
    let now = time::OffsetDateTime::now_utc();
    let dir = RunDir::create(&root, now, machine.commit.as_deref())?;
    let command: Vec<String> = std::env::args().skip(1).collect();
    let report = Report::new(format!("cargo xtask bench {}", command.join(" ")).trim(), &utc_stamp(now), machine);
    let seconds = match (what, depth) {
        (What::Kernels, Depth::Quick) => 30,
        (_, Depth::Quick) => 150,
        (What::Kernels, Depth::Full) => 150,
        (_, Depth::Full) => 1500,
    };
    // A processor that stands for a GPU takes many times as long, by how many depends on its driver.
    let slow = infos().any(|on| on.name() != "cpu" && on.info().software);
    let expected = (!slow).then(|| Duration::from_secs(seconds));
    Ok(Run::new(report, depth, args.seed, Progress::start(expected), dir, &STOP))
}

fn compare_runs(before: &Path, after: &Path) -> Outcome {
    show(&Report::read(before)?, &Report::read(after)?)
}

fn show(before: &Report, after: &Report) -> Outcome {
    let comparison = compare::compare(before, after);
    println!("{}", comparison.text());
    if comparison.matched == 0 {
        return Err("the two runs have no row in common: nothing was compared".into());
    }
    Ok(ExitCode::from(comparison.outcome().exit_code()))
}

fn print_ops(names: &[String]) -> Outcome {
    let tables: Result<Vec<_>, _> = names.iter().map(|name| Ok((name.as_str(), backends::support_table(name)?))).collect();
    print!("{}", ops_table::markdown(&tables.map_err(|error: backends::OpenError| error.to_string())?));
    Ok(ExitCode::SUCCESS)
}

fn print_performance(run: &Path) -> Outcome {
    let name = run.file_stem().unwrap_or_default().to_string_lossy();
    print!("{}", performance::document(&PeerRun::read(run)?, &name));
    Ok(ExitCode::SUCCESS)
}
