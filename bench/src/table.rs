//! Markdown tables: columns that never vary move into one line above, as llama-bench does.

use crate::figures::ABSENT;

/// Rows of text under named columns.
#[derive(Clone, Debug)]
pub struct Table {
    columns: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// An empty table.
    pub fn new(columns: &[&str]) -> Self {
        Self { columns: columns.iter().map(|name| (*name).into()).collect(), rows: Vec::new() }
    }

    /// Adds a row; cells beyond the columns are dropped, missing ones stay empty.
    pub fn push(&mut self, cells: impl IntoIterator<Item = String>) {
        let mut row: Vec<String> = cells.into_iter().map(|cell| inline(&cell)).collect();
        row.resize(self.columns.len(), String::new());
        self.rows.push(row);
    }

    /// The table with two rows or more told apart: constant columns become `name value · …` above it.
    pub fn collapsed_markdown(&self) -> String {
        let constant = |column: usize| {
            let cells: Vec<&String> = self.rows.iter().filter_map(|row| row.get(column)).collect();
            let first = cells.first()?;
            (cells.len() > 1 && cells.iter().all(|cell| cell == first)).then_some(first.as_str())
        };
        let mut kept = Vec::new();
        let mut header = Vec::new();
        for (column, name) in self.columns.iter().enumerate() {
            match constant(column) {
                Some("" | ABSENT) => {}
                Some(value) => header.push(format!("{name} {value}")),
                None => kept.push(column),
            }
        }
        let header = if header.is_empty() { String::new() } else { format!("{}\n\n", header.join(" · ")) };
        header + &self.markdown_of(&kept)
    }

    /// The table with all its columns.
    pub fn markdown(&self) -> String {
        self.markdown_of(&(0..self.columns.len()).collect::<Vec<_>>())
    }

    fn markdown_of(&self, columns: &[usize]) -> String {
        if columns.is_empty() {
            return String::new();
        }
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column)).chain(self.columns.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0).max(3)
        };
        let widths: Vec<usize> = columns.iter().map(|column| width(*column)).collect();
        let line = |row: &[String]| {
            let cells = columns.iter().zip(&widths).map(|(column, width)| {
                let cell = row.get(*column).map_or("", String::as_str);
                format!(" {cell:width$} ")
            });
            format!("|{}|\n", cells.collect::<Vec<_>>().join("|"))
        };
        let rule: Vec<String> = widths.iter().map(|width| "-".repeat(width + 2)).collect();
        let rows: String = self.rows.iter().map(|row| line(row)).collect();
        format!("{}|{}|\n{rows}", line(&self.columns), rule.join("|"))
    }
}

/// Text that cannot break out of a markdown line or cell, whatever a file or label is called.
pub fn inline(text: &str) -> String {
    // Brackets are harmless alone; together with a round one they make links and images.
    let links = text.contains("](");
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '[' | ']' if links => safe.extend(['\\', character]),
            '|' | '<' | '>' | '`' | '*' | '\\' => safe.extend(['\\', character]),
            character if character.is_control() => safe.push(' '),
            character => safe.push(character),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constant_columns_move_above() {
        let mut table = Table::new(&["op", "backend", "note", "time"]);
        table.push(["matmul", "cpu", "", "1 ms"].map(str::to_string));
        table.push(["softmax", "cpu", "", "2 ms"].map(str::to_string));
        assert_eq!(
            table.collapsed_markdown(),
            "backend cpu\n\n| op      | time |\n|---------|------|\n| matmul  | 1 ms |\n| softmax | 2 ms |\n"
        );
    }

    #[test]
    fn one_row_keeps_its_columns() {
        let mut table = Table::new(&["a"]);
        table.push(["1".to_string()]);
        assert_eq!(table.collapsed_markdown(), "| a   |\n|-----|\n| 1   |\n");
    }

    #[test]
    fn cells_cannot_break_the_table() {
        let mut table = Table::new(&["a", "b"]);
        table.push(["x|y\n# z".to_string(), "<img src=x>".to_string(), "spare".to_string()]);
        let line = table.markdown().lines().last().unwrap().to_string();
        assert_eq!(table.markdown().lines().count(), 3);
        assert_eq!(inline("[B, 64] ![x](http://y)"), r"\[B, 64\] !\[x\](http://y)");
        assert_eq!(inline("wanted [B, 64]"), "wanted [B, 64]");
        assert!(line.contains(r"x\|y # z") && line.contains(r"\<img src=x\>") && !line.contains("spare"), "{line}");
    }
}
