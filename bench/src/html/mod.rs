//! `report.html`: one file, no network, charts as inline SVG; the answer comes first.

mod anchor;
mod axis;
mod escape;
mod labels;
mod peers;
mod roofline;
mod scatter;
mod tables;

use std::fmt::Write;

use crate::figures::{self, ABSENT};
use crate::markdown::{self, METHOD};
use crate::recommend::{self, Ranked, Standing};
use crate::report::{Finding, Report, Task, TaskKind, Topic};
use escape::esc;
use scatter::Cost;

/// The whole page. Everything that a file or a user named is escaped.
pub fn report(report: &Report) -> String {
    let mut page = String::with_capacity(64 * 1024);
    let _ = write!(
        page,
        r#"<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:">
<meta name="color-scheme" content="light dark"><link rel="icon" href="data:,">
<title>sizewise: large or small on {}</title><style>{}</style></head><body>"#,
        esc(&report.machine.cpu),
        include_str!("page.css"),
    );
    header(&mut page, report);
    page += "<main>";
    answer(&mut page, report);
    setting(&mut page, report);
    for (index, task) in report.tasks.iter().enumerate() {
        task_section(&mut page, report, task, index);
    }
    kernels(&mut page, report);
    peers::section(&mut page, report.peers.as_ref());
    not_valid(&mut page, report);
    method(&mut page, report);
    let _ = writeln!(page, "</main><script>{}</script></body></html>", include_str!("page.js"));
    page
}

fn header(page: &mut String, report: &Report) {
    let machine = &report.machine;
    let _ = write!(
        page,
        r#"<header><p class="brand">sizewise</p><h1>Large or small?</h1><p class="lead">{} tasks, {} models and {} kernels measured on <b>{}</b>, <span class="nowrap">{}</span>.</p><nav>"#,
        report.tasks.len(),
        report.models.len(),
        report.kernels.len(),
        esc(&machine.cpu),
        esc(report.started_utc.get(..10).unwrap_or(&report.started_utc)),
    );
    page.push_str(r##"<a href="#answer">Answer</a><a href="#setting">Setting</a>"##);
    for (index, task) in report.tasks.iter().enumerate() {
        let _ = write!(page, r##"<a href="#t{index}">{}</a>"##, esc(&task.name));
    }
    page.push_str(r##"<a href="#kernels">Kernels</a><a href="#method">Method</a></nav></header>"##);
    if report.interrupted {
        page.push_str(r#"<p class="notice" role="status"><b>Interrupted.</b> The run ended early; what was measured until then stands, the rest is SKIP.</p>"#);
    }
}

fn answer(page: &mut String, report: &Report) {
    page.push_str(r#"<section id="answer"><h2>The answer</h2><div class="cards">"#);
    for (index, task) in report.tasks.iter().enumerate() {
        card(page, report, task, index);
    }
    page.push_str("</div>");
    let general: Vec<&Finding> = report.advice.iter().filter(|finding| finding.task.is_none()).collect();
    let crossovers: Vec<&Finding> = report.crossovers.iter().collect();
    for (title, findings) in [("Where the choice changes", crossovers), ("Before you trust it", general)] {
        if !findings.is_empty() {
            let _ = write!(page, "<h3>{title}</h3>");
            finding_list(page, report, &findings, None);
        }
    }
    page.push_str("</section>");
}

/// One task's recommendation, and what else the run says of it.
fn card(page: &mut String, report: &Report, task: &Task, index: usize) {
    let _ = write!(
        page,
        r##"<article class="card"><p class="eyebrow"><a href="#t{index}">{}</a> · {}</p>"##,
        esc(&task.name),
        kind(task.kind)
    );
    match Standing::of(report, &task.name) {
        Some(standing) => {
            let Ranked { row, quality, latency } = standing.recommended;
            let family = row.family.as_str();
            let _ = write!(
                page,
                r#"<h3><span class="swatch {family}"></span>{} <small>{family}, {}</small></h3><dl class="key">"#,
                esc(row.label()),
                esc(&row.backend)
            );
            let text = figures::quality(quality);
            let (value, interval) = text.split_once(" (").unwrap_or((&text, ""));
            let cells = [
                (quality.metric.label(), value.to_string(), interval.trim_end_matches(')').to_string()),
                ("median time", figures::time_ns(latency.p50 * 1e6), format!("per {}", task.kind.unit())),
                ("file", row.file_bytes.map_or(ABSENT.into(), figures::bytes), "on disk".into()),
            ];
            for (name, value, note) in cells {
                let _ =
                    write!(page, "<div><dt>{}</dt><dd>{}</dd><dd><small>{}</small></dd></div>", esc(name), esc(value), esc(note));
            }
            let _ = write!(page, r#"</dl><p class="grounds">{}</p>"#, esc(standing.grounds()));
        }
        None => {
            page.push_str("<h3>No advice</h3>");
            let of_task = |finding: &&Finding| finding.topic == Topic::Use && finding.task.as_deref() == Some(task.name.as_str());
            let why: Vec<&Finding> = report.advice.iter().filter(of_task).collect();
            finding_list(page, report, &why, Some(task));
        }
    }
    // What the head of the card says already, and what has a table of its own, is not repeated.
    let shown = |finding: &&Finding| !matches!(finding.topic, Topic::Use | Topic::Shrinking);
    let of_task = report.advice.iter().filter(|finding| finding.task.as_deref() == Some(task.name.as_str()));
    finding_list(page, report, &of_task.filter(shown).collect::<Vec<_>>(), Some(task));
    page.push_str("</article>");
}

/// Statements with links to the rows they rest on; a task's own card does not repeat its name.
fn finding_list(page: &mut String, report: &Report, findings: &[&Finding], task: Option<&Task>) {
    page.push_str(r#"<ul class="findings">"#);
    for finding in findings {
        let prefix = task.map(|task| format!("{}: ", task.name)).unwrap_or_default();
        let text = finding.text.strip_prefix(&prefix).unwrap_or(&finding.text);
        let text = if task.is_some() { capitalised(text) } else { text.to_string() };
        let _ = write!(page, "<li>{}", esc(text));
        let links: Vec<String> = finding
            .evidence
            .iter()
            .filter_map(|id| anchor::of_row(report, id).map(|(anchor, name)| (id, anchor, name)))
            .map(|(id, anchor, name)| format!(r##"<a href="#{anchor}" title="{}">{}</a>"##, esc(id), esc(name)))
            .collect();
        match links.len() {
            0 => {}
            1..=6 => {
                let _ = write!(page, r#" <span class="evidence">{}</span>"#, links.join(" "));
            }
            many => {
                let _ = write!(page, r#" <details class="evidence"><summary>{many} rows</summary>{}</details>"#, links.join(" "));
            }
        }
        page.push_str("</li>");
    }
    page.push_str("</ul>");
}

fn kind(kind: TaskKind) -> &'static str {
    match kind {
        TaskKind::ClassifyRows => "classify rows of numbers",
        TaskKind::ClassifyText => "classify text",
        TaskKind::LanguageModel => "predict the next byte",
    }
}

fn setting(page: &mut String, report: &Report) {
    let machine = &report.machine;
    let commit = machine.commit.as_deref().unwrap_or("no commit");
    let dirty = if machine.dirty == Some(true) { ", with uncommitted changes" } else { "" };
    let gpu = match (&machine.gpu, &machine.driver) {
        (Some(gpu), Some(driver)) => format!("{gpu}, driver {driver}"),
        (Some(gpu), None) => gpu.clone(),
        (None, _) => "none used".into(),
    };
    let floor = report.noise_floor.map_or("not measured; run with --null".into(), |floor| {
        format!("±{}, the largest of {} repeated measurements", figures::percent(floor.share), floor.pairs)
    });
    let mut entries = vec![
        ("CPU".to_string(), format!("{}, {} cores", machine.cpu, machine.cores)),
        ("Instruction sets".into(), machine.isa.join(" ")),
        ("Memory".into(), machine.memory_bytes.map_or(ABSENT.into(), figures::bytes)),
        ("GPU".into(), gpu),
        ("System".into(), machine.os.clone()),
        ("Build".into(), format!("commit {commit}{dirty}, {}", machine.rustc)),
        ("Command".into(), report.command.clone()),
        ("Started".into(), format!("{}, took {:.0} s", report.started_utc, report.wall_s)),
        ("Threads, seed".into(), format!("{}, {}", machine.threads, machine.seed)),
        ("Noise floor".into(), floor),
    ];
    for (backend, limits) in &report.limits {
        let peaks = [
            ("f32", limits.peak_f32_gflop_per_s, "GFLOP/s"),
            ("bf16", limits.peak_bf16_gflop_per_s, "GFLOP/s"),
            ("int8", limits.peak_int8_gflop_per_s, "Gop/s"),
            ("memory", limits.bandwidth_gb_per_s, "GB/s"),
        ];
        let known =
            peaks.iter().filter_map(|(name, value, unit)| Some(format!("{name} {} {unit}", figures::significant((*value)?))));
        entries.push((format!("Measured limits, {backend}"), known.collect::<Vec<_>>().join(" · ")));
    }
    page.push_str(r#"<section id="setting"><h2>What was measured on what</h2><dl class="grid">"#);
    for (name, value) in entries {
        let _ = write!(page, "<div><dt>{}</dt><dd>{}</dd></div>", esc(name), esc(value));
    }
    page.push_str("</dl></section>");
}

fn task_section(page: &mut String, report: &Report, task: &Task, index: usize) {
    let _ = write!(page, r#"<section id="t{index}"><h2>{}</h2>"#, esc(&task.name));
    let classes = markdown::classes(task);
    let unit = if task.kind == TaskKind::LanguageModel { "bytes" } else { "examples" };
    let _ = write!(
        page,
        r#"<p class="lead">{}: {} {unit} to train on, {} held out{classes}.</p>"#,
        capitalised(kind(task.kind)),
        figures::grouped(task.train),
        figures::grouped(task.test)
    );
    let charts = [(Cost::Latency, "Quality against time"), (Cost::Bytes, "Quality against file size")];
    let drawn: Vec<String> = charts
        .into_iter()
        .filter_map(|(cost, title)| {
            let svg = scatter::scatter(report, task, cost)?;
            Some(format!("<figure><figcaption>{title}</figcaption>{svg}</figure>"))
        })
        .collect();
    if !drawn.is_empty() {
        let _ = write!(page, r#"<div class="charts">{}</div>{LEGEND}"#, drawn.join(""));
    }
    if report.models.iter().any(|row| row.task == task.name) {
        page.push_str(&tables::models(report, task));
    } else {
        page.push_str("<p>No model rows.</p>");
    }
    for (parent, effects) in recommend::shrunk(report, &task.name) {
        let _ = write!(page, "<h3>Shrinking {}</h3>{}", esc(parent.label()), tables::shrunk(report, parent, &effects));
    }
    page.push_str("</section>");
}

const LEGEND: &str = r#"<p class="legend"><span><i class="swatch large"></i>large</span><span><i class="swatch small"></i>small</span><span><i class="swatch filled"></i>filled: Pareto front</span><span><i class="swatch hollow"></i>hollow: a row on the front is no worse and cheaper, or better at no more cost</span><span><i class="swatch unranked"></i>grey: noisy, not ranked</span><span>bars: 95 % interval, and p10 to p90 of time</span></p>"#;

fn capitalised(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map(|first| first.to_uppercase().collect::<String>() + letters.as_str()).unwrap_or_default()
}

fn kernels(page: &mut String, report: &Report) {
    page.push_str(r#"<section id="kernels"><h2>Kernels</h2>"#);
    if report.kernels.is_empty() {
        page.push_str("<p>No kernels were measured in this run.</p></section>");
        return;
    }
    page.push_str(r#"<p class="lead">How near each kernel comes to what this machine was measured to allow.</p>"#);
    for backend in report.limits.keys() {
        if let Some(svg) = roofline::roofline(report, backend) {
            let _ = write!(
                page,
                r#"<figure class="wide"><figcaption>Measured roofline of {}</figcaption><div class="scroll" tabindex="0">{svg}</div></figure>"#,
                esc(backend)
            );
        }
    }
    page.push_str(&tables::kernels(&report.kernels));
    page.push_str("</section>");
}

fn not_valid(page: &mut String, report: &Report) {
    let groups = markdown::grouped_reasons(report);
    page.push_str(r#"<section id="not-valid"><h2>Rows that are not VALID</h2>"#);
    if groups.is_empty() {
        page.push_str("<p>None: every row was measured and is steady enough to rank.</p></section>");
        return;
    }
    page.push_str(r#"<ul class="reasons">"#);
    for group in groups {
        let word = group.verdict.as_str();
        let links: Vec<String> = group
            .ids
            .iter()
            .filter_map(|id| anchor::of_row(report, id).map(|(anchor, _)| format!(r##"<a href="#{anchor}">{}</a>"##, esc(id))))
            .collect();
        let _ = write!(
            page,
            r#"<li><span class="verdict {}">{word}</span><p>{}</p><p class="ids">{}</p></li>"#,
            word.to_lowercase(),
            esc(group.reason),
            links.join(" ")
        );
    }
    page.push_str("</ul></section>");
}

fn method(page: &mut String, report: &Report) {
    page.push_str(r#"<section id="method"><h2>Method and data</h2><ul class="prose">"#);
    for paragraph in METHOD {
        let _ = write!(page, "<li>{}</li>", esc(paragraph));
    }
    page.push_str("</ul><dl class=\"data\">");
    for task in &report.tasks {
        let _ = write!(page, "<dt>{}</dt><dd>{}.", esc(&task.name), esc(&task.source));
        if !task.attribution.is_empty() {
            let _ = write!(page, " {}.", esc(&task.attribution));
        }
        if !task.crates.is_empty() {
            let _ = write!(page, " Crates: {}.", esc(task.crates.join(", ")));
        }
        let _ = write!(page, " <span class=\"digest\">{}</span></dd>", esc(&task.digest));
    }
    page.push_str("</dl></section>");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{fixture, recommend};
    use std::collections::BTreeSet;

    fn page() -> (Report, String) {
        let mut run = fixture::report();
        recommend::conclude(&mut run);
        let page = report(&run);
        (run, page)
    }

    /// The values of an attribute, in order.
    fn values<'a>(page: &'a str, attribute: &str) -> Vec<&'a str> {
        let opening = format!(" {attribute}=\"");
        page.split(&opening).skip(1).map(|piece| piece.split('"').next().unwrap()).collect()
    }

    /// Fails unless every tag is closed in the order opened.
    fn assert_well_formed(page: &str) {
        let markup = page.split("<style>").next().unwrap().to_string()
            + page.split("</style>").nth(1).unwrap().split("<script>").next().unwrap();
        let mut open: Vec<&str> = Vec::new();
        for tag in markup.split('<').skip(1).map(|piece| piece.split('>').next().unwrap()) {
            let name = tag.trim_start_matches('/').split([' ', '\n', '/']).next().unwrap();
            let void = ["!doctype", "meta", "link", "br"].contains(&name) || tag.ends_with('/');
            if tag.starts_with('/') {
                assert_eq!(open.pop(), Some(name), "closed out of order");
            } else if !void {
                open.push(name);
            }
        }
        assert_eq!(open, ["html", "body"], "the tail that holds the script closes these");
    }

    #[test]
    fn every_row_can_be_linked_to_and_every_link_lands() {
        let (run, page) = page();
        let ids = values(&page, "id");
        let unique: BTreeSet<&str> = ids.iter().copied().collect();
        assert_eq!(ids.len(), unique.len(), "ids occur once");
        assert!((0..run.models.len()).all(|index| unique.contains(anchor::model(index).as_str())));
        assert!((0..run.kernels.len()).all(|index| unique.contains(anchor::kernel(index).as_str())));
        let links: Vec<&str> = values(&page, "href").into_iter().filter_map(|link| link.strip_prefix('#')).collect();
        assert!(links.len() > 50 && links.iter().all(|link| unique.contains(link)));
    }

    #[test]
    fn the_page_has_its_parts_in_order_and_nothing_from_outside() {
        let (run, page) = page();
        assert_well_formed(&page);
        let part = |id: &str| page.find(&format!("<section id=\"{id}\"")).unwrap_or_else(|| panic!("no section {id}"));
        let parts = ["answer", "setting", "t0", "t1", "t2", "kernels", "not-valid", "method"].map(part);
        assert!(parts.is_sorted(), "{parts:?}");
        assert_eq!(page.matches("<svg class=\"chart").count(), 2 * run.tasks.len() + 1);
        for outside in ["http:", "https:", " src=", "url(", "@import"] {
            assert!(!page.contains(outside), "{outside}");
        }
        for group in markdown::grouped_reasons(&run) {
            assert!(page.contains(&esc(group.reason).to_string()), "{}", group.reason);
        }
        assert!(run.tasks.iter().all(|task| page.contains(&esc(&task.attribution).to_string())));
    }

    #[test]
    fn hostile_names_stay_text() {
        let evil = "x\"'><script>alert(1)</script><img src=x onerror=alert(1)>&";
        let mut run = fixture::report();
        run.command = evil.into();
        run.started_utc = "é".repeat(8);
        run.machine.cpu = evil.into();
        run.machine.isa = vec![evil.into()];
        run.limits = run.limits.values().map(|limits| (evil.to_string(), *limits)).collect();
        for task in &mut run.tasks {
            (task.source, task.attribution, task.digest) = (evil.into(), evil.into(), evil.into());
            task.crates = vec![evil.into()];
        }
        for row in &mut run.models {
            (row.model, row.variant, row.backend) = (evil.into(), evil.into(), evil.into());
            row.id += evil;
            if row.verdict != crate::report::Verdict::Valid {
                row.reason = evil.into();
            }
            if row.task == "digits" {
                row.task = evil.into();
            }
        }
        run.tasks[0].name = evil.into();
        for row in &mut run.kernels {
            (row.op, row.dtype, row.weight, row.backend) = (evil.into(), evil.into(), evil.into(), evil.into());
            row.shape = [(evil.to_string(), 1)].into();
        }
        recommend::conclude(&mut run);
        let page = report(&run);
        assert_well_formed(&page);
        assert_eq!(page.matches("<script").count(), 1, "ours");
        assert!(!page.contains("<img") && !page.contains("x\"'"));
    }

    #[test]
    fn an_empty_interrupted_run_has_a_page() {
        let page = report(&Report::new("bench", "2026-11-24T03:08:27Z", fixture::report().machine));
        assert_well_formed(&page);
        assert!(page.contains("Interrupted.") && page.contains("No kernels were measured"));
    }
}
