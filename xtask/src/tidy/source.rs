//! Source files as tokens, so that rules look at code and never at comments or strings.

use std::fs;
use std::path::Path;
use std::str::FromStr;

use anyhow::{Context, Result};
use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};

use super::Violation;

/// File name endings that the rules look at; all but the first are shaders and kernels, checked for length alone.
const ENDINGS: [&str; 5] = ["rs", "wgsl", "cu", "cuh", "h"];

/// A source file of the workspace.
pub struct SourceFile {
    /// From the workspace root, with `/`.
    pub path: String,
    /// The text as it stands.
    pub text: String,
    /// Its Rust tokens in order, groups flattened; empty for other languages.
    pub tokens: Vec<Token>,
    lex_error: Option<String>,
}

/// An identifier, a literal, a delimiter or one punctuation character.
#[derive(Debug)]
pub struct Token {
    /// As written.
    pub text: String,
    /// From 1.
    pub line: usize,
    /// Whether it is code or test code.
    pub part: Part,
}

/// Which part of a file a token belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Compiled into the crate.
    Product,
    /// Under `#[cfg(test)]`.
    Test,
}

impl SourceFile {
    /// Reads Rust tokens out of `text` when `path` ends in `.rs`.
    pub fn new(path: impl Into<String>, text: impl Into<String>) -> Self {
        let (path, text) = (path.into(), text.into());
        let mut tokens = Vec::new();
        let mut lex_error = None;
        if path.ends_with(".rs") {
            match TokenStream::from_str(&text) {
                Ok(stream) => flatten(stream, Part::Product, &mut tokens),
                Err(error) => lex_error = Some(error.to_string()),
            }
        }
        Self { path, text, tokens, lex_error }
    }

    /// A file we cannot read is a violation: otherwise no rule would see into it.
    pub fn unreadable(&self) -> Option<Violation> {
        self.lex_error.as_ref().map(|error| Violation::new(&*self.path, format!("not Rust: {error}")))
    }

    /// Tokens that read `text`.
    pub fn named<'a>(&'a self, text: &'a str) -> impl Iterator<Item = &'a Token> {
        self.tokens.iter().filter(move |t| t.text == text)
    }
}

fn flatten(stream: TokenStream, part: Part, out: &mut Vec<Token>) {
    // `#[cfg(test)]` holds for the item after it: up to its braces or its semicolon.
    let mut item_is_test = false;
    let mut previous_was_hash = false;
    for tree in stream {
        let part_here = if item_is_test { Part::Test } else { part };
        let line = tree.span().start().line;
        let mut push = |text: String, line| out.push(Token { text, line, part: part_here });
        let hash = matches!(&tree, TokenTree::Punct(p) if p.as_char() == '#');
        match tree {
            TokenTree::Group(group) => {
                let (open, close) = delimiters(&group);
                let is_attribute = previous_was_hash && group.delimiter() == Delimiter::Bracket;
                let test_follows = is_attribute && group.stream().to_string().replace(' ', "") == "cfg(test)";
                push(open.into(), line);
                flatten(group.stream(), part_here, out);
                out.push(Token { text: close.into(), line: group.span_close().end().line, part: part_here });
                if group.delimiter() == Delimiter::Brace {
                    item_is_test = false;
                }
                item_is_test |= test_follows;
            }
            TokenTree::Punct(p) => {
                push(p.as_char().to_string(), line);
                if p.as_char() == ';' {
                    item_is_test = false;
                }
            }
            other => push(other.to_string(), line),
        }
        previous_was_hash = hash;
    }
}

fn delimiters(group: &Group) -> (&'static str, &'static str) {
    match group.delimiter() {
        Delimiter::Parenthesis => ("(", ")"),
        Delimiter::Brace => ("{", "}"),
        Delimiter::Bracket => ("[", "]"),
        Delimiter::None => ("", ""),
    }
}

/// Every source file below `root`, outside hidden folders and build output, in path order.
pub fn read_all(root: &Path) -> Result<Vec<SourceFile>> {
    let mut files = Vec::new();
    read_folder(root, "", &mut files)?;
    files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(files)
}

fn read_folder(folder: &Path, prefix: &str, files: &mut Vec<SourceFile>) -> Result<()> {
    let entries = fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))?;
    for entry in entries {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else {
            continue;
        };
        let path = format!("{prefix}{name}");
        let kind = entry.file_type()?;
        if kind.is_dir() && !name.starts_with('.') && name != "target" {
            read_folder(&entry.path(), &format!("{path}/"), files)?;
        } else if kind.is_file() && ENDINGS.iter().any(|e| name.rsplit_once('.').is_some_and(|(_, end)| end == *e)) {
            let text = fs::read_to_string(entry.path()).with_context(|| format!("cannot read {path}"))?;
            files.push(SourceFile::new(path, text));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_strings_are_not_code() {
        let file = SourceFile::new("a.rs", "// unsafe\n/// unsafe\nfn f() { g(\"unsafe\", 'u') } /* unsafe */");
        assert_eq!(file.named("unsafe").count(), 0);
        assert!(file.unreadable().is_none());
    }

    #[test]
    fn cfg_test_covers_one_item() {
        let text = "#[cfg(test)]\nuse a::b;\nfn c() {}\n#[cfg(test)]\nmod tests { fn d() { e } }\nfn f() {}";
        let file = SourceFile::new("a.rs", text);
        let part = |name: &str| file.named(name).map(|t| t.part).next().expect("named in the text");
        assert_eq!((part("b"), part("d"), part("e")), (Part::Test, Part::Test, Part::Test));
        assert_eq!((part("c"), part("f")), (Part::Product, Part::Product));
    }

    #[test]
    fn a_file_that_is_not_rust_is_reported() {
        assert!(SourceFile::new("a.rs", "fn f( {").unreadable().is_some());
        assert!(SourceFile::new("a.wgsl", "fn f( {").unreadable().is_none());
    }
}
