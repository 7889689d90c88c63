//! Ids inside the page: positions, because row ids may hold anything.

use crate::markdown;
use crate::report::Report;

pub(super) fn model(index: usize) -> String {
    format!("m{index}")
}

pub(super) fn kernel(index: usize) -> String {
    format!("k{index}")
}

/// The anchor and a short name of the row with this id.
pub(super) fn of_row(report: &Report, id: &str) -> Option<(String, String)> {
    let in_models = report.models.iter().enumerate().find(|(_, row)| row.id == id);
    let in_kernels = || report.kernels.iter().enumerate().find(|(_, row)| row.id == id);
    match in_models {
        Some((index, row)) => Some((model(index), row.label())),
        None => in_kernels().map(|(index, row)| (kernel(index), format!("{} {} {}", row.op, row.weight, markdown::shape(row)))),
    }
}
