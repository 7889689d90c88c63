//! The table of our kernels beside other people's.

use std::fmt::Write;

use super::escape::esc;
use crate::figures::{self, ABSENT};
use crate::markdown;
use crate::performance;
use crate::report::{PeerCell, PeerRun};

/// The section, or nothing where there was no such run.
pub(super) fn section(page: &mut String, run: Option<&PeerRun>) {
    let Some(run) = run else {
        return;
    };
    let _ = write!(
        page,
        r#"<section id="peers"><h2>Beside other libraries</h2><p class="lead">Measured in turns, at this commit, by <code>{}</code>. The ratio is the best peer's time over ours: above 1 we are faster.</p>"#,
        esc(&run.command)
    );
    for (threads, limits) in &run.limits {
        let _ = write!(page, "<p>{}</p>", esc(performance::limits_line(*threads, limits)));
    }
    page.push_str(r#"<div class="scroll" tabindex="0"><table class="sortable"><caption><span>Every cell with the best of its peers · tap a column to sort</span></caption><thead><tr>"#);
    for (name, class) in COLUMNS {
        let _ = write!(page, r#"<th scope="col"{class}><button type="button">{name}</button></th>"#);
    }
    page.push_str("</tr></thead><tbody>");
    run.cells.iter().for_each(|cell| row(page, cell));
    page.push_str("</tbody></table></div>");
    if !run.absent.is_empty() {
        page.push_str(r#"<ul class="reasons">"#);
        for reason in &run.absent {
            let _ = write!(page, "<li><p>Not measured: {}</p></li>", esc(reason));
        }
        page.push_str("</ul>");
    }
    page.push_str("</section>");
}

const NUMBER: &str = r#" class="number""#;

const COLUMNS: [(&str, &str); 11] = [
    ("kernel", ""),
    ("shape", ""),
    ("weight", ""),
    ("threads", NUMBER),
    ("ours", NUMBER),
    ("of limit", NUMBER),
    ("best peer", ""),
    ("its time", NUMBER),
    ("its share", NUMBER),
    ("ratio", NUMBER),
    ("others", ""),
];

fn row(page: &mut String, cell: &PeerCell) {
    let best = cell.best();
    let theirs = best.map(|rival| &rival.timing);
    let _ = write!(page, r#"<tr><th scope="row" data-text="{0}">{0}</th>"#, esc(&cell.group));
    text(page, &markdown::dimensions(&cell.shape));
    text(page, &format!("{} {}", cell.dtype, cell.weight));
    number(page, Some(f64::from(cell.threads)), |_| cell.threads.to_string());
    number(page, cell.ours.median_ns, figures::time_ns);
    number(page, cell.ours.share_of_limit, figures::percent);
    text(page, best.map_or("", |rival| rival.peer.as_str()));
    number(page, theirs.and_then(|timing| timing.median_ns), figures::time_ns);
    number(page, theirs.and_then(|timing| timing.share_of_limit), figures::percent);
    number(page, best.and_then(|rival| rival.ratio), |_| best.map_or(String::new(), |rival| performance::ratio(cell, rival)));
    text(page, &performance::others(cell));
    page.push_str("</tr>");
}

fn text(page: &mut String, text: &str) {
    let _ = write!(page, r#"<td data-text="{0}">{0}</td>"#, esc(text));
}

/// A cell that sorts by its number; one without sorts last.
fn number(page: &mut String, value: Option<f64>, text: impl FnOnce(f64) -> String) {
    let _ = match value {
        Some(value) => write!(page, r#"<td{NUMBER} data-number="{value}">{}</td>"#, esc(text(value))),
        None => write!(page, r#"<td{NUMBER}><span class="absent">{ABSENT}</span></td>"#),
    };
}
