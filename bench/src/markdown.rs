//! `report.md`, and the tables that the terminal summary shares with it.

use std::collections::BTreeMap;

use crate::figures::{self, ABSENT};
use crate::performance;
use crate::report::{Finding, KernelRow, ModelRow, Report, Task, Verdict, shown_backend};
use crate::table::{Table, inline};

/// The whole report as markdown.
pub fn report(report: &Report) -> String {
    let mut text = String::from("# sizewise report\n\n");
    if report.interrupted {
        text += "**Interrupted:** the run ended early; what was measured until then stands.\n\n";
    }
    text += &format!("```text\n{}```\n", machine_lines(report));
    text += "\n## Advice\n\n";
    text += &findings(&report.advice);
    if !report.crossovers.is_empty() {
        text += "\n## Crossovers\n\n";
        text += &findings(&report.crossovers);
    }
    for task in &report.tasks {
        text += &format!("\n## Task {}\n\n{}\n\n", inline(&task.name), task_line(task));
        text += &models(report, task, Detail::Full);
    }
    if !report.kernels.is_empty() {
        text += "\n## Kernels\n\n";
        text += &kernels(&report.kernels, Detail::Full);
    }
    if let Some(run) = &report.peers {
        text += "\n## Beside other libraries\n\n";
        text += &performance::section(run, "###");
    }
    let reasons = reasons(report);
    if !reasons.is_empty() {
        text += "\n## Rows that are not VALID\n\n";
        text += &reasons;
    }
    text += "\n## Method and data\n\n";
    for paragraph in METHOD {
        text += &format!("- {paragraph}\n");
    }
    for task in report.tasks.iter().filter(|task| !task.attribution.is_empty()) {
        text += &format!("- {}: {}. {}.\n", inline(&task.name), inline(&task.source), inline(&task.attribution));
    }
    text
}

/// How the figures were made, for the method section of every report.
pub const METHOD: [&str; 7] = [
    "Samples are interleaved: every round visits all rows of a set in a seeded random order, then in its reverse. Each row is warmed up until its times settle. Calls shorter than 200 µs are timed in batches, so their percentiles are those of batch means.",
    "NOISY: too few samples, or a 95 % interval of the median wider than ±5 %, or a drift of more than 10 % while measuring (rank test, p < 0.01). SKIP: not run, with the reason. FAIL: should have run and did not. Backends marked (software) emulate a GPU on the CPU: their speed says nothing of a GPU, and they are not ranked.",
    "Quality is measured on the held-out split. Intervals are 95 %: Wilson score for accuracy, bootstrap over held-out windows for bits per byte.",
    "Only VALID rows are ranked, and overlapping intervals count as ties: of times the 95 % interval of the median, by order statistics. A Pareto front holds the rows to choose from: every other row has one on the front that is at least as good on both axes and clearly better on one.",
    "Limits are measured on this machine in this run. The share of the limit is the roofline time, the larger of operations over peak rate and bytes over bandwidth, divided by the median time. Bytes are counted as if each operand came from memory once, so operands that stay in a cache take a row beyond 100 %; rates of sparse weights count the multiplications by zero that are left out.",
    "Error: the largest error over its derived bound among a few generated cases of the op and dtype, computed on this backend in this run and compared with f64; not of the row's own shape. Process peak: resident memory of the whole process while the model predicted, the models before it included. Training time of a model made from another is its own, plus that of the model it was made from.",
    "A figure without a counter or a measurement is a dash. p99 needs 100 samples. Nothing is estimated and shown as measured. Raw samples are in samples.jsonl beside this file.",
];

/// Machine and settings, three lines of plain text.
pub fn machine_lines(report: &Report) -> String {
    let machine = &report.machine;
    let memory = machine.memory_bytes.map_or(ABSENT.to_string(), figures::bytes);
    let commit = match (&machine.commit, machine.dirty) {
        (Some(commit), Some(true)) => format!("{commit} with uncommitted changes"),
        (Some(commit), _) => commit.clone(),
        (None, _) => "no commit".into(),
    };
    let gpu = match (&machine.gpu, &machine.driver) {
        (Some(gpu), Some(driver)) => format!("{gpu} (driver {driver})"),
        (Some(gpu), None) => gpu.clone(),
        (None, _) => "no GPU".into(),
    };
    let floor = match report.noise_floor {
        Some(floor) => format!("noise floor ±{} ({} pairs)", figures::percent(floor.share), floor.pairs),
        None => "noise floor not measured (--null)".into(),
    };
    let lines = [
        format!(
            "machine  {}, {} cores ({}) · {memory} · {gpu} · {}",
            machine.cpu,
            machine.cores,
            machine.isa.join(" "),
            machine.os
        ),
        format!("build    commit {commit} · {} · {} threads · seed {}", machine.rustc, machine.threads, machine.seed),
        format!("run      {} · {} · {:.0} s · {floor}", report.command, report.started_utc, report.wall_s),
    ];
    // A label with a line break must not start a line of its own, or end the code block.
    let flat = |line: &String| line.replace(|c: char| c.is_control() || c == '`', " ") + "\n";
    lines.iter().map(flat).collect()
}

/// `, 10 classes, the commonest 10 % of the held-out side`, if it has classes.
pub fn classes(task: &Task) -> String {
    let Some(classes) = task.classes else {
        return String::new();
    };
    let share = task.majority.map(|share| format!(", the commonest {} of the held-out side", figures::percent(share)));
    format!(", {classes} classes{}", share.unwrap_or_default())
}

fn task_line(task: &Task) -> String {
    let classes = classes(task);
    format!(
        "{} training and {} held-out {}{classes}; digest {}",
        figures::grouped(task.train),
        figures::grouped(task.test),
        match task.kind.unit() {
            "token" => "bytes".into(),
            unit => format!("{unit}s"),
        },
        inline(&task.digest)
    )
}

fn findings(findings: &[Finding]) -> String {
    if findings.is_empty() {
        return "Nothing to say yet: no task has been measured.\n".into();
    }
    findings.iter().map(|finding| format!("- {}\n", inline(&finding.text))).collect()
}

/// Which columns and rows of the model table to show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// The main rows and what decides.
    Brief,
    /// Everything.
    Full,
}

/// The models of a task, best quality first, rows without one last.
pub fn models(report: &Report, task: &Task, detail: Detail) -> String {
    let rows = report.models.iter().filter(|row| row.task == task.name);
    let mut rows: Vec<&ModelRow> = rows.filter(|row| detail == Detail::Full || row.is_main()).collect();
    if rows.is_empty() {
        return "No model rows.\n".into();
    }
    let key = |row: &ModelRow| row.quality.map_or(f64::NEG_INFINITY, |quality| quality.upward());
    rows.sort_by(|a, b| key(b).total_cmp(&key(a)));
    let metric = rows.iter().find_map(|row| row.quality).map(|quality| quality.metric);
    let quality = metric.map_or("quality".to_string(), |metric| {
        format!("{} {} (95 %)", metric.label(), if metric.higher_is_better() { "↑" } else { "↓" })
    });
    let rate = format!("{}s/s", task.kind.unit());
    let brief = ["model", "family", "backend", &quality, "p50", &rate, "size", "pareto", "verdict"];
    let full = ["p99", "params", "nonzero", "process peak", "train", "J/million", "cost/million"];
    let columns = brief.iter().chain(if detail == Detail::Full { full.iter() } else { [].iter() });
    let mut table = Table::new(&columns.copied().collect::<Vec<_>>());
    for row in rows {
        let ns = |ms: f64| figures::time_ns(ms * 1e6);
        let latency = row.latency_ms.as_ref();
        let cells = [
            row.label(),
            row.family.as_str().into(),
            shown_backend(&row.backend, row.software),
            or_absent(row.quality.as_ref(), figures::quality),
            or_absent(latency, |latency| ns(latency.p50)),
            or_absent(row.rows_or_tokens_per_s, figures::count),
            or_absent(row.file_bytes, figures::bytes),
            pareto(row).into(),
            row.verdict.as_str().into(),
            or_absent(latency.and_then(|latency| latency.p99), ns),
            or_absent(row.params, |params| figures::count(params as f64)),
            or_absent(row.nonzero_params, |params| figures::count(params as f64)),
            or_absent(row.peak_memory_bytes, figures::bytes),
            training(report, row),
            or_absent(row.energy_j, |joules| figures::significant(joules * 1e6)),
            or_absent(row.cost_per_million, figures::significant),
        ];
        table.push(cells);
    }
    table.collapsed_markdown()
}

/// Time of training: `718 ms + 20.1 s` for a model made from one that took 20.1 s.
pub fn training(report: &Report, row: &ModelRow) -> String {
    let own = or_absent(row.train_s, |seconds| figures::time_ns(seconds * 1e9));
    let parent = report.models.iter().find(|other| row.made_from.as_ref() == Some(&other.id));
    match parent.and_then(|parent| parent.train_s) {
        Some(seconds) => format!("{own} + {}", figures::time_ns(seconds * 1e9)),
        None => own,
    }
}

/// `latency, size` for the fronts a row is on.
pub fn pareto(row: &ModelRow) -> &'static str {
    match (row.pareto.latency, row.pareto.bytes) {
        (true, true) => "latency, size",
        (true, false) => "latency",
        (false, true) => "size",
        (false, false) => "",
    }
}

/// The figure as text, or a dash.
pub fn or_absent<T>(value: Option<T>, text: impl FnOnce(T) -> String) -> String {
    value.map_or(ABSENT.into(), text)
}

/// Names of dimensions in the order people say them.
const DIMENSIONS: [&str; 10] = ["batch", "heads", "kv_heads", "seq_q", "seq_k", "head_dim", "rows", "m", "n", "k"];

/// `m=512 n=512 k=512`.
pub fn shape(row: &KernelRow) -> String {
    dimensions(&row.shape)
}

/// The same of dimensions alone.
pub fn dimensions(shape: &BTreeMap<String, u64>) -> String {
    let rank = |name: &str| DIMENSIONS.iter().position(|known| *known == name).unwrap_or(DIMENSIONS.len());
    let mut dimensions: Vec<_> = shape.iter().collect();
    dimensions.sort_by_key(|(name, _)| rank(name));
    let dimensions: Vec<String> = dimensions.iter().map(|(name, size)| format!("{name}={size}")).collect();
    dimensions.join(" ")
}

/// The kernel rows in the order measured.
pub fn kernels(rows: &[KernelRow], detail: Detail) -> String {
    let brief = ["op", "shape", "dtype", "weight", "backend", "median", "GFLOP/s", "of limit", "error/bound", "verdict"];
    let full = ["p10", "p90", "GB/s", "threads", "samples"];
    let columns = brief.iter().chain(if detail == Detail::Full { full.iter() } else { [].iter() });
    let mut table = Table::new(&columns.copied().collect::<Vec<_>>());
    for row in rows {
        table.push([
            row.op.clone(),
            shape(row),
            row.dtype.clone(),
            row.weight.clone(),
            shown_backend(&row.backend, row.software),
            or_absent(row.median_ns, figures::time_ns),
            or_absent(row.gflop_per_s, figures::significant),
            or_absent(row.share_of_limit, figures::percent),
            or_absent(row.error_budget_used, figures::percent),
            row.verdict.as_str().into(),
            or_absent(row.p10_ns, figures::time_ns),
            or_absent(row.p90_ns, figures::time_ns),
            or_absent(row.gb_per_s, figures::significant),
            row.threads.to_string(),
            row.samples.to_string(),
        ]);
    }
    table.collapsed_markdown()
}

/// Every row that is not VALID, with its reason; rows with the same reason share a line.
pub fn reasons(report: &Report) -> String {
    grouped_reasons(report)
        .into_iter()
        .map(|group| {
            let ids: Vec<String> = group.ids.iter().map(|id| inline(id)).collect();
            format!("- {} · {} · {}\n", group.verdict.as_str(), inline(group.reason), ids.join(", "))
        })
        .collect()
}

/// Rows that are not VALID for the same reason.
#[derive(Debug)]
pub struct ReasonGroup<'a> {
    /// Their verdict.
    pub verdict: Verdict,
    /// Their reason.
    pub reason: &'a str,
    /// Their ids.
    pub ids: Vec<&'a str>,
}

/// Rows that are not VALID by verdict, worst first, and reason.
pub fn grouped_reasons(report: &Report) -> Vec<ReasonGroup<'_>> {
    let kernels = report.kernels.iter().map(|row| (row.verdict, row.reason.as_str(), row.id.as_str()));
    let models = report.models.iter().map(|row| (row.verdict, row.reason.as_str(), row.id.as_str()));
    let mut groups: Vec<ReasonGroup<'_>> = Vec::new();
    for (verdict, reason, id) in kernels.chain(models).filter(|row| row.0 != Verdict::Valid) {
        match groups.iter_mut().find(|group| group.verdict == verdict && group.reason == reason) {
            Some(group) => group.ids.push(id),
            None => groups.push(ReasonGroup { verdict, reason, ids: vec![id] }),
        }
    }
    groups.sort_by_key(|group| std::cmp::Reverse(group.verdict));
    groups
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{fixture, recommend};

    #[test]
    fn the_report_names_every_task_row_and_reason() {
        let mut run = fixture::report();
        recommend::conclude(&mut run);
        let text = report(&run);
        for task in &run.tasks {
            assert!(text.contains(&format!("## Task {}", task.name)) && text.contains(&task.attribution));
        }
        for row in run.models.iter().filter(|row| row.verdict != Verdict::Valid) {
            assert!(text.contains(&row.id) && text.contains(&inline(&row.reason)), "{}", row.id);
        }
        assert!(!text.contains("Interrupted"));
        run.interrupted = true;
        assert!(report(&run).contains("**Interrupted:**"));
    }

    #[test]
    fn hostile_names_stay_in_their_cells() {
        let mut run = fixture::report();
        let name = "x|y\n## <script>alert(1)</script>";
        for row in run.models.iter_mut().filter(|row| row.task == "digits") {
            row.task = name.into();
        }
        run.tasks[0].name = name.into();
        run.machine.cpu = "a\n```\n# heading".into();
        let text = report(&run);
        assert!(!text.contains("<script>") && !text.contains("\n# heading") && !text.contains("\n## \\<script"));
    }

    #[test]
    fn reasons_are_grouped_and_the_worst_come_first() {
        let run = fixture::report();
        let groups = grouped_reasons(&run);
        assert_eq!(groups.first().unwrap().verdict, Verdict::Fail);
        let skipped = groups.iter().find(|group| group.verdict == Verdict::Skip).unwrap();
        assert_eq!(skipped.ids.len(), 2, "a kernel and a model, skipped for the same reason");
    }
}
