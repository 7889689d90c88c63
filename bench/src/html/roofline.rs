//! The roofline of a backend: what its measured limits allow at each arithmetic intensity, and what kernels reach
//! (Williams, Waterman, Patterson, "Roofline: an insightful visual performance model", 2009).

use std::fmt::Write;

use super::anchor;
use super::axis::{Axis, Scale};
use super::escape::esc;
use super::labels::{Rect, place};
use crate::figures;
use crate::markdown;
use crate::report::{KernelRow, Report, Verdict};

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 380.0;
const FRAME: Rect = Rect { left: 54.0, top: 16.0, width: WIDTH - 54.0 - 16.0, height: HEIGHT - 16.0 - 46.0 };

struct Point<'a> {
    row: &'a KernelRow,
    index: usize,
    flop_per_byte: f64,
    gflop_per_s: f64,
}

/// The roofline plot of `backend`; nothing without a measured row and measured limits.
pub(super) fn roofline(report: &Report, backend: &str) -> Option<String> {
    let limits = report.limits.get(backend)?;
    let bandwidth = limits.bandwidth_gb_per_s.filter(|bandwidth| *bandwidth > 0.0)?;
    let roofs: Vec<(&str, f64)> = [
        ("f32 peak", limits.peak_f32_gflop_per_s),
        ("bf16 peak", limits.peak_bf16_gflop_per_s),
        ("int8 peak", limits.peak_int8_gflop_per_s),
    ]
    .into_iter()
    .filter_map(|(name, peak)| Some((name, peak.filter(|peak| *peak > 0.0)?)))
    .collect();
    let highest = roofs.iter().map(|roof| roof.1).reduce(f64::max)?;
    let rows = report.kernels.iter().enumerate().filter(|(_, row)| row.backend == backend);
    let points: Vec<Point<'_>> = rows
        .filter_map(|(index, row)| {
            let (gflop_per_s, gb_per_s) = (row.gflop_per_s?, row.gb_per_s?);
            let drawn = gflop_per_s > 0.0 && gb_per_s > 0.0;
            drawn.then(|| Point { row, index, flop_per_byte: gflop_per_s / gb_per_s, gflop_per_s })
        })
        .collect();
    points.first()?;

    // Both sides of the highest ridge are shown.
    let ridge = highest / bandwidth;
    let intensities = points.iter().map(|point| point.flop_per_byte).chain([ridge * 2.0]);
    let x = Axis::over(intensities, Scale::Log10, FRAME.left, FRAME.left + FRAME.width)?;
    let bottom = FRAME.top + FRAME.height;
    let rates = points.iter().map(|point| point.gflop_per_s).chain([highest * 1.2]);
    let y = Axis::over(rates, Scale::Log10, bottom, FRAME.top)?;

    let mut svg = String::new();
    let _ = write!(
        svg,
        r#"<svg class="chart roofline" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{}: kernels against the measured roofline">"#,
        esc(backend)
    );
    draw_axes(&mut svg, &x, &y);
    let mut taken = draw_roofs(&mut svg, &roofs, bandwidth, &x, &y);
    for point in &points {
        draw_point(&mut svg, point, &x, &y);
    }
    taken.retain(|rect| rect.width > 0.0);
    draw_labels(&mut svg, &points, &x, &y, taken);
    svg += "</svg>";
    Some(svg)
}

fn draw_axes(svg: &mut String, x: &Axis, y: &Axis) {
    let (left, right, bottom) = (FRAME.left, FRAME.left + FRAME.width, FRAME.top + FRAME.height);
    for tick in y.ticks(6) {
        let at = y.at(tick);
        let _ = write!(svg, r#"<path class="grid" d="M{left:.1} {at:.1}H{right:.1}"/>"#);
        let _ = write!(
            svg,
            r#"<text class="tick" text-anchor="end" x="{:.1}" y="{:.1}">{}</text>"#,
            left - 6.0,
            at + 3.8,
            figures::round(tick)
        );
    }
    for tick in x.ticks(8) {
        let at = x.at(tick);
        let _ = write!(svg, r#"<path class="grid" d="M{at:.1} {:.1}V{bottom:.1}"/>"#, FRAME.top);
        let _ = write!(
            svg,
            r#"<text class="tick" text-anchor="middle" x="{at:.1}" y="{:.1}">{}</text>"#,
            bottom + 16.0,
            figures::round(tick)
        );
    }
    let _ = write!(svg, r#"<path class="axis" d="M{left:.1} {:.1}V{bottom:.1}H{right:.1}"/>"#, FRAME.top);
    let _ = write!(
        svg,
        r#"<text class="name" text-anchor="middle" x="{:.1}" y="{:.1}">operations per byte (log) →</text>"#,
        left + FRAME.width / 2.0,
        bottom + 36.0
    );
    let _ = write!(
        svg,
        r#"<text class="name" text-anchor="middle" transform="translate(12 {:.1}) rotate(-90)">GFLOP/s (log) →</text>"#,
        FRAME.top + FRAME.height / 2.0
    );
}

/// Draws the slope of the bandwidth and one level per peak; returns the room their names take.
fn draw_roofs(svg: &mut String, roofs: &[(&str, f64)], bandwidth: f64, x: &Axis, y: &Axis) -> Vec<Rect> {
    let right = FRAME.left + FRAME.width;
    let highest = roofs.iter().map(|roof| roof.1).fold(0.0, f64::max);
    // The slope enters the frame where it crosses the left or the lower edge, whichever comes later.
    let start = x.range().0.max(y.range().0 / bandwidth);
    let _ = write!(
        svg,
        r#"<path class="roof" d="M{:.1} {:.1}L{:.1} {:.1}"/>"#,
        x.at(start),
        y.at(start * bandwidth),
        x.at(highest / bandwidth),
        y.at(highest)
    );
    let mut taken = Vec::new();
    let mut name = |svg: &mut String, text: String, px: f64, py: f64, anchor: &str| {
        let _ = write!(svg, r#"<text class="roof-name" text-anchor="{anchor}" x="{px:.1}" y="{py:.1}">{text}</text>"#);
        let width = text.chars().count() as f64 * 6.4;
        let left = if anchor == "end" { px - width } else { px };
        taken.push(Rect { left, top: py - 11.0, width, height: 14.0 });
    };
    for (title, peak) in roofs {
        let at = y.at(*peak);
        let _ = write!(svg, r#"<path class="roof" d="M{:.1} {at:.1}H{right:.1}"/>"#, x.at(peak / bandwidth));
        name(svg, format!("{title} {}", figures::significant(*peak)), right - 2.0, at - 4.0, "end");
    }
    let text = format!("{} GB/s", figures::significant(bandwidth));
    let at = (start * highest / bandwidth).sqrt();
    name(svg, text, x.at(at) - 8.0, y.at(at * bandwidth) - 8.0, "end");
    taken
}

fn draw_point(svg: &mut String, point: &Point<'_>, x: &Axis, y: &Axis) {
    let (cx, cy, row) = (x.at(point.flop_per_byte), y.at(point.gflop_per_s), point.row);
    let standing = if row.verdict == Verdict::Valid { "on-front" } else { "unranked" };
    let _ = write!(
        svg,
        r##"<a href="#{}" class="point kernel {standing}"><title>{}&#10;{}&#10;{} GFLOP/s, {} GB/s{}</title>"##,
        anchor::kernel(point.index),
        esc(name(row)),
        esc(markdown::shape(row)),
        figures::significant(point.gflop_per_s),
        markdown::or_absent(row.gb_per_s, figures::significant),
        row.share_of_limit.map_or(String::new(), |share| format!("&#10;{} of the limit", figures::percent(share))),
    );
    let _ = write!(svg, r#"<circle class="target" cx="{cx:.1}" cy="{cy:.1}" r="11"/>"#);
    let _ = write!(svg, r#"<circle class="mark" cx="{cx:.1}" cy="{cy:.1}" r="4.5"/></a>"#);
}

/// Op, and what it multiplies where that is not plain f32.
fn name(row: &KernelRow) -> String {
    let mut name = row.op.clone();
    if row.dtype != "f32" {
        name += &format!(" {}", row.dtype);
    }
    if row.weight != "dense" {
        name += &format!(" {}", row.weight);
    }
    name
}

fn draw_labels(svg: &mut String, points: &[Point<'_>], x: &Axis, y: &Axis, taken: Vec<Rect>) {
    let names: Vec<String> = points.iter().map(|point| name(point.row)).collect();
    let at = |point: &Point<'_>| (x.at(point.flop_per_byte), y.at(point.gflop_per_s));
    let named: Vec<_> = points.iter().zip(&names).map(|(point, name)| (at(point), name.as_str())).collect();
    for (label, name) in place(&named, &FRAME, taken).into_iter().zip(&names) {
        let Some(label) = label else { continue };
        let _ = write!(
            svg,
            r#"<text class="label" x="{:.1}" y="{:.1}">{}</text>"#,
            label.left + 1.0,
            label.top + label.height - 2.5,
            esc(name)
        );
    }
}
