//! `docs/ops.md`: what every backend says of every op and dtype.

use crate::kernels::Opened;
use kernels::{DType, OP_NAMES, Support, support_table};
use std::fmt::Write;

/// The support tables of backends as markdown.
pub fn markdown(opened: &[Opened]) -> String {
    let mut text = String::from(
        "# Ops\n\nGenerated from the backends' own support tables by `cargo xtask tidy --bless`. \
         `native`: a kernel of its own; `composed`: declared as a sequence of other ops; empty: refused with `Unsupported` \
         before anything is queued. Support depends on op and dtype, never on shape.\n",
    );
    for Opened { name, backend } in opened {
        let Ok(backend) = backend else {
            continue;
        };
        let table = support_table(backend.as_ref());
        let dtypes: Vec<&str> = DType::ALL.iter().map(|dtype| dtype.name()).collect();
        let _ = write!(text, "\n## {name}\n\n| op | {} |\n|---|{}\n", dtypes.join(" | "), "---|".repeat(dtypes.len()));
        let mut reasons: Vec<(&str, &str)> = Vec::new();
        for op in OP_NAMES {
            let cell = |dtype: &DType| {
                let row = table.iter().find(|row| row.op == *op && row.dtype == *dtype);
                match row.map(|row| row.support) {
                    Some(Support::Native) => "native",
                    Some(Support::Composed) => "composed",
                    Some(Support::No(_)) | None => "",
                }
            };
            let cells: Vec<&str> = DType::ALL.iter().map(cell).collect();
            if cells.iter().all(|cell| cell.is_empty())
                && let Some(Support::No(reason)) = table.iter().find(|row| row.op == *op).map(|row| row.support)
            {
                reasons.push((op, reason));
            }
            let _ = writeln!(text, "| {op} | {} |", cells.join(" | "));
        }
        if !reasons.is_empty() {
            text += "\nNot supported at all:\n\n";
        }
        for (op, reason) in reasons {
            let _ = writeln!(text, "- {op}: {reason}");
        }
    }
    text
}
