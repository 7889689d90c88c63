//! File length, names, unfinished marks and silenced lints.

use super::Violation;
use super::source::{SourceFile, Token};

/// More than this in one file is more than one idea.
const MAX_LINES: usize = 800;

/// Module names that say nothing about what is inside.
const BANNED_MODULES: [&str; 6] = ["util", "utils", "helper", "helpers", "common", "misc"];

/// Macros that mark unfinished work.
const BANNED_MACROS: [&str; 3] = ["todo", "unimplemented", "dbg"];

/// All of the rules of this file.
pub fn check(file: &SourceFile) -> Vec<Violation> {
    let mut found = Vec::new();
    let lines = file.text.lines().count();
    // A program's output is as long as its input makes it.
    let generated = file.text.starts_with("/* automatically generated");
    if lines > MAX_LINES && !generated {
        found.push(Violation::new(&*file.path, format!("{lines} lines; the limit is {MAX_LINES}: split it")));
    }
    for name in BANNED_MODULES {
        if file.path.split(['/', '.']).any(|part| part == name) {
            found.push(Violation::new(&*file.path, format!("`{name}` says nothing: name the idea inside")));
        }
    }
    for pair in file.tokens.windows(2) {
        let (first, second) = (pair[0].text.as_str(), pair[1].text.as_str());
        if first == "mod" && BANNED_MODULES.contains(&second) {
            found.push(Violation::at(file, pair[1].line, format!("`mod {second}` says nothing: name the idea inside")));
        }
        if BANNED_MACROS.contains(&first) && second == "!" {
            found.push(Violation::at(file, pair[0].line, format!("`{first}!` is not finished work")));
        }
    }
    found.extend(silenced_without_reason(file));
    found
}

/// `#[allow(..)]` and `#[expect(..)]` with neither `reason = ".."` nor a comment beside or right above.
fn silenced_without_reason(file: &SourceFile) -> Vec<Violation> {
    let lines: Vec<&str> = file.text.lines().collect();
    let mut found = Vec::new();
    for (at, hash) in file.tokens.iter().enumerate().filter(|(_, t)| t.text == "#") {
        let attribute = attribute_tokens(&file.tokens[at..]);
        let silences = attribute.windows(2).any(|w| matches!(&*w[0].text, "allow" | "expect") && w[1].text == "(");
        if !silences || attribute.iter().any(|t| t.text == "reason") {
            continue;
        }
        let last = attribute.last().map_or(hash.line, |t| t.line);
        let above = lines.get(hash.line.wrapping_sub(2)).is_some_and(|l| l.trim_start().starts_with("// "));
        let beside = lines[hash.line - 1..last].iter().any(|l| l.contains("// "));
        if !above && !beside {
            found.push(Violation::at(file, hash.line, "a silenced lint needs its reason beside it"));
        }
    }
    found
}

/// `# [ .. ]` or `# ! [ .. ]` at the start of `tokens`, up to its closing bracket.
fn attribute_tokens(tokens: &[Token]) -> &[Token] {
    let open = if tokens.get(1).is_some_and(|t| t.text == "!") { 2 } else { 1 };
    if tokens.get(open).is_none_or(|t| t.text != "[") {
        return &[];
    }
    let mut depth = 0;
    for (at, token) in tokens.iter().enumerate().skip(open) {
        match token.text.as_str() {
            "[" => depth += 1,
            "]" => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return &tokens[..=at];
        }
    }
    &[]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn violations(path: &str, text: &str) -> Vec<String> {
        check(&SourceFile::new(path, text)).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_long_file_is_found_in_every_language() {
        assert_eq!(violations("a/b.wgsl", &"\n".repeat(801)), ["a/b.wgsl: 801 lines; the limit is 800: split it"]);
        assert!(violations("a/b.rs", &"\n".repeat(800)).is_empty());
    }

    #[test]
    fn empty_names_are_found() {
        assert_eq!(violations("a/src/utils.rs", "").len(), 1);
        assert_eq!(violations("a/tests/common/mod.rs", "").len(), 1);
        assert_eq!(
            violations("a/src/lib.rs", "mod helpers;")[0],
            "a/src/lib.rs:1: `mod helpers` says nothing: name the idea inside"
        );
        assert!(violations("a/src/common_sense.rs", "let common = 1;").is_empty());
    }

    #[test]
    fn unfinished_marks_are_found() {
        let text = "fn f() {\n todo!()\n}\nfn g() { unimplemented!(\"x\") }\nfn h() { dbg!(1); }";
        assert_eq!(violations("a.rs", text).len(), 3);
        assert!(violations("a.rs", "fn todo() { todo(); let _ = \"todo!()\"; } // todo!()").is_empty());
    }

    #[test]
    fn a_silenced_lint_needs_a_reason() {
        for bad in
            ["#[allow(dead_code)]\nfn f() {}", "//! A crate.\n#![allow(missing_docs)]", "#[cfg_attr(test, allow(x))]\nfn f() {}"]
        {
            assert_eq!(violations("a.rs", bad).len(), 1, "{bad}");
        }
        for good in [
            "#[allow(dead_code, reason = \"mirrors the C header\")]\nfn f() {}",
            "// The header has more fields than we read.\n#[allow(dead_code)]\nfn f() {}",
            "#[allow(dead_code)] // mirrors the C header\nfn f() {}",
            "fn allow(x: i32) { allow(x) }",
        ] {
            assert!(violations("a.rs", good).is_empty(), "{good}");
        }
    }
}
