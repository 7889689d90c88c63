//! Reads files of one JSON object per line (JSON Lines), never more than a line at a time.

use std::collections::HashMap;
use std::fmt;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;

use super::labelled::{Cells, Column, Labelled, finite, label_column};
use crate::{Error, Result};

/// Longest line accepted, in bytes.
const MAX_LINE_BYTES: u64 = 16 << 20;

pub(super) fn read(path: &Path, label: &str) -> Result<Labelled> {
    let mut file = BufReader::new(File::open(path).map_err(Error::io(path))?);
    let mut columns = Vec::<Column>::new();
    let (mut labels, mut lines) = (Vec::new(), Vec::new());
    let (mut bytes, mut line) = (Vec::new(), 0);
    loop {
        bytes.clear();
        let read = file.by_ref().take(MAX_LINE_BYTES + 1).read_until(b'\n', &mut bytes).map_err(Error::io(path))?;
        line += 1;
        match read as u64 {
            0 => break,
            more if more > MAX_LINE_BYTES => {
                return Err(Error::data_at(path, line, format!("longer than {MAX_LINE_BYTES} bytes, the limit of a line")));
            }
            _ if bytes.trim_ascii().is_empty() => continue,
            _ => {}
        }
        let fields = object(path, line, &bytes)?.0;
        if lines.is_empty() {
            let names: Vec<String> = fields.iter().map(|(name, _)| name.clone()).collect();
            label_column(path, line, &names, label)?;
            let features = fields.iter().filter(|(name, _)| name != label);
            columns = features.map(|(name, value)| empty_column(path, line, name, value)).collect::<Result<_>>()?;
        }
        let mut values = HashMap::with_capacity(fields.len());
        for (name, value) in fields {
            if values.insert(name.clone(), value).is_some() {
                return Err(Error::data_in(path, Some(line), &name, "this field stands twice in the object"));
            }
        }
        let mut value_of = |name: &str| {
            let missing = || Error::data_in(path, Some(line), name, "this field of the first line is missing here");
            values.remove(name).ok_or_else(missing)
        };
        labels.push(label_text(path, line, label, value_of(label)?)?);
        for column in &mut columns {
            let value = value_of(&column.name)?;
            push(path, line, column, value)?;
        }
        if let Some(extra) = values.keys().min() {
            return Err(Error::data_in(path, Some(line), extra, "the first line has no such field"));
        }
        lines.push(line);
    }
    if lines.is_empty() {
        return Err(Error::data(path, "the file is empty; one JSON object per line was expected"));
    }
    Ok(Labelled { columns, labels, lines })
}

fn object(path: &Path, line: u64, bytes: &[u8]) -> Result<Fields> {
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let what = format!("not UTF-8 at byte {} of the line; save the file as UTF-8", error.valid_up_to());
        Error::data_at(path, line, what)
    })?;
    serde_json::from_str(text).map_err(|error| {
        let full = error.to_string();
        let what = full.split(" at line ").next().unwrap_or(&full);
        // Column 0 is that of a line which is JSON, but no object.
        let place = if error.column() == 0 { String::new() } else { format!(" at character {}", error.column()) };
        Error::data_at(path, line, format!("no JSON object: {what}{place}"))
    })
}

fn empty_column(path: &Path, line: u64, name: &str, value: &Value) -> Result<Column> {
    let cells = match value {
        Value::Number(_) | Value::Bool(_) => Cells::Numbers(Vec::new()),
        Value::String(_) => Cells::Texts(Vec::new()),
        other => return Err(Error::data_in(path, Some(line), name, format!("{}, expected a number or a text", kind(other)))),
    };
    Ok(Column { name: name.into(), cells })
}

fn push(path: &Path, line: u64, column: &mut Column, value: Value) -> Result<()> {
    match (&mut column.cells, value) {
        (Cells::Numbers(numbers), Value::Number(number)) => {
            numbers.push(finite(path, line, &column.name, &number.to_string(), number.as_f64())?);
        }
        (Cells::Numbers(numbers), Value::Bool(flag)) => numbers.push(f32::from(flag)),
        (Cells::Texts(texts), Value::String(text)) => texts.push(text),
        (cells, value) => {
            let expected = if matches!(cells, Cells::Numbers(_)) { "a number" } else { "a text" };
            let what = format!("{}, expected {expected} as on the first line", kind(&value));
            return Err(Error::data_in(path, Some(line), &column.name, what));
        }
    }
    Ok(())
}

fn label_text(path: &Path, line: u64, label: &str, value: Value) -> Result<String> {
    match value {
        Value::String(text) => Ok(text),
        Value::Number(_) | Value::Bool(_) => Ok(value.to_string()),
        other => Err(Error::data_in(path, Some(line), label, format!("{}, expected the name of a class", kind(&other)))),
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

/// The fields of an object in file order. `serde_json::Map` would silently keep the last of two fields of one name.
struct Fields(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = Fields;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Fields, A::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(Fields(fields))
            }
        }
        deserializer.deserialize_map(InOrder)
    }
}
