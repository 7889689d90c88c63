//! Figures as text: three significant digits and a unit that fits.

use crate::report::{Metric, Quality};

/// What stands for a figure that was not measured.
pub const ABSENT: &str = "–";

/// Three significant digits without an exponent: 1234, 123, 12.3, 1.23, 0.0123.
pub fn significant(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return format!("{value}");
    }
    // Rounding can add a digit (9.996 is 10.0), so the magnitude is that of the rounded value.
    let rounded: f64 = format!("{value:.2e}").parse().unwrap_or(value);
    let decimals = (2 - rounded.abs().log10().floor() as i32).clamp(0, 12) as usize;
    format!("{value:.decimals$}")
}

fn scaled(value: f64, step: f64, units: &[&str]) -> String {
    let mut value = value;
    let mut units = units.iter();
    let mut unit = units.next().copied().unwrap_or_default();
    for next in units {
        if value.abs() < 0.9995 * step {
            break;
        }
        value /= step;
        unit = next;
    }
    format!("{} {unit}", significant(value))
}

/// A time, in ns, µs, ms or s.
pub fn time_ns(ns: f64) -> String {
    scaled(ns, 1e3, &["ns", "µs", "ms", "s"])
}

/// A size, in B, kB, MB or GB (powers of 1000).
pub fn bytes(bytes: u64) -> String {
    scaled(bytes as f64, 1e3, &["B", "kB", "MB", "GB", "TB"])
}

/// A round figure of an axis, without trailing zeros: 0.5, 20, 3000.
pub fn round(value: f64) -> String {
    let text = significant(value);
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').into(),
        false => text,
    }
}

/// A round time of an axis: `20 µs`.
pub fn round_time_ns(ns: f64) -> String {
    shortened(&time_ns(ns))
}

/// A round size of an axis: `5 MB`.
pub fn round_bytes(bytes: f64) -> String {
    shortened(&scaled(bytes, 1e3, &["B", "kB", "MB", "GB", "TB"]))
}

fn shortened(text: &str) -> String {
    match text.split_once(' ') {
        Some((number, unit)) if number.contains('.') => {
            format!("{} {unit}", number.trim_end_matches('0').trim_end_matches('.'))
        }
        _ => text.into(),
    }
}

/// A count, with k, M or G from a thousand on.
pub fn count(count: f64) -> String {
    scaled(count, 1e3, &["", "k", "M", "G"]).trim_end().replace(' ', "\u{202f}")
}

/// A whole number with its thousands apart.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}

/// A share as a percentage.
pub fn percent(share: f64) -> String {
    let percent = share * 100.0;
    match percent.abs() {
        size if size >= 9.95 => format!("{percent:.0} %"),
        _ => format!("{percent:.1} %"),
    }
}

/// How many times as much: `3.9×`.
pub fn times(ratio: f64) -> String {
    match ratio {
        ratio if ratio >= 9.95 => format!("{}×", grouped(ratio.round() as u64)),
        ratio => format!("{ratio:.1}×"),
    }
}

/// The value alone: `97.2 %` or `2.113`.
pub fn quality_value(metric: Metric, value: f64) -> String {
    match metric {
        Metric::Accuracy => format!("{:.1} %", value * 100.0),
        Metric::BitsPerByte => format!("{value:.3}"),
    }
}

/// The value with its 95 % interval: `97.2 % (95.0–98.4)` or `2.113 (2.091–2.134)`.
pub fn quality(quality: &Quality) -> String {
    let value = quality_value(quality.metric, quality.value);
    let (low, high) = (quality.ci_low, quality.ci_high);
    match quality.metric {
        Metric::Accuracy => format!("{value} ({:.1}–{:.1})", low * 100.0, high * 100.0),
        Metric::BitsPerByte => format!("{value} ({low:.3}–{high:.3})"),
    }
}

/// A difference in quality: `0.8 points` of accuracy, `0.05 bits per byte`.
pub fn quality_difference(metric: Metric, difference: f64) -> String {
    match metric {
        Metric::Accuracy => format!("{:.1} points", difference * 100.0),
        Metric::BitsPerByte => format!("{difference:.3} bits per byte"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_keep_three_digits_and_a_fitting_unit() {
        for (got, wanted) in [
            (time_ns(999.4), "999 ns"),
            (time_ns(999.96), "1.00 µs"),
            (time_ns(12_345.0), "12.3 µs"),
            (time_ns(9.996), "10.0 ns"),
            (time_ns(0.0), "0 ns"),
            (time_ns(5e12), "5000 s"),
            (bytes(1_500_000), "1.50 MB"),
            (count(1797.0), "1.80\u{202f}k"),
            (count(12.0), "12.0"),
            (grouped(1_234_567), "1\u{202f}234\u{202f}567"),
            (grouped(999), "999"),
            (percent(0.018), "1.8 %"),
            (percent(0.613), "61 %"),
            (times(3.94), "3.9×"),
            (times(14.4), "14×"),
            (round(0.5), "0.5"),
            (round(300.0), "300"),
            (round_time_ns(2e4), "20 µs"),
            (round_bytes(5e6), "5 MB"),
        ] {
            assert_eq!(got, wanted);
        }
    }
}
