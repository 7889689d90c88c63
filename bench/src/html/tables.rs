//! Tables that sort by tap: cells carry the number they sort by.

use std::fmt::Write;

use super::anchor;
use super::escape::esc;
use crate::figures::{self, ABSENT};
use crate::markdown;
use crate::recommend::Shrunk;
use crate::report::{KernelRow, ModelRow, Report, Task, Verdict, shown_backend};

/// One cell: markup made of escaped text, and its rank when the column is sorted.
struct Cell {
    markup: String,
    rank: Rank,
}

/// How a cell sorts.
enum Rank {
    Number(f64),
    Text(String),
    /// Not measured: last in either direction.
    Absent,
}

impl Cell {
    fn text(text: &str) -> Self {
        let rank = Rank::Text(text.to_lowercase());
        match text.chars().count() > 32 {
            true => Self { markup: format!(r#"<span class="long">{}</span>"#, esc(text)), rank },
            false => Self { markup: esc(text).to_string(), rank },
        }
    }

    fn number(value: Option<f64>, text: impl FnOnce(f64) -> String) -> Self {
        match value {
            Some(value) => Self { markup: esc(text(value)).to_string(), rank: Rank::Number(value) },
            None => Self { markup: format!(r#"<span class="absent">{ABSENT}</span>"#), rank: Rank::Absent },
        }
    }

    fn bytes(value: Option<u64>) -> Self {
        Self::number(value.map(|value| value as f64), |value| figures::bytes(value as u64))
    }

    fn verdict(verdict: Verdict, reason: &str) -> Self {
        let word = verdict.as_str();
        let title = if reason.is_empty() { String::new() } else { format!(r#" title="{}""#, esc(reason)) };
        Self {
            markup: format!(r#"<span class="verdict {}"{title}>{word}</span>"#, word.to_lowercase()),
            rank: Rank::Text(word.to_lowercase()),
        }
    }
}

/// Rows, with an anchor where one is linked to, under columns. A column without a figure is left out, and one that says the same in
/// every row moves into the caption.
struct Grid {
    columns: Vec<(String, Align)>,
    rows: Vec<(Option<String>, Vec<Cell>)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Align {
    Text,
    Number,
}

impl Grid {
    fn markup(&self, caption: &str) -> String {
        let mut caption = caption.to_string();
        let mut shown = Vec::new();
        for (column, (name, align)) in self.columns.iter().enumerate() {
            let ranks: Vec<&Rank> = self.rows.iter().filter_map(|(_, cells)| cells.get(column)).map(|cell| &cell.rank).collect();
            let constant = match ranks.as_slice() {
                [Rank::Text(first), _, ..] if column > 0 && *align == Align::Text => {
                    ranks.iter().all(|rank| matches!(rank, Rank::Text(text) if text == first)).then_some(first)
                }
                _ => None,
            };
            match constant {
                Some(value) if value.is_empty() => {}
                Some(value) => caption += &format!(" · {name} {value}"),
                None if ranks.iter().all(|rank| matches!(rank, Rank::Absent)) => {}
                None => shown.push(column),
            }
        }
        let mut markup = String::from(r#"<div class="scroll" tabindex="0"><table class="sortable"><caption><span>"#);
        let _ = write!(markup, "{} · tap a column to sort</span></caption><thead><tr>", esc(caption));
        for (name, align) in shown.iter().filter_map(|column| self.columns.get(*column)) {
            let class = if *align == Align::Number { r#" class="number""# } else { "" };
            let _ = write!(markup, r#"<th scope="col"{class}><button type="button">{}</button></th>"#, esc(name));
        }
        markup += "</tr></thead><tbody>";
        for (id, cells) in &self.rows {
            match id {
                Some(id) => {
                    let _ = write!(markup, r#"<tr id="{id}">"#);
                }
                None => markup += "<tr>",
            }
            for (position, column) in shown.iter().enumerate() {
                let (Some(cell), Some((_, align))) = (cells.get(*column), self.columns.get(*column)) else { continue };
                let rank = match &cell.rank {
                    Rank::Number(value) => format!(r#" data-number="{value}""#),
                    Rank::Text(text) => format!(r#" data-text="{}""#, esc(text)),
                    Rank::Absent => String::new(),
                };
                let class = if *align == Align::Number { r#" class="number""# } else { "" };
                let tag = if position == 0 { r#"th scope="row""# } else { "td" };
                let end = if position == 0 { "th" } else { "td" };
                let _ = write!(markup, "<{tag}{class}{rank}>{}</{end}>", cell.markup);
            }
            markup += "</tr>";
        }
        markup + "</tbody></table></div>"
    }
}

/// The models of a task, best quality first; points of batch and learning curves after them.
pub(super) fn models(report: &Report, task: &Task) -> String {
    let mut rows: Vec<(usize, &ModelRow)> = report.models.iter().enumerate().filter(|(_, row)| row.task == task.name).collect();
    let key = |row: &ModelRow| row.quality.map_or(f64::NEG_INFINITY, |quality| quality.upward());
    rows.sort_by(|a, b| b.1.is_main().cmp(&a.1.is_main()).then(key(b.1).total_cmp(&key(a.1))));
    let metric = rows.iter().find_map(|(_, row)| row.quality).map(|quality| quality.metric);
    let quality = metric
        .map_or("quality".into(), |metric| format!("{} {}", metric.label(), if metric.higher_is_better() { "↑" } else { "↓" }));
    let unit = task.kind.unit();
    let columns = [
        ("model", Align::Text),
        (&quality, Align::Number),
        ("p50", Align::Number),
        ("p99", Align::Number),
        (&format!("{unit}s/s"), Align::Number),
        ("file", Align::Number),
        ("params", Align::Number),
        ("process peak", Align::Number),
        ("training", Align::Number),
        (&format!("energy/{unit}"), Align::Number),
        ("cost/million", Align::Number),
        ("backend", Align::Text),
        ("front", Align::Text),
        ("verdict", Align::Text),
    ];
    let columns = columns.map(|(name, align)| (name.to_string(), align)).into();
    let rows = rows.into_iter().map(|(index, row)| (Some(anchor::model(index)), model_cells(report, row))).collect();
    Grid { columns, rows }.markup(&format!("Models on {} · intervals 95 %", task.name))
}

fn model_cells(report: &Report, row: &ModelRow) -> Vec<Cell> {
    let latency = row.latency_ms.as_ref();
    let time = |ms: Option<f64>| Cell::number(ms, |ms| figures::time_ns(ms * 1e6));
    let family = row.family.as_str();
    let name = Cell {
        markup: format!(r#"<span class="swatch {family}" title="{family}"></span>{}"#, esc(row.label())),
        rank: Rank::Text(row.label().to_lowercase()),
    };
    let quality = match &row.quality {
        Some(quality) => {
            let text = figures::quality(quality);
            let (value, interval) = text.split_once(" (").unwrap_or((&text, ""));
            let interval = interval.trim_end_matches(')');
            Cell {
                markup: format!(r#"{} <span class="interval">{}</span>"#, esc(value), esc(interval)),
                rank: Rank::Number(quality.value),
            }
        }
        None => Cell::number(None, |_| String::new()),
    };
    vec![
        name,
        quality,
        time(latency.map(|latency| latency.p50)),
        time(latency.and_then(|latency| latency.p99)),
        Cell::number(row.rows_or_tokens_per_s, figures::count),
        Cell::bytes(row.file_bytes),
        parameters(row),
        Cell::bytes(row.peak_memory_bytes),
        Cell::number(row.train_s, |_| markdown::training(report, row)),
        Cell::number(row.energy_j, |joules| format!("{} µJ", figures::significant(joules * 1e6))),
        Cell::number(row.cost_per_million, figures::significant),
        Cell::text(&shown_backend(&row.backend, row.software)),
        Cell::text(markdown::pareto(row)),
        Cell::verdict(row.verdict, &row.reason),
    ]
}

/// All parameters, and the share of those that are not zero where some are.
fn parameters(row: &ModelRow) -> Cell {
    let mut cell = Cell::number(row.params.map(|params| params as f64), figures::count);
    if let (Some(params), Some(nonzero)) = (row.params, row.nonzero_params)
        && nonzero < params
    {
        let share = figures::percent(nonzero as f64 / params as f64);
        let _ = write!(cell.markup, r#" <span class="interval">{share} nonzero</span>"#);
    }
    cell
}

/// What the forms a model was shrunk to gained and cost, in the words of the advice; sorted by the figures behind them.
pub(super) fn shrunk(report: &Report, parent: &ModelRow, effects: &[Shrunk<'_>]) -> String {
    let quality = parent.quality.map_or("quality", |quality| quality.metric.label());
    let columns = [("made from it", Align::Text), ("file", Align::Number), ("time", Align::Number), (quality, Align::Number)];
    let cells = |Shrunk { row, size, speed, quality }: &Shrunk<'_>| {
        let label = row.label();
        let markup = match anchor::of_row(report, &row.id) {
            Some((anchor, _)) => format!(r##"<a href="#{anchor}">{}</a>"##, esc(&label)),
            None => esc(&label).to_string(),
        };
        vec![
            Cell { markup, rank: Rank::Text(label.to_lowercase()) },
            Cell::number(row.file_bytes.map(|bytes| bytes as f64), |_| size.clone()),
            Cell::number(row.latency_ms.map(|latency| latency.p50), |_| speed.clone()),
            Cell::number(row.quality.map(|quality| quality.value), |_| quality.clone()),
        ]
    };
    let columns = columns.map(|(name, align)| (name.to_string(), align)).into();
    let rows = effects.iter().map(|effect| (None, cells(effect))).collect();
    Grid { columns, rows }.markup(&format!("What shrinking {} gains and costs", parent.label()))
}

/// All kernel rows.
pub(super) fn kernels(rows: &[KernelRow]) -> String {
    let columns = [
        ("op", Align::Text),
        ("shape", Align::Text),
        ("dtype", Align::Text),
        ("weight", Align::Text),
        ("backend", Align::Text),
        ("median", Align::Number),
        ("GFLOP/s", Align::Number),
        ("GB/s", Align::Number),
        ("of limit", Align::Number),
        ("error/bound", Align::Number),
        ("verdict", Align::Text),
        ("p10", Align::Number),
        ("p90", Align::Number),
        ("threads", Align::Text),
    ];
    let columns = columns.map(|(name, align)| (name.to_string(), align)).into();
    let rows = rows.iter().enumerate().map(|(index, row)| (Some(anchor::kernel(index)), kernel_cells(row))).collect();
    Grid { columns, rows }
        .markup("Error/bound: the largest error over its derived bound among a few checked cases of the op and dtype")
}

fn kernel_cells(row: &KernelRow) -> Vec<Cell> {
    let share = match row.share_of_limit {
        Some(share) => {
            let bar = share.clamp(0.0, 1.0);
            Cell {
                markup: format!(
                    r#"<span class="bar" style="--share:{bar:.3}"></span><span class="share">{}</span>"#,
                    figures::percent(share)
                ),
                rank: Rank::Number(share),
            }
        }
        None => Cell::number(None, |_| String::new()),
    };
    vec![
        Cell::text(&row.op),
        Cell::text(&markdown::shape(row)),
        Cell::text(&row.dtype),
        Cell::text(&row.weight),
        Cell::text(&shown_backend(&row.backend, row.software)),
        Cell::number(row.median_ns, figures::time_ns),
        Cell::number(row.gflop_per_s, figures::significant),
        Cell::number(row.gb_per_s, figures::significant),
        share,
        Cell::number(row.error_budget_used, figures::percent),
        Cell::verdict(row.verdict, &row.reason),
        Cell::number(row.p10_ns, figures::time_ns),
        Cell::number(row.p90_ns, figures::time_ns),
        Cell::text(&row.threads.to_string()),
    ]
}
