//! Runs steps one after another, goes on after a failure, and closes with a list of all of them.

use std::io::{BufRead, BufReader, Read};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::counts::{Counts, Runner};

/// What has run so far.
pub struct Steps {
    started: Instant,
    rows: Vec<Row>,
}

struct Row {
    name: String,
    took: Duration,
    counts: Counts,
    outcome: Outcome,
}

enum Outcome {
    Passed,
    Failed(String),
    Skipped(String),
}

/// Whether a step passed, for steps that need it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Passed,
    Failed,
}

impl Steps {
    /// Nothing has run yet; the clock starts.
    pub fn start() -> Self {
        Self { started: Instant::now(), rows: Vec::new() }
    }

    /// Runs `work`, which adds the tests it sees to the counts. A step without tests counts as one check itself.
    pub fn step(&mut self, name: impl Into<String>, work: impl FnOnce(&mut Counts) -> Result<()>) -> Verdict {
        let name = name.into();
        println!("\n==> {name}");
        let started = Instant::now();
        let mut counts = Counts::default();
        let result = work(&mut counts);
        let (outcome, verdict) = match result {
            Ok(()) => {
                counts.passed = counts.passed.max(1);
                (Outcome::Passed, Verdict::Passed)
            }
            Err(error) => {
                println!("{name} failed: {error:#}");
                counts.failed = counts.failed.max(1);
                (Outcome::Failed(format!("{error:#}")), Verdict::Failed)
            }
        };
        self.rows.push(Row { name, took: started.elapsed(), counts, outcome });
        verdict
    }

    /// Lists a step that does not run, with the reason.
    pub fn skip(&mut self, name: impl Into<String>, why: impl Into<String>) {
        let counts = Counts { ignored: 1, ..Counts::default() };
        let outcome = Outcome::Skipped(why.into());
        self.rows.push(Row { name: name.into(), took: Duration::ZERO, counts, outcome });
    }

    /// All tests seen so far.
    pub fn counts(&self) -> Counts {
        self.rows.iter().fold(Counts::default(), |mut sum, row| {
            sum += row.counts;
            sum
        })
    }

    /// Prints the list and a closing line in libtest's form; tests and checks are summed over all steps.
    pub fn close(self) -> ExitCode {
        println!("\nsteps:");
        for row in &self.rows {
            let (word, why) = match &row.outcome {
                Outcome::Passed => ("ok", ""),
                Outcome::Failed(why) => ("FAILED", why.as_str()),
                Outcome::Skipped(why) => ("skipped", why.as_str()),
            };
            let tests = row.counts.passed + row.counts.failed;
            let line = format!("{word:>8} {:>7.1} s {tests:>6}  {}  {why}", row.took.as_secs_f64(), row.name);
            println!("{}", line.trim_end());
        }
        let sum = self.counts();
        let failed = self.rows.iter().any(|row| matches!(row.outcome, Outcome::Failed(_)));
        println!(
            "\ntest result: {}. {} passed; {} failed; {} ignored; 0 measured; 0 filtered out; finished in {:.2}s",
            if failed { "FAILED" } else { "ok" },
            sum.passed,
            sum.failed,
            sum.ignored,
            self.started.elapsed().as_secs_f64()
        );
        if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
    }
}

/// Runs `command` to its end; anything but success is an error.
pub fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("cannot start {}", shown(command)))?;
    if !status.success() {
        bail!("{}: {status}", shown(command));
    }
    Ok(())
}

/// Like [`run`], passing its output on and adding the tests that its runner's closing lines tell of.
pub fn run_tests(command: &mut Command, runner: Runner, counts: &mut Counts) -> Result<()> {
    let start = format!("cannot start {}", shown(command));
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().context(start)?;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let seen = std::thread::scope(|scope| {
        let from_stderr = scope.spawn(|| pass_on(stderr, runner, |line| eprint!("{line}")));
        let from_stdout = pass_on(stdout, runner, |line| print!("{line}"));
        [from_stdout, from_stderr.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))]
    });
    let status = child.wait()?;
    for part in seen {
        *counts += part.context("cannot read the output")?;
    }
    if !status.success() {
        bail!("{}: {status}", shown(command));
    }
    Ok(())
}

fn pass_on(from: Option<impl Read>, runner: Runner, show: impl Fn(&str)) -> std::io::Result<Counts> {
    let mut counts = Counts::default();
    let Some(from) = from else { return Ok(counts) };
    let mut from = BufReader::new(from);
    let mut bytes = Vec::new();
    while from.read_until(b'\n', &mut bytes)? > 0 {
        let line = String::from_utf8_lossy(&bytes);
        show(&line);
        counts += Counts::from_line(&line, runner).unwrap_or_default();
        bytes.clear();
    }
    Ok(counts)
}

/// The command as one would type it.
fn shown(command: &Command) -> String {
    let program = command.get_program().to_string_lossy();
    let name = program.rsplit('/').next().unwrap_or_default().to_owned();
    command.get_args().fold(name, |line, arg| line + " " + &arg.to_string_lossy())
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn tests_are_counted_on_both_streams_and_the_status_is_kept() {
        let mut counts = Counts::default();
        let line = "test result: ok. 2 passed; 0 failed; 1 ignored";
        run_tests(&mut shell(&format!("echo '{line}'; echo '{line}' >&2")), Runner::Libtest, &mut counts).unwrap();
        assert_eq!(counts, Counts { passed: 4, failed: 0, ignored: 2 });
        assert!(run_tests(&mut shell("exit 3"), Runner::Libtest, &mut counts).is_err());
    }

    #[test]
    fn one_failed_step_fails_the_run_and_the_rest_still_runs() {
        let mut steps = Steps::start();
        assert_eq!(steps.step("a", |_| bail!("planted")), Verdict::Failed);
        assert_eq!(steps.step("b", |_| Ok(())), Verdict::Passed);
        steps.skip("c", "--quick");
        assert_eq!(steps.counts(), Counts { passed: 1, failed: 1, ignored: 1 });
        assert_eq!(format!("{:?}", steps.close()), format!("{:?}", ExitCode::FAILURE));
    }
}
