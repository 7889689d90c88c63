//! Reads CSV files with a header line (RFC 4180: commas, double quotes).

use std::path::Path;

use csv::ByteRecord;

use super::labelled::{Cells, Column, Labelled, finite, label_column};
use crate::{Error, Result};

pub(super) fn read(path: &Path, label: &str) -> Result<Labelled> {
    let file = std::fs::File::open(path).map_err(Error::io(path))?;
    // Rows of another length are an error here too, but ours, with the numbers a reader needs.
    let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(file);
    let mut record = ByteRecord::new();
    if !reader.read_byte_record(&mut record).map_err(|error| from_csv(path, error))? {
        return Err(Error::data(path, "the file is empty; a header line and rows were expected"));
    }
    let header_line = line_of(&record);
    let names = (0..record.len())
        .map(|field| utf8(path, header_line, &format!("#{}", field + 1), &record[field]).map(String::from))
        .collect::<Result<Vec<_>>>()?;
    let label_at = label_column(path, header_line, &names, label)?;

    let mut cells: Vec<Vec<String>> = vec![Vec::new(); names.len()];
    let mut lines = Vec::new();
    while reader.read_byte_record(&mut record).map_err(|error| from_csv(path, error))? {
        let line = line_of(&record);
        if record.len() != names.len() {
            let what = format!("{} fields, but the header has {}", record.len(), names.len());
            return Err(Error::data_at(path, line, what));
        }
        for ((field, name), column) in record.iter().zip(&names).zip(&mut cells) {
            column.push(utf8(path, line, name, field)?.to_owned());
        }
        lines.push(line);
    }
    if lines.is_empty() {
        return Err(Error::data(path, "there is a header line but no rows"));
    }
    let labels = cells.remove(label_at);
    let features = names.into_iter().enumerate().filter(|(at, _)| *at != label_at).map(|(_, name)| name);
    let columns = features.zip(cells).map(|(name, cells)| typed(path, name, cells, &lines)).collect::<Result<_>>()?;
    Ok(Labelled { columns, labels, lines })
}

/// Numbers if more than half of the cells that are not empty parse as one: then the others are mistakes, not text.
fn typed(path: &Path, name: String, cells: Vec<String>, lines: &[u64]) -> Result<Column> {
    let filled = cells.iter().filter(|cell| !cell.trim().is_empty()).count();
    let numbers: Vec<Option<f64>> = cells.iter().map(|cell| cell.trim().parse().ok()).collect();
    if numbers.iter().flatten().count() * 2 <= filled {
        return Ok(Column { name, cells: Cells::Texts(cells) });
    }
    let rows = cells.iter().zip(numbers).zip(lines);
    let numbers = rows.map(|((cell, number), &line)| finite(path, line, &name, cell.trim(), number)).collect::<Result<_>>()?;
    Ok(Column { name, cells: Cells::Numbers(numbers) })
}

fn utf8<'a>(path: &Path, line: u64, column: &str, field: &'a [u8]) -> Result<&'a str> {
    std::str::from_utf8(field).map_err(|error| {
        let what = format!("not UTF-8 at byte {} of the field; save the file as UTF-8", error.valid_up_to());
        Error::data_in(path, Some(line), column, what)
    })
}

fn line_of(record: &ByteRecord) -> u64 {
    record.position().map_or(0, csv::Position::line)
}

fn from_csv(path: &Path, error: csv::Error) -> Error {
    let line = error.position().map(csv::Position::line);
    match error.into_kind() {
        csv::ErrorKind::Io(source) => Error::Io { path: path.into(), source },
        kind => Error::Data { path: path.into(), line, column: None, what: format!("{kind:?}") },
    }
}
