//! From the user's columns to a task, whatever file they came from.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::{Classification, Examples, Inputs, Provenance, Table, digest, split};
use crate::{Error, Result};

/// Distinct texts a column among others may have: each becomes a 0/1 column.
const MAX_CATEGORIES: usize = 64;

/// What a reader found in a file: columns of equal length, the class of each row and the line it begins on.
pub(super) struct Labelled {
    pub columns: Vec<Column>,
    pub labels: Vec<String>,
    pub lines: Vec<u64>,
}

pub(super) struct Column {
    pub name: String,
    pub cells: Cells,
}

pub(super) enum Cells {
    /// Finite numbers.
    Numbers(Vec<f32>),
    Texts(Vec<String>),
}

/// Position of the label column among `names`, which must be distinct.
pub(super) fn label_column(path: &Path, line: u64, names: &[String], label: &str) -> Result<usize> {
    let mut seen = BTreeSet::new();
    if let Some(twice) = names.iter().find(|name| !seen.insert(*name)) {
        return Err(Error::data_in(path, Some(line), twice, "this name stands twice"));
    }
    names.iter().position(|name| name == label).ok_or_else(|| {
        let what = format!("there is no such label column; the columns are {}", quoted(names));
        Error::data_in(path, Some(line), label, what)
    })
}

/// The number in a cell as f32, if it is one and finite.
pub(super) fn finite(path: &Path, line: u64, column: &str, text: &str, value: Option<f64>) -> Result<f32> {
    match value {
        Some(value) if (value as f32).is_finite() => Ok(value as f32),
        Some(_) => Err(Error::data_in(path, Some(line), column, format!("{} is not a finite f32", shortened(text)))),
        None if text.is_empty() => Err(Error::data_in(path, Some(line), column, "the number is missing")),
        None => Err(Error::data_in(path, Some(line), column, format!("{} is not a number", shortened(text)))),
    }
}

/// Checks the classes, turns texts into features and splits.
pub(super) fn assemble(path: &Path, data: Labelled, seed: u64) -> Result<Classification> {
    let (classes, labels) = classes(path, &data)?;
    let (train, test) = split::stratified(&labels, classes.len(), seed);
    let (inputs, columns) = inputs(path, data.columns, labels.len())?;
    let examples = Examples { inputs, labels };
    let (train, test) = (examples.select(&train), examples.select(&test));
    let provenance = Provenance {
        source: path.display().to_string(),
        licence: "the user's own data".into(),
        crates: Vec::new(),
        digest: digest(&train, &test),
        split: format!("stratified {}/{} by seed {seed}", 100 - split::TEST_PERCENT, split::TEST_PERCENT),
    };
    Ok(Classification { name: path.display().to_string(), train, test, classes, columns, provenance })
}

/// Names of the classes, by number if all are numbers and else by text, and the class of each row.
fn classes(path: &Path, data: &Labelled) -> Result<(Vec<String>, Vec<u32>)> {
    let mut members: BTreeMap<&str, (usize, u64)> = BTreeMap::new();
    for (label, &line) in data.labels.iter().zip(&data.lines) {
        if label.is_empty() {
            return Err(Error::data_at(path, line, "the label is missing"));
        }
        members.entry(label).or_insert((0, line)).0 += 1;
    }
    if members.is_empty() {
        return Err(Error::data(path, "there are no rows of data"));
    }
    if let Some((only, _)) = members.first_key_value().filter(|_| members.len() == 1) {
        return Err(Error::data(path, format!("every row is of class {}; two classes are needed", shortened(only))));
    }
    if let Some((class, (_, line))) = members.iter().find(|(_, (count, _))| *count < 2) {
        let what = format!("class {} has one row; each needs two, one to fit on and one to hold out", shortened(class));
        return Err(Error::data_at(path, *line, what));
    }
    let mut names: Vec<&str> = members.keys().copied().collect();
    if names.iter().all(|name| name.parse::<f64>().is_ok_and(f64::is_finite)) {
        names.sort_by(|a, b| a.parse().unwrap_or(0f64).total_cmp(&b.parse().unwrap_or(0f64)));
    }
    let index: BTreeMap<&str, u32> = names.iter().zip(0..).map(|(&name, index)| (name, index)).collect();
    let labels = data.labels.iter().map(|label| index[label.as_str()]).collect();
    Ok((names.into_iter().map(String::from).collect(), labels))
}

/// The texts of a lone text column; else a table and the names of its columns, where a text column becomes one column per
/// distinct text (1 where a row has it).
fn inputs(path: &Path, columns: Vec<Column>, rows: usize) -> Result<(Inputs, Vec<String>)> {
    if columns.is_empty() {
        return Err(Error::data(path, "there is no column besides the label"));
    }
    if let [Column { cells: Cells::Texts(texts), .. }] = columns.as_slice() {
        return Ok((Inputs::Text(texts.iter().map(|text| text.as_bytes().to_vec()).collect()), Vec::new()));
    }
    let (mut features, mut names) = (Vec::<Vec<f32>>::new(), Vec::new());
    for Column { name, cells } in columns {
        match cells {
            Cells::Numbers(numbers) => {
                features.push(numbers);
                names.push(name);
            }
            Cells::Texts(texts) => {
                let categories: BTreeSet<&str> = texts.iter().map(String::as_str).collect();
                if categories.len() > MAX_CATEGORIES {
                    let what = format!(
                        "{} distinct texts, at most {MAX_CATEGORIES} can become features; leave the column out, or keep it as \
                         the only one besides the label to classify texts",
                        categories.len()
                    );
                    return Err(Error::data_in(path, None, &name, what));
                }
                for category in categories {
                    features.push(texts.iter().map(|text| f32::from(text == category)).collect());
                    names.push(format!("{name}={category}"));
                }
            }
        }
    }
    let values = (0..rows).flat_map(|row| features.iter().map(move |feature| feature[row])).collect();
    Ok((Inputs::Table(Table::new(rows, features.len(), values)?), names))
}

/// Names for a message, cut after the first 20.
fn quoted(names: &[String]) -> String {
    let more = if names.len() > 20 { format!(" and {} more", names.len() - 20) } else { String::new() };
    let shown: Vec<String> = names.iter().take(20).map(|name| format!("`{name}`")).collect();
    format!("{}{more}", shown.join(", "))
}

/// A cell for a message, cut after 40 characters.
fn shortened(text: &str) -> String {
    let shown: String = text.chars().take(40).collect();
    if shown.len() < text.len() { format!("\"{shown}…\"") } else { format!("\"{shown}\"") }
}
