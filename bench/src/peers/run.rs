//! Measures cells, ours and theirs in turns.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use kernels::Backend;
use kernels_cpu::{Isa, ReadProbe};

use super::{Absent, Cell, Peer};
use crate::cases::{Case, Prepared};
use crate::measure::{Measurement, Settings, Subject, WallClock, measure};
use crate::report::{KernelRow, Limits, PeerCell, READING, Verdict, Work};

/// Who watches: told of each cell as it is done.
pub type Progress<'a> = &'a mut dyn FnMut(&PeerCell);

/// Measures `cells` on `on` beside their peers, about `seconds` for each of the parties to a cell. Ends early, with what it has,
/// once `stop` is raised. Returns the cells and what each absent peer said; whoever fails, we or they, is a row with the reason.
pub fn run(
    on: &(dyn Backend + 'static),
    cells: &[Cell],
    limits: &Limits,
    seconds: f64,
    stop: &AtomicBool,
    progress: Progress<'_>,
) -> (Vec<PeerCell>, Vec<Absent>) {
    let (mut done, mut absent) = (Vec::new(), Vec::new());
    for cell in cells {
        if stop.load(Relaxed) {
            break;
        }
        let measured = run_cell(on, cell, limits, seconds, stop, &mut absent).unwrap_or_else(|error| {
            let mut row = cell.case.row("cpu", on.info().threads as u32);
            (row.verdict, row.reason) = (Verdict::Fail, error.to_string());
            PeerCell::new(cell.group, &row, &[])
        });
        progress(&measured);
        done.push(measured);
    }
    absent.sort();
    absent.dedup();
    (done, absent)
}

/// Somebody's side of a cell.
struct Party<'a> {
    name: String,
    row: KernelRow,
    work: Work,
    call: Box<dyn FnMut() -> Result<(), String> + 'a>,
}

fn run_cell(
    on: &(dyn Backend + 'static),
    cell: &Cell,
    limits: &Limits,
    seconds: f64,
    stop: &AtomicBool,
    absent: &mut Vec<Absent>,
) -> kernels::Result<PeerCell> {
    let threads = on.info().threads;
    let mut parties = vec![our_party(on, cell.case, "cpu")?];
    if let Some(case) = cell.own_rival() {
        parties.push(our_party(on, case, "our dense")?);
    }
    if cell.reads() {
        match reading(cell, parties[0].work, threads) {
            Ok(party) => parties.push(party),
            Err(error) => absent.push(format!("plain reading: {error}")),
        }
    }
    for peer in cell.peers(threads) {
        match peer {
            Ok(Peer { name, call, work }) => {
                let row = cell.case.row(&name, threads as u32);
                let work = work.unwrap_or(parties[0].work);
                parties.push(Party { name, row, work, call });
            }
            Err(reason) => absent.push(reason),
        }
    }
    let (measurements, rounds) = measure_parties(&mut parties, seconds, stop);
    for (party, measurement) in parties.iter_mut().zip(&measurements) {
        party.row.record(measurement, party.work, Some(limits));
    }
    let ours = rounds.get(&parties[0].name);
    let rivals: Vec<_> = parties
        .iter()
        .skip(1)
        .map(|party| {
            let ratios = ours.zip(rounds.get(&party.name)).map_or(Vec::new(), |(ours, theirs)| ratios(theirs, ours));
            (party.name.clone(), party.row.clone(), ratios)
        })
        .collect();
    Ok(PeerCell::new(cell.group, &parties[0].row, &rivals))
}

fn our_party<'a>(on: &'a (dyn Backend + 'static), case: Case, name: &str) -> kernels::Result<Party<'a>> {
    let mut ready: Prepared<'a> = case.prepare(on)?;
    let work = ready.work()?;
    Ok(Party {
        name: name.into(),
        row: case.row("cpu", on.info().threads as u32),
        work,
        call: Box::new(move || ready.call().map_err(|error| error.to_string())),
    })
}

/// Plain reading of as many bytes as the kernel's work has. The sum is no work of its own: it waits for memory.
fn reading(cell: &Cell, work: Work, threads: usize) -> kernels::Result<Party<'static>> {
    let probe = ReadProbe::new(Isa::best(), threads, work.bytes as usize / threads)?;
    let call = move || {
        probe.gb_per_s(1);
        Ok(())
    };
    let row = cell.case.row(READING, threads as u32);
    Ok(Party { name: READING.into(), row, work: Work { flop: 0.0, ..work }, call: Box::new(call) })
}

/// Long enough for everybody's idle threads to fall asleep, given what the benchmark sets in the environment.
fn rest() {
    std::thread::sleep(Duration::from_millis(2));
}

const MIN_SAMPLES: usize = 5;

/// Calls and their time in each round.
#[derive(Clone, Copy, Default)]
struct Visit {
    calls: u64,
    ns: u64,
}

impl Visit {
    fn ns_per_call(self) -> f64 {
        self.ns as f64 / self.calls as f64
    }
}

type Rounds = BTreeMap<u64, Visit>;

/// Their time over ours in each round both took part in. The visits of a round follow one another at once, so that a minute, or a
/// second, in which the machine is slow falls on both.
fn ratios(theirs: &Rounds, ours: &Rounds) -> Vec<f64> {
    let both = theirs.iter().filter_map(|(round, theirs)| Some((theirs, ours.get(round)?)));
    both.map(|(theirs, ours)| theirs.ns_per_call() / ours.ns_per_call()).collect()
}

/// Measures all parties in turns: what was measured of each, and by name what each round took.
fn measure_parties(parties: &mut [Party<'_>], seconds: f64, stop: &AtomicBool) -> (Vec<Measurement>, BTreeMap<String, Rounds>) {
    let mut subjects: Vec<Subject<'_>> = parties
        .iter_mut()
        .map(|party| Subject { id: party.name.clone(), call: Box::new(move || (party.call)()), wait: None })
        .collect();
    // A first call each: it touches fresh memory, and tells how long the rounds of a slow cell must be. The loop stops at twice
    // its budget, and every visit has an untimed call.
    let start = Instant::now();
    for subject in &mut subjects {
        // What fails here fails again in the loop, which keeps the reason.
        let _ = (subject.call)();
    }
    let enough = start.elapsed().as_secs_f64() * MIN_SAMPLES as f64;
    let budget_s = (seconds * subjects.len() as f64).max(enough);
    let settings = Settings {
        warmup_ns: 50_000_000,
        min_samples: MIN_SAMPLES,
        max_samples: 240,
        min_sample_ns: 500_000,
        visit_ns: 2_000_000,
        rest: Some(rest),
        ..Settings::quick((budget_s * 1e9) as u64, 42)
    };
    let mut rounds: BTreeMap<String, Rounds> = BTreeMap::new();
    let measurements = measure(&mut subjects, &settings, &WallClock::start(), stop, &mut |sample| {
        let visit = rounds.entry(sample.id.into()).or_default().entry(sample.round).or_default();
        visit.calls += sample.calls;
        visit.ns += sample.ns;
    });
    (measurements, rounds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_are_of_the_same_round() {
        let rounds =
            |of: &[(u64, u64, u64)]| of.iter().map(|&(round, calls, ns)| (round, Visit { calls, ns })).collect::<Rounds>();
        // Twice as slow from round 1 on, for both.
        let (theirs, ours) = (rounds(&[(0, 2, 30), (1, 2, 60), (3, 1, 9)]), rounds(&[(0, 10, 100), (1, 5, 100), (2, 1, 1)]));
        assert_eq!(ratios(&theirs, &ours), [1.5, 1.5]);
    }
}
