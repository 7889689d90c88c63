//! `doctor`: which backends work on this machine, and whether they compute right.

use crate::backends::{self, Choice, OpenError, test_again};
use crate::check::self_test;
use crate::kernels::Opened;
use kernels::Error;
use kernels::conformance::Outcome;
use std::process::ExitCode;
use std::time::Instant;

/// Measures what backends choose by measurement, and prints what they tell of it. Fails if one has choices to make and they are not
/// kept.
pub fn tune(names: &[String], choice: &Choice) -> ExitCode {
    let mut failed = false;
    for name in names {
        let start = Instant::now();
        match backends::tune(name, choice, &mut |told| println!("{name}: {told}")) {
            Ok(true) => println!("{name}: kept for later runs, after {:.0} s\n", start.elapsed().as_secs_f64()),
            Ok(false) => println!("{name}: chooses nothing by measurement\n"),
            Err(error) => {
                failed = true;
                let refused = matches!(error, OpenError::Backend(Error::Quarantined { .. }));
                let kept = if refused { "kept for later runs, which refuse an op" } else { "no choice is kept" };
                println!("{name}: {kept}\n  {error}\n");
            }
        }
    }
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// Prints what each backend says of itself and the result of a short self-test of its device. Fails if a usable device computes
/// wrong, if no backend is usable, or if `device` was asked for and none has it.
pub fn run(opened: &[Opened], device: Option<&str>) -> ExitCode {
    let (mut usable, mut wrong) = (0, 0);
    for Opened { name, backend } in opened {
        let on = match backend {
            Ok(on) => on,
            Err(error) => {
                println!("{name}: not usable here\n  {error}\n");
                continue;
            }
        };
        usable += 1;
        let info = on.info();
        let kind = if info.software { "software, its speed says nothing of a GPU" } else { "hardware" };
        println!("{name}: {}", info.name);
        println!("  {kind}; features {}; driver {}", or_none(&info.features), or_none(&info.driver));
        let units =
            if info.threads == 0 { "number of units unknown".into() } else { format!("{} threads or units", info.threads) };
        println!("  {units}; {}", memory(info.memory_bytes));
        let start = Instant::now();
        if let Err(error) = test_again(on.as_ref()) {
            wrong += 1;
            println!("  WRONG: {error}\n");
            continue;
        }
        let report = self_test(on.as_ref());
        let (mut passed, mut unsupported) = (0, 0);
        for row in &report.rows {
            match &row.outcome {
                Outcome::Passed(_) => passed += 1,
                Outcome::Unsupported => unsupported += 1,
                Outcome::Failed(what) => {
                    wrong += 1;
                    println!("  WRONG {}/{}: do not trust this device with it\n    {what}", row.op, row.group);
                }
            }
        }
        let budget = report.error_budget_used().into_iter().max_by(|a, b| a.2.total_cmp(&b.2));
        let budget = budget.map_or(String::new(), |(op, dtype, used)| {
            format!("; largest share of the error budget {:.0} % ({op}, {dtype})", 100.0 * used)
        });
        println!(
            "  self-test: {passed} groups of ops right, {unsupported} not supported{budget}, {:.1} s\n",
            start.elapsed().as_secs_f64()
        );
    }
    let had = opened.iter().any(|of| backends::has_devices(&of.name) && of.backend.is_ok());
    let lacking = device.filter(|_| !had);
    if let Some(device) = lacking {
        println!("no backend has a device `{device}` that can be used here\n");
    }
    if usable == 0 || wrong > 0 || lacking.is_some() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn or_none(text: &str) -> &str {
    if text.is_empty() { "none named" } else { text }
}

fn memory(bytes: u64) -> String {
    if bytes == 0 { "memory unknown".into() } else { format!("{:.1} GiB of memory", bytes as f64 / (1u64 << 30) as f64) }
}
