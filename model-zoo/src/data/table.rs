//! Reads CSV files with a header line (RFC 4180: commas, double quotes).

use std::path::Path;

use csv::ByteRecord;

use super::labelled::{Cells, Column, Labelled, finite, label_column};
use crate::{Error, Result};

pub(super) fn read(path: &Path, label: &str) -> Result<Labelled> {
    let file = std::fs::read(path).map_err(Error::io(path))?;
    let file = file.strip_prefix("\u{feff}".as_bytes()).unwrap_or(&file);
    // Rows of another length are an error here too, but ours, with the numbers a reader needs.
    let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(file);
    let mut begins = Lines { file, at: 0, line: 1 };
    let mut record = ByteRecord::new();
    let unreadable = |error: csv::Error| Error::data(path, error.to_string());
    if !reader.read_byte_record(&mut record).map_err(unreadable)? {
        return Err(Error::data(path, "the file is empty; a header line and rows were expected"));
    }
    let header_line = begins.line_of(&record);
    let names = (0..record.len())
        .map(|field| utf8(path, header_line, &format!("#{}", field + 1), &record[field]).map(String::from))
        .collect::<Result<Vec<_>>>()?;
    let label_at = label_column(path, header_line, &names, label)?;

    let mut cells: Vec<Vec<String>> = vec![Vec::new(); names.len()];
    let mut lines = Vec::new();
    while reader.read_byte_record(&mut record).map_err(unreadable)? {
        let line = begins.line_of(&record);
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

/// Counts the lines of a file up to where its records begin: the reader's own count is taken before it skips empty lines and
/// the second half of `\r\n`.
struct Lines<'a> {
    file: &'a [u8],
    at: usize,
    line: u64,
}

impl Lines<'_> {
    /// Line on which `record` begins; records must be given in order.
    fn line_of(&mut self, record: &ByteRecord) -> u64 {
        let start = record.position().map_or(0, |position| position.byte() as usize);
        let is_break = |byte: &&u8| matches!(byte, b'\r' | b'\n');
        let skipped = self.file.iter().skip(start).take_while(is_break).count();
        while self.at < start + skipped {
            let (byte, next) = (self.file.get(self.at), self.file.get(self.at + 1));
            self.line += u64::from(byte == Some(&b'\n') || (byte == Some(&b'\r') && next != Some(&b'\n')));
            self.at += 1;
        }
        self.line
    }
}
