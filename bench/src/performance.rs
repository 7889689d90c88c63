//! `docs/performance.md` and every other text about a run beside the peers.

use std::collections::BTreeMap;

use crate::crossover::pattern_and_zeros;
use crate::figures;
use crate::markdown::{self, or_absent};
use crate::report::{Limits, Machine, PeerCell, PeerRun, Rival, Timing, Verdict};
use crate::table::{Table, inline};

/// The whole of `docs/NAME.md` from `docs/NAME.json`; `performance` is the machine of the goals, other names are other machines'.
pub fn document(run: &PeerRun, name: &str) -> String {
    format!(
        "# Performance\n\n\
         Written by `{}` from `docs/{}.json`, the run that\n\
         `{}` left; a test compares the two. No figure here is typed in.\n\n\
         {}\n{}",
        made_by(name),
        inline(name),
        inline(&run.command),
        METHOD,
        section(run, "##")
    )
}

/// The command that writes it.
fn made_by(name: &str) -> String {
    let name = inline(name);
    let file = if name == "performance" { String::new() } else { format!(" docs/{name}.json") };
    format!("cargo run -p bench -- performance{file} > docs/{name}.md")
}

const METHOD: &str = "Ours and theirs are measured in turns in one process, each warmed up, medians of batches of calls. The ratio is \
     the median over the rounds of the peer's time over ours in the same round, milliseconds apart: above 1 we are faster, and a spell \
     in which the machine is slow falls on both. Its 95 % interval follows; where that reaches further than 10 % the ratio is noisy and \
     stays out of the means. The best peer of each cell has the columns, the others follow. The share of \
     the limit is the roofline time, the larger of operations over measured peak and bytes over measured bandwidth, over the median \
     time, each side against the peak of the arithmetic it uses; it passes 100 % where operands stay in a cache, or where zeros are not computed. \
     Of reading: what plain reading of as many bytes took over our time in the same round, where nothing is read twice. Weights lie `[N, K]`; ours are packed \
     once, as are candle's quantized ones and oneDNN's; the others have no packed form in their interface.\n";

/// Limits, a table for each group of cells, and what was not measured. `level` is the mark of a heading.
pub fn section(run: &PeerRun, level: &str) -> String {
    let origin = origin(run);
    let mut text = format!("{level} Limits of this machine\n\n{origin}\n\n");
    let mut table = Table::new(&["threads", "f32 GFLOP/s", "bf16 GFLOP/s", "int8 GOP/s", "read GB/s", "read on 4 KiB pages"]);
    for (threads, limits) in &run.limits {
        let figure = |value: Option<f64>| or_absent(value, figures::significant);
        table.push([
            threads.to_string(),
            figure(limits.peak_f32_gflop_per_s),
            figure(limits.peak_bf16_gflop_per_s),
            figure(limits.peak_int8_gflop_per_s),
            figure(limits.bandwidth_gb_per_s),
            figure(limits.bandwidth_small_pages_gb_per_s),
        ]);
    }
    text += &table.markdown();
    for (group, cells) in groups(run) {
        text += &format!("\n{level} {}\n\n{origin}\n\n{}", inline(group), rows(&cells));
        let means = means(&cells);
        if !means.is_empty() {
            text += &format!("\nGeometric mean of the ratios to the best peer: {means}.\n");
        }
        text += &break_even(&cells);
    }
    if !run.absent.is_empty() {
        text += &format!("\n{level} Peers not measured\n\n");
        text.extend(run.absent.iter().map(|reason| format!("- {}\n", inline(reason))));
    }
    text
}

/// Machine, commit and command: what stands beside every table.
fn origin(run: &PeerRun) -> String {
    let Machine { cpu, cores, commit, dirty, rustc, .. } = &run.machine;
    let commit = commit.as_deref().unwrap_or("no commit");
    let changes = if *dirty == Some(false) { "" } else { " with changes" };
    let day = run.started_utc.get(..10).unwrap_or(&run.started_utc);
    format!("{}, {cores} cores · commit {commit}{changes} · {day} · {} · `{}`", inline(cpu), inline(rustc), inline(&run.command))
}

/// Groups in the order in which they first occur.
fn groups(run: &PeerRun) -> Vec<(&str, Vec<&PeerCell>)> {
    let mut groups: Vec<(&str, Vec<&PeerCell>)> = Vec::new();
    for cell in &run.cells {
        match groups.iter_mut().find(|(group, _)| *group == cell.group) {
            Some((_, cells)) => cells.push(cell),
            None => groups.push((&cell.group, vec![cell])),
        }
    }
    groups
}

const COLUMNS: [&str; 14] = [
    "shape",
    "dtype",
    "weight",
    "threads",
    "ours",
    "GFLOP/s",
    "GB/s",
    "of limit",
    "of reading",
    "best peer",
    "its time",
    "its share",
    "ratio",
    "others",
];

fn rows(cells: &[&PeerCell]) -> String {
    let mut table = Table::new(&COLUMNS);
    for cell in cells {
        let best = cell.best();
        let theirs = |text: &dyn Fn(&Rival) -> String| best.map_or(String::new(), text);
        table.push([
            markdown::dimensions(&cell.shape),
            cell.dtype.clone(),
            cell.weight.clone(),
            cell.threads.to_string(),
            time(&cell.ours),
            or_absent(cell.ours.gflop_per_s, figures::significant),
            or_absent(cell.ours.gb_per_s, figures::significant),
            or_absent(cell.ours.share_of_limit, figures::percent),
            reading(cell),
            theirs(&|rival| rival.peer.clone()),
            theirs(&|rival| time(&rival.timing)),
            theirs(&|rival| or_absent(rival.timing.share_of_limit, figures::percent)),
            theirs(&|rival| ratio(cell, rival)),
            others(cell),
        ]);
    }
    table.collapsed_markdown()
}

/// The median, or why there is none.
fn time(timing: &Timing) -> String {
    timing.median_ns.map_or_else(|| timing.reason.clone(), figures::time_ns)
}

/// The share of plain reading that a cell reaches, where reading binds.
fn reading(cell: &PeerCell) -> String {
    let Some(reading) = &cell.reading else { return String::new() };
    let text = or_absent(reading.ratio, figures::percent);
    if cell.verdict(reading) == Verdict::Noisy { format!("{text}, noisy") } else { text }
}

/// `1.23× (1.20–1.25)`, marked where it is too noisy to rank.
pub fn ratio(cell: &PeerCell, rival: &Rival) -> String {
    let interval = rival.ratio_low.zip(rival.ratio_high);
    let interval = interval.map(|(low, high)| format!(" ({}–{})", figures::significant(low), figures::significant(high)));
    let text = or_absent(rival.ratio, |ratio| format!("{}×{}", figures::significant(ratio), interval.unwrap_or_default()));
    if cell.verdict(rival) == Verdict::Noisy { format!("{text}, noisy") } else { text }
}

/// Every peer but the best, with its ratio or the reason why it has none.
pub fn others(cell: &PeerCell) -> String {
    let best = cell.best().map(|best| best.peer.as_str());
    let others = cell.rivals.iter().filter(|rival| Some(rival.peer.as_str()) != best);
    let each = others.map(|rival| match rival.ratio {
        Some(_) => format!("{} {}", rival.peer, ratio(cell, rival)),
        None => format!("{}: {}", rival.peer, rival.timing.reason),
    });
    each.collect::<Vec<_>>().join("; ")
}

/// Between which measured shares of zeros a sparse weight becomes faster than the dense one, a line for each pattern, shape and number
/// of threads; nothing is fitted.
fn break_even(cells: &[&PeerCell]) -> String {
    let mut series: BTreeMap<(String, String, u32), BTreeMap<u64, f64>> = BTreeMap::new();
    for cell in cells {
        if let Some((pattern, zeros)) = pattern_and_zeros(&cell.weight)
            && let Some(best) = cell.best()
            && cell.verdict(best) == Verdict::Valid
            && let Some(ratio) = best.ratio
        {
            series.entry((pattern, markdown::dimensions(&cell.shape), cell.threads)).or_default().insert(zeros, ratio);
        }
    }
    let line = |((pattern, shape, threads), ratios): (&(String, String, u32), &BTreeMap<u64, f64>)| {
        let slower = ratios.iter().rev().find(|(_, ratio)| **ratio < 1.0).map(|(zeros, _)| *zeros);
        let faster = ratios.keys().find(|zeros| slower.is_none_or(|slower| **zeros > slower));
        let text = match (slower, faster) {
            (Some(slower), Some(faster)) => format!("from between {slower} and {faster} % zeros on"),
            (None, Some(least)) => format!("at {least} % zeros, the least measured, and more"),
            (Some(most), None) => format!("not even at {most} % zeros"),
            (None, None) => String::from("nowhere measured"),
        };
        format!("- {} {shape} with {threads} {}: {text}\n", inline(pattern), plural(*threads))
    };
    let lines: String = series.iter().map(line).collect();
    if lines.is_empty() { lines } else { format!("\nFaster than dense:\n\n{lines}") }
}

/// `1.12× on 1 thread, 1.08× on 2`, over the cells whose ratio may be ranked.
fn means(cells: &[&PeerCell]) -> String {
    let mut logarithms: BTreeMap<u32, Vec<f64>> = BTreeMap::new();
    for cell in cells {
        if let Some(best) = cell.best()
            && cell.verdict(best) == Verdict::Valid
            && let Some(ratio) = best.ratio
        {
            logarithms.entry(cell.threads).or_default().push(ratio.ln());
        }
    }
    let mean = |(threads, logarithms): (&u32, &Vec<f64>)| {
        let mean = (logarithms.iter().sum::<f64>() / logarithms.len() as f64).exp();
        format!("{}× with {threads} {} ({} cells)", figures::significant(mean), plural(*threads), logarithms.len())
    };
    logarithms.iter().map(mean).collect::<Vec<_>>().join(", ")
}

fn plural(threads: u32) -> &'static str {
    if threads == 1 { "thread" } else { "threads" }
}

/// A line for each group: how we stand against the best peer of each cell.
pub fn summary(run: &PeerRun) -> String {
    let mut text = String::from("Ratio to the best peer of each cell, geometric means (above 1 we are faster):\n");
    for (group, cells) in groups(run) {
        let means = means(&cells);
        let without = if cells.iter().any(|cell| cell.best().is_some()) { "every ratio is too noisy to rank" } else { "no peer" };
        text += &format!("- {group}: {}\n", if means.is_empty() { without } else { &means });
    }
    text.extend(run.absent.iter().map(|reason| format!("- not measured: {reason}\n")));
    text
}

/// The limits with so many threads, in a line.
pub fn limits_line(threads: u32, limits: &Limits) -> String {
    let figure = |value: Option<f64>| or_absent(value, figures::significant);
    format!(
        "limits with {threads} {}: f32 {} GFLOP/s, bf16 {}, int8 {} GOP/s, read {} GB/s, {} on 4 KiB pages",
        plural(threads),
        figure(limits.peak_f32_gflop_per_s),
        figure(limits.peak_bf16_gflop_per_s),
        figure(limits.peak_int8_gflop_per_s),
        figure(limits.bandwidth_gb_per_s),
        figure(limits.bandwidth_small_pages_gb_per_s)
    )
}

/// A cell in a line: ours, then each peer with its share of the limit and its ratio.
pub fn line(cell: &PeerCell) -> String {
    let side = |timing: &Timing| match timing.median_ns {
        Some(_) => format!("{:>8} {:>5}", time(timing), or_absent(timing.share_of_limit, figures::percent)),
        None => time(timing),
    };
    let rate = or_absent(cell.ours.gflop_per_s, figures::significant);
    let mut text = format!("{:<26} {:<17} {:>5} {}", markdown::dimensions(&cell.shape), cell.weight, rate, side(&cell.ours));
    if cell.reading.is_some() {
        text += &format!(" | {} of reading", reading(cell));
    }
    for rival in &cell.rivals {
        text += &format!(" | {} {} {}", rival.peer, side(&rival.timing), ratio(cell, rival));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture;
    use std::path::Path;

    #[test]
    fn every_table_names_machine_commit_and_command() {
        let run = fixture::report().peers.unwrap();
        let text = document(&run, "performance");
        assert_eq!(text.matches(&origin(&run)).count(), 1 + groups(&run).len());
        assert!(
            text.contains("1.25× (1.20–1.30)")
                && text.contains("faer 0.0.0 1.50× (1.40–1.80), noisy")
                && text.contains("OpenBLAS: not installed")
        );
        assert!(text.contains("1.25× with 1 thread (1 cells)"), "noisy ratios stay out of the mean: {text}");
        assert!(summary(&run).contains("int8 × int8: no peer"));
        assert!(line(&run.cells[0]).contains("gemm 0.0.0"));
        assert!(line(&run.cells[1]).contains("90 % of reading"));
        assert!(text.contains("| of reading |"), "{text}");
    }

    #[test]
    fn break_even_lies_between_the_measured_shares() {
        let template = &fixture::report().peers.unwrap().cells[0];
        let cell = |weight: &str, ratio: f64| {
            let mut cell = PeerCell { weight: weight.into(), ..template.clone() };
            cell.rivals.truncate(1);
            let rival = &mut cell.rivals[0];
            (rival.ratio, rival.ratio_low, rival.ratio_high, rival.rounds) = (Some(ratio), Some(ratio), Some(ratio), 5);
            cell
        };
        let cells = [
            cell("csr-80", 2.0),
            cell("csr-50", 0.8),
            cell("csr-65", 0.9),
            cell("block16x1-80", 3.0),
            cell("csr-80-int8", 0.5),
            cell("2:4", 0.9),
        ];
        let text = break_even(&cells.iter().collect::<Vec<_>>());
        let lines: Vec<&str> = text.lines().filter(|line| line.starts_with("- ")).collect();
        let [block, csr, int8] = lines.try_into().expect("a line for each pattern");
        assert!(block.ends_with("at 80 % zeros, the least measured, and more") && block.contains("block16x1"), "{block}");
        assert!(csr.ends_with("from between 65 and 80 % zeros on") && csr.starts_with("- csr m="), "{csr}");
        assert!(int8.ends_with("not even at 80 % zeros"), "{int8}");
        assert_eq!(break_even(&[&cell("dense", 0.5)]), "");
    }

    #[test]
    fn documents_say_what_the_committed_runs_say() {
        let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
        let mut runs = 0;
        for file in std::fs::read_dir(&docs).unwrap().map(|file| file.unwrap().path()) {
            let name = file.file_stem().unwrap().to_str().unwrap().to_owned();
            if !name.starts_with("performance") {
                continue;
            }
            let text = docs.join(&name).with_extension("md");
            let committed = std::fs::read_to_string(&text).expect("a run and its document are committed together");
            let run = PeerRun::read(&docs.join(&name).with_extension("json")).unwrap();
            assert!(committed.lines().eq(document(&run, &name).lines()), "docs/{name}.md is stale: {}", made_by(&name));
            runs += 1;
        }
        assert!(runs >= 2, "no run is committed");
    }
}
