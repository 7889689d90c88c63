//! `docs/ops.md`: what every backend says of every op and dtype.

use kernels::{DType, OP_NAMES, Support, SupportRow};
use std::fmt::Write;

/// The support tables of backends, by name, as markdown.
pub fn markdown(tables: &[(&str, Vec<SupportRow>)]) -> String {
    let mut text = String::from(
        "# Ops\n\nGenerated from the backends' own support tables by `cargo xtask tidy --bless`. \
         `native`: a kernel of its own; `composed`: declared as a sequence of other ops; empty: refused with `Unsupported` \
         before anything is queued. Support depends on op and dtype, never on shape.\n",
    );
    for (name, table) in tables {
        let _ = writeln!(text, "\n## {name}");
        backend(&mut text, table);
    }
    text
}

fn backend(text: &mut String, table: &[SupportRow]) {
    let support = |op: &str, dtype| table.iter().find(|row| row.op == op && row.dtype == dtype).map(|row| row.support);
    let cell = |op: &str, dtype| match support(op, dtype) {
        Some(Support::Native) => "native",
        Some(Support::Composed) => "composed",
        Some(Support::No(_)) | None => "",
    };
    let (some, none): (Vec<&str>, Vec<&str>) =
        OP_NAMES.iter().partition(|op| DType::ALL.iter().any(|&dtype| !cell(op, dtype).is_empty()));
    if !some.is_empty() {
        let dtypes = DType::ALL.map(|dtype| dtype.name());
        let _ = write!(text, "\n| op | {} |\n|---|{}\n", dtypes.join(" | "), "---|".repeat(dtypes.len()));
    }
    for op in some {
        let _ = writeln!(text, "| {op} | {} |", DType::ALL.map(|dtype| cell(op, dtype)).join(" | "));
    }
    let mut reasons: Vec<(&str, Vec<&str>)> = Vec::new();
    for op in none {
        let reason = match support(op, DType::F32) {
            Some(Support::No(reason)) => reason,
            _ => "not in its table",
        };
        match reasons.iter_mut().find(|(known, _)| *known == reason) {
            Some((_, ops)) => ops.push(op),
            None => reasons.push((reason, vec![op])),
        }
    }
    for (reason, ops) in reasons {
        let _ = writeln!(text, "\nNot supported, {reason}: {}.", ops.join(", "));
    }
}
