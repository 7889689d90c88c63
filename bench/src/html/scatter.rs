//! Quality against cost, one point a model row: better is up, cheaper is left.

use std::fmt::Write;

use super::anchor;
use super::axis::{Axis, Scale};
use super::escape::esc;
use super::labels::{Rect, place};
use crate::figures;
use crate::report::{Family, Metric, ModelRow, Report, Task, Verdict};
use crate::stats::Interval;

/// What the horizontal axis shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cost {
    Latency,
    Bytes,
}

/// Size of the drawing in its own units; the page scales it.
const WIDTH: f64 = 440.0;
const HEIGHT: f64 = 330.0;
const FRAME: Rect = Rect { left: 54.0, top: 14.0, width: WIDTH - 54.0 - 12.0, height: HEIGHT - 14.0 - 46.0 };

struct Point<'a> {
    row: &'a ModelRow,
    index: usize,
    metric: Metric,
    quality: f64,
    quality_interval: Interval,
    cost: f64,
    cost_interval: Interval,
    on_front: bool,
}

impl<'a> Point<'a> {
    /// A main row with quality and cost, VALID or NOISY.
    fn of(row: &'a ModelRow, index: usize, cost: Cost) -> Option<Self> {
        let quality = row.quality.as_ref().filter(|_| row.is_main())?;
        let (cost, cost_interval, on_front) = match cost {
            Cost::Latency => {
                let latency = row.latency_ms.as_ref()?;
                let spread = Interval { low: latency.p10 * 1e6, high: latency.p90 * 1e6 };
                (latency.p50 * 1e6, spread, row.pareto.latency)
            }
            Cost::Bytes => {
                let bytes = row.file_bytes? as f64;
                (bytes, Interval { low: bytes, high: bytes }, row.pareto.bytes)
            }
        };
        Some(Self {
            row,
            index,
            metric: quality.metric,
            quality: quality.value,
            quality_interval: quality.interval(),
            cost,
            cost_interval,
            on_front,
        })
    }

    fn cost_text(&self, cost: Cost) -> String {
        match cost {
            Cost::Latency => figures::time_ns(self.cost),
            Cost::Bytes => figures::bytes(self.cost as u64),
        }
    }
}

/// The chart of a task, or nothing when no row has both figures.
pub(super) fn scatter(report: &Report, task: &Task, cost: Cost) -> Option<String> {
    let rows = report.models.iter().enumerate().filter(|(_, row)| row.task == task.name);
    let mut points: Vec<Point<'_>> = rows.filter_map(|(index, row)| Point::of(row, index, cost)).collect();
    let metric = points.first()?.metric;
    // Fronts first: they get the room for labels; drawn last, they lie on top.
    points.sort_by_key(|point| (!point.on_front, point.row.verdict));

    let (bottom, top) = (FRAME.top + FRAME.height, FRAME.top);
    let (from_px, to_px) = if metric.higher_is_better() { (bottom, top) } else { (top, bottom) };
    let costs = points.iter().flat_map(|point| [point.cost, point.cost_interval.low, point.cost_interval.high]);
    let x = Axis::over(costs, Scale::Log10, FRAME.left, FRAME.left + FRAME.width)?;
    let qualities = points.iter().flat_map(|point| [point.quality_interval.low, point.quality_interval.high]);
    let y = Axis::over(qualities, Scale::Linear, from_px, to_px)?;

    let mut svg = String::new();
    let (axis_name, title) = match cost {
        Cost::Latency => (format!("time per {}, median (log)", task.kind.unit()), "quality against latency"),
        Cost::Bytes => ("model file size (log)".to_string(), "quality against file size"),
    };
    let _ =
        write!(svg, r#"<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{}: {title}">"#, esc(&task.name));
    draw_axes(&mut svg, &x, &y, metric, &axis_name, cost);
    draw_front(&mut svg, &points, &x, &y);
    for point in points.iter().rev() {
        draw_point(&mut svg, point, &x, &y, cost);
    }
    draw_labels(&mut svg, &points, &x, &y);
    svg += "</svg>";
    Some(svg)
}

fn draw_axes(svg: &mut String, x: &Axis, y: &Axis, metric: Metric, axis_name: &str, cost: Cost) {
    let (left, right) = (FRAME.left, FRAME.left + FRAME.width);
    let bottom = FRAME.top + FRAME.height;
    let ticks = y.ticks(6);
    let step = ticks.first().zip(ticks.get(1)).map_or(1.0, |(first, second)| second - first);
    for tick in ticks {
        let at = y.at(tick);
        let text = match metric {
            Metric::Accuracy => format!("{:.*} %", usize::from(step < 0.0099), tick * 100.0),
            Metric::BitsPerByte => format!("{:.*}", if step < 0.099 { 2 } else { 1 }, tick),
        };
        let _ = write!(svg, r#"<path class="grid" d="M{left:.1} {at:.1}H{right:.1}"/>"#);
        let _ = write!(svg, r#"<text class="tick" text-anchor="end" x="{:.1}" y="{:.1}">{text}</text>"#, left - 6.0, at + 3.8);
    }
    for tick in x.ticks(6) {
        let at = x.at(tick);
        let text = match cost {
            Cost::Latency => figures::round_time_ns(tick),
            Cost::Bytes => figures::round_bytes(tick),
        };
        let _ = write!(svg, r#"<path class="grid" d="M{at:.1} {:.1}V{bottom:.1}"/>"#, FRAME.top);
        let _ = write!(svg, r#"<text class="tick" text-anchor="middle" x="{at:.1}" y="{:.1}">{text}</text>"#, bottom + 16.0);
    }
    let _ = write!(svg, r#"<path class="axis" d="M{left:.1} {:.1}V{bottom:.1}H{right:.1}"/>"#, FRAME.top);
    let middle = left + FRAME.width / 2.0;
    let _ =
        write!(svg, r#"<text class="name" text-anchor="middle" x="{middle:.1}" y="{:.1}">{axis_name} →</text>"#, bottom + 36.0);
    let direction = if metric.higher_is_better() { "higher is better" } else { "reversed: lower is better" };
    let _ = write!(
        svg,
        r#"<text class="name" text-anchor="middle" transform="translate(12 {:.1}) rotate(-90)">{}, {direction} →</text>"#,
        FRAME.top + FRAME.height / 2.0,
        metric.label(),
    );
}

/// Joins the front from its cheapest row upwards: each step is the least cost at which that quality was measured.
fn draw_front(svg: &mut String, points: &[Point<'_>], x: &Axis, y: &Axis) {
    let mut front: Vec<(f64, f64)> =
        points.iter().filter(|point| point.on_front).map(|point| (x.at(point.cost), y.at(point.quality))).collect();
    front.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)));
    let Some(&(first_x, first_y)) = front.first() else { return };
    let (mut path, mut best_y) = (format!("M{first_x:.1} {first_y:.1}"), first_y);
    for (step_x, step_y) in front {
        if step_y < best_y {
            let _ = write!(path, "H{step_x:.1}V{step_y:.1}");
            best_y = step_y;
        }
    }
    let _ = write!(svg, r#"<path class="front" d="{path}"/>"#);
}

fn draw_point(svg: &mut String, point: &Point<'_>, x: &Axis, y: &Axis, cost: Cost) {
    let (cx, cy) = (x.at(point.cost), y.at(point.quality));
    let row = point.row;
    let standing = match (row.verdict, point.on_front) {
        (Verdict::Valid, true) => "on-front",
        (Verdict::Valid, false) => "behind",
        _ => "unranked",
    };
    let _ =
        write!(svg, r##"<a href="#{}" class="point {} {standing}"><title>"##, anchor::model(point.index), row.family.as_str());
    let quality = row.quality.as_ref().map(figures::quality).unwrap_or_default();
    let _ = write!(svg, "{} ({}, {})&#10;", esc(row.label()), row.family.as_str(), esc(&row.backend));
    let _ = write!(svg, "{} {quality}&#10;{}", point.metric.label(), point.cost_text(cost));
    match (row.verdict, point.on_front) {
        (Verdict::Valid, true) => svg.push_str("&#10;on the Pareto front"),
        (Verdict::Valid, false) => {}
        (verdict, _) => {
            let _ = write!(svg, "&#10;{}, not ranked: {}", verdict.as_str(), esc(&row.reason));
        }
    }
    svg.push_str("</title>");
    let (low, high) = (y.at(point.quality_interval.low), y.at(point.quality_interval.high));
    let _ = write!(svg, r#"<path class="whisker" d="M{cx:.1} {low:.1}V{high:.1}"/>"#);
    let (low, high) = (x.at(point.cost_interval.low), x.at(point.cost_interval.high));
    if high - low > 1.0 {
        let _ = write!(svg, r#"<path class="whisker" d="M{low:.1} {cy:.1}H{high:.1}"/>"#);
    }
    // A larger, invisible disc makes the point easy to hit with a finger.
    let _ = write!(svg, r#"<circle class="target" cx="{cx:.1}" cy="{cy:.1}" r="11"/>"#);
    let _ = match row.family {
        Family::Small => write!(svg, r#"<circle class="mark" cx="{cx:.1}" cy="{cy:.1}" r="5"/>"#),
        Family::Large => {
            write!(svg, r#"<path class="mark" d="M{cx:.1} {:.1}l6 6l-6 6l-6 -6z"/>"#, cy - 6.0)
        }
    };
    svg.push_str("</a>");
}

fn draw_labels(svg: &mut String, points: &[Point<'_>], x: &Axis, y: &Axis) {
    let names: Vec<String> = points.iter().map(|point| point.row.label()).collect();
    let named: Vec<((f64, f64), &str)> =
        points.iter().zip(&names).map(|(point, name)| ((x.at(point.cost), y.at(point.quality)), name.as_str())).collect();
    for ((label, name), point) in place(&named, &FRAME, Vec::new()).into_iter().zip(&names).zip(points) {
        let Some(label) = label else { continue };
        let class = if point.on_front { "label strong" } else { "label" };
        let _ = write!(
            svg,
            r#"<text class="{class}" x="{:.1}" y="{:.1}">{}</text>"#,
            label.left + 1.0,
            label.top + label.height - 2.5,
            esc(name)
        );
    }
}
